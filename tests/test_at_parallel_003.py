"""AT-PARALLEL-003: offsets of the detector are preserved.

Setup: beam centres off the middle and off the detector, distances of 50, 100 and 200 mm.
Expectation: the direct beam stands where it was put whatever the distance; moving the centre by whole pixels moves the
pattern by as many, bit for bit where the detectors overlap.
Command: nanoBragg -cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 1.5 -distance D -Xbeam X -Ybeam Y
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.model import image, setup
from parity.pattern import brightest_near

BASE = "-cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 1.5 -detpixels 96 -pixel 0.2 -oversample 1"
DISTANCES = [50, 100, 200]


@pytest.mark.parametrize("distance_mm", DISTANCES)
@pytest.mark.parametrize(("x_mm", "y_mm"), [(9.6, 9.6), (2.3, 3.1), (12.8, 5.0), (-4.0, 25.0)])
def test_centre_is_kept_at_every_distance(distance_mm, x_mm, y_mm):
    """MOSFLM: X along slow, Y along fast, and half a pixel more."""
    found = setup(f"{BASE} -distance {distance_mm} -Xbeam {x_mm} -Ybeam {y_mm}")
    assert found["Sbeam_m"] * 1000 == pytest.approx(x_mm + 0.1, rel=1e-12)
    assert found["Fbeam_m"] * 1000 == pytest.approx(y_mm + 0.1, rel=1e-12)


@pytest.mark.parametrize("distance_mm", DISTANCES)
@pytest.mark.parametrize(("x_mm", "y_mm"), [(9.6, 9.6), (2.4, 3.2), (12.8, 5.0)])
def test_direct_beam_stands_on_its_pixel(distance_mm, x_mm, y_mm):
    wanted = np.array([x_mm, y_mm]) / 0.2
    found = image(f"{BASE} -distance {distance_mm} -Xbeam {x_mm} -Ybeam {y_mm}")
    assert brightest_near(found, wanted) == pytest.approx(wanted, abs=1e-9)


def test_whole_pixels_of_offset_move_the_pattern():
    here, moved = (image(f"{BASE} -distance 100 -Xbeam {x} -Ybeam 9.6") for x in (9.6, 9.6 + 7 * 0.2))
    np.testing.assert_allclose(moved[7:], here[:-7], rtol=1e-9, atol=1e-12 * here.max())
