"""AT-PARALLEL-025: the brightest pixel stands where it should.

Setup: patterns with a unique brightest spot: the direct beam on the centre of a pixel.
Expectation: the brightest pixel is the one at the beam, in the image, in the printed statistics and in the C program;
of equal pixels the first in raster order is reported.
Command: nanoBragg -cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 1.5 -distance 100 -Xbeam X -Ybeam Y
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parity.model import image, simulator

BASE = ("-cell 100 100 100 90 90 90 -misset 3 2 1 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 64 "
        "-pixel 0.25 -oversample 1")
PLACES = [(32, 32), (10, 50), (63, 0)]


def words(slow: int, fast: int) -> str:
    return f"{BASE} -Xbeam {slow * 0.25} -Ybeam {fast * 0.25}"


@pytest.mark.parametrize(("slow", "fast"), PLACES)
def test_brightest_pixel_is_at_the_beam(slow, fast):
    found = image(words(slow, fast))
    assert np.unravel_index(found.argmax(), found.shape) == (slow, fast)


@pytest.mark.parametrize(("slow", "fast"), PLACES)
def test_statistics_name_the_pixel(slow, fast):
    model = simulator(words(slow, fast))
    statistics = model.compute_statistics(model.run())
    assert (statistics.max_slow, statistics.max_fast) == (slow, fast)


def test_first_of_equal_pixels_is_named():
    """The MOSFLM default puts the beam on a corner of four pixels, which are equally bright."""
    model = simulator(BASE.replace("-misset 3 2 1", "-nopolar -point_pixel"))
    values = model.run()
    corner = values[32:34, 32:34]
    torch.testing.assert_close(corner, corner.flatten()[:1].expand(2, 2).clone(), rtol=1e-9, atol=0.0)
    statistics = model.compute_statistics(values)
    stored = values.float().numpy()
    first = np.unravel_index(int(stored.argmax()), stored.shape)
    assert (statistics.max_slow, statistics.max_fast) == first


@pytest.mark.parametrize(("slow", "fast"), PLACES)
def test_c_program_has_it_at_the_same_place(c_image, slow, fast):
    reference = c_image(words(slow, fast))
    assert np.unravel_index(reference.argmax(), reference.shape) == (slow, fast)
