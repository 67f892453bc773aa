"""AT-PARALLEL-002: a beam centre in millimetres does not depend on the pixel size.

Setup: pixels of 0.05, 0.1, 0.2 and 0.4 mm on one detector of 25.6 mm, beam centre given in mm.
Expectation: the beam stands at the same place in mm, but for MOSFLM's half pixel; spots stand at the same place in mm
within half a pixel; both programs give one pattern.
Command: nanoBragg -cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 1.5 -distance 100 -Xbeam 12.8 -Ybeam 12.8
-pixel P -detsize 25.6
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.model import image, setup
from parity.pattern import assert_same_pattern, matched, strongest

BASE = "-cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detsize 25.6 -oversample 1"
PIXELS = [0.1, 0.2, 0.4]


def words(pixel_mm: float, centre_mm: float = 12.8) -> str:
    return f"{BASE} -pixel {pixel_mm} -Xbeam {centre_mm} -Ybeam {centre_mm}"


@pytest.mark.parametrize("pixel_mm", [0.05, *PIXELS])
def test_beam_stands_at_the_given_millimetres(pixel_mm):
    found = setup(words(pixel_mm))
    for name in ("Fbeam_m", "Sbeam_m"):
        assert found[name] * 1000 == pytest.approx(12.8 + pixel_mm / 2, rel=1e-13)


@pytest.mark.parametrize("pixel_mm", [0.2, 0.4])
def test_spots_stand_at_the_same_millimetres(pixel_mm):
    """Positions from the beam in mm, on the finest pixels and on these."""
    fine, coarse = (peaks_mm(size) for size in (0.1, pixel_mm))
    assert matched(coarse / pixel_mm, fine / pixel_mm) >= 48


def peaks_mm(pixel_mm: float) -> np.ndarray:
    """Strongest peaks from the beam, (slow, fast) mm: 50 of coarse pixels, as many as there are of fine ones."""
    count = 50 if pixel_mm > 0.1 else 2000
    beam = (12.8 + pixel_mm / 2) / pixel_mm - 0.5
    return (strongest(image(words(pixel_mm)), count) - beam) * pixel_mm


@pytest.mark.parametrize("pixel_mm", PIXELS)
def test_c_program_gives_the_same_pattern(c_image, pixel_mm):
    assert_same_pattern(c_image(words(pixel_mm)), image(words(pixel_mm)))
