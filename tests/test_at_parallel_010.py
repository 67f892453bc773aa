"""AT-PARALLEL-010: solid angle, with obliquity and of point pixels.

Setup: flat detectors, straight and tilted by 25°, with real and with point pixels.
Expectation: ω = pixel²·(close distance)/R³, so that images with and without -point_pixel differ by pixel²·cos; the sum
over a detector is the solid angle of a rectangle, 4·atan(ab/(d·√(a²+b²+d²))) for half-edges a, b.
Command: nanoBragg -cell ... -distance 60 -detpixels 64 -pixel 1 [-detector_roty 25] [-point_pixel]
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from parity.geometry import pixels, vectors
from parity.model import image, setup, simulator

BASE = ("-cell 70 80 90 75 85 95 -misset 15 20.5 30.25 -default_F 100 -N 5 -lambda 1.5 -distance 60 -detpixels 64 "
        "-pixel 1 -oversample 1")
PLACEMENTS = {"straight": "", "tilted": "-detector_roty 25", "swung": "-twotheta 30"}


@pytest.mark.parametrize("words", PLACEMENTS.values(), ids=PLACEMENTS)
def test_point_pixels_lack_area_and_obliquity(words):
    found = setup(f"{BASE} {words}")
    points = vectors(found, pixels(found))
    cosines = points @ found["odet_vector"] / np.linalg.norm(points, axis=1)
    ratio = (image(f"{BASE} {words}") / image(f"{BASE} {words} -point_pixel")).ravel()
    np.testing.assert_allclose(ratio, 1e-6 * cosines, rtol=1e-12)


@pytest.mark.parametrize("words", PLACEMENTS.values(), ids=PLACEMENTS)
def test_omega_is_area_over_distance_squared_times_obliquity(words):
    model = simulator(f"{BASE} {words}").detector
    found = setup(f"{BASE} {words}")
    reach = np.linalg.norm(vectors(found, pixels(found)), axis=1)
    expected = 1e-6 * found["close_distance_m"] / reach**3
    np.testing.assert_allclose(model.get_solid_angle().numpy().ravel(), expected, rtol=1e-12)


@pytest.mark.parametrize("distance_mm", [20, 60, 500])
def test_detector_subtends_the_solid_angle_of_a_rectangle(distance_mm):
    words = BASE.replace("-distance 60", f"-distance {distance_mm}").replace("-detpixels 64 -pixel 1",
                                                                             "-detpixels 640 -pixel 0.1")
    total = float(simulator(f"{words} -denzo -Xbeam 32 -Ybeam 32").detector.get_solid_angle().sum())
    half = 32
    expected = 4 * math.atan(half * half / (distance_mm * math.sqrt(2 * half**2 + distance_mm**2)))
    assert total == pytest.approx(expected, rel=1e-5)
