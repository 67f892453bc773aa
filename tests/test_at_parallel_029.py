"""AT-PARALLEL-029: sub-pixel sampling and aliasing.

Setup: spots narrower than a pixel (N 20, 100 Å, pixels of 0.5 mm), 1 to 12 sub-pixels per edge.
Expectation: sub-pixels are the pixels of a finer detector, added; one sample a pixel misses spots that many see; the
sum over the detector settles as the number grows; the automatic number is ⌈3·size/(λ·distance/pixel)⌉; both programs
give one pattern.
Command: nanoBragg ... -N 20 -oversample K
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from parity.model import image, setup
from parity.pattern import assert_same_pattern

BASE = ("-cell 100 100 100 90 90 90 -misset 5 10 15 -default_F 100 -N 20 -lambda 1.5 -distance 100 -denzo "
        "-Xbeam 12 -Ybeam 12")
COARSE = f"{BASE} -detpixels 48 -pixel 0.5"


@pytest.mark.parametrize("times", [2, 3, 5])
def test_sub_pixels_are_pixels_of_a_finer_detector(times):
    """In clean physics, where every sub-pixel has its own solid angle and polarisation."""
    fine = image(f"{BASE} -detpixels {48 * times} -pixel {0.5 / times!r} -oversample 1 -clean")
    added = fine.reshape(48, times, 48, times).sum((1, 3))
    np.testing.assert_allclose(image(f"{COARSE} -oversample {times} -clean"), added, rtol=1e-6, atol=1e-9 * added.max())


def test_the_sum_settles():
    sums = {times: image(f"{COARSE} -oversample {times}").sum() for times in (1, 4, 8, 12)}
    errors = [abs(sums[times] / sums[12] - 1) for times in (1, 4, 8)]
    assert errors[0] > 0.1
    assert errors[2] < 0.02
    assert errors[2] < errors[1] < errors[0]


def test_one_sample_misses_spots():
    once, often = image(f"{COARSE} -oversample 1"), image(f"{COARSE} -oversample 10")
    bright = often > 0.1 * often.max()
    assert np.mean(once[bright] < 0.1 * often[bright]) > 0.05


@pytest.mark.parametrize(("cells", "distance_mm"), [(1, 110), (7, 110), (19, 110), (19, 250)])
def test_automatic_number(cells, distance_mm):
    """Three samples over a spot of an ideal crystal; no quotient here is a whole number."""
    words = f"{COARSE} -N {cells} -distance {distance_mm} -detpixels 4"
    expected = max(1, math.ceil(3 * cells * 100e-10 / (1.5e-10 * distance_mm / 0.5)))
    assert setup(words)["oversample"] == setup(f"{words} -oversample 0")["oversample"] == expected


@pytest.mark.parametrize("times", [1, 2, 5])
def test_c_program_gives_the_same_pattern(c_image, times):
    assert_same_pattern(c_image(f"{COARSE} -oversample {times}"), image(f"{COARSE} -oversample {times}"))
