"""AT-PARALLEL-006: a single reflection stands at its Bragg angle.

Setup: cubic cell of 100 Å turned by the Bragg angle θ = asin(λ/2a) about lab z, so that 010 is in reflecting position;
distances of 50, 100 and 200 mm, wavelengths of 1, 1.5 and 2 Å.
Expectation: the spot stands D·tan 2θ from the beam towards +y, within half a pixel; distance scales it in proportion;
both programs give one pattern.
Command: nanoBragg -cell 100 100 100 90 90 90 -misset 0 0 THETA -N 10 -distance D -lambda W -detpixels 128 -pixel 0.1
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from parity.geometry import directions, miller_indices
from parity.model import image, setup
from parity.pattern import assert_same_pattern, brightest_near

CELL_A, PIXEL_MM, CENTRE_MM = 100.0, 0.1, 6.4
CASES = [(distance, wavelength) for distance in (50, 100, 200) for wavelength in (1.0, 1.5, 2.0)]


def bragg(wavelength: float) -> float:
    return math.asin(wavelength / (2 * CELL_A))


def words(distance_mm: float, wavelength: float) -> str:
    return (f"-cell {CELL_A} {CELL_A} {CELL_A} 90 90 90 -misset 0 0 {math.degrees(bragg(wavelength))!r} -default_F 100 "
            f"-N 10 -distance {distance_mm} -lambda {wavelength} -detpixels 128 -pixel {PIXEL_MM} "
            f"-Xbeam {CENTRE_MM} -Ybeam {CENTRE_MM} -oversample 1")


def predicted(distance_mm: float, wavelength: float) -> np.ndarray:
    """The slow axis points to -y."""
    beam = CENTRE_MM / PIXEL_MM
    return np.array([beam - distance_mm * math.tan(2 * bragg(wavelength)) / PIXEL_MM, beam])


@pytest.mark.parametrize(("distance_mm", "wavelength"), CASES)
def test_spot_stands_at_twice_the_bragg_angle(distance_mm, wavelength):
    wanted = predicted(distance_mm, wavelength)
    assert np.abs(brightest_near(image(words(distance_mm, wavelength)), wanted, reach=3) - wanted).max() <= 0.5


@pytest.mark.parametrize(("distance_mm", "wavelength"), CASES)
def test_predicted_place_has_whole_indices(distance_mm, wavelength):
    found = setup(words(distance_mm, wavelength))
    ray = directions(found, predicted(distance_mm, wavelength)[None])
    assert miller_indices(found, ray)[0] == pytest.approx([0, 1, 0], abs=1e-12)


@pytest.mark.parametrize(("distance_mm", "wavelength"), CASES)
def test_c_program_gives_the_same_pattern(c_image, distance_mm, wavelength):
    assert_same_pattern(c_image(words(distance_mm, wavelength)), image(words(distance_mm, wavelength)))
