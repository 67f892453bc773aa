"""AT-PARALLEL-022: detector and crystal rotated at once.

Setup: crystal turned by phi and misset, detector by three angles and two-theta.
Expectation: the two do not interfere: the crystal's axes are those without the detector's rotations, the detector's
those without the crystal's, and spots keep the directions they have on a straight detector (≥ 48 of 50).
Command: nanoBragg ... -phi 20 -misset 10 20 30 -detector_rotx 10 -detector_roty 5 -detector_rotz 3 -twotheta 15
"""

from __future__ import annotations

import pytest

from parity.geometry import directions, inside, project
from parity.model import image, setup
from parity.pattern import assert_same_pattern, matched, strongest

BASE = "-cell 80 90 100 90 90 90 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 256 -pixel 0.2 -oversample 1"
CRYSTAL = "-phi 20 -misset 10 20 30"
DETECTORS = {"rotated": "-detector_rotx 10 -detector_roty 5 -detector_rotz 3", "swung": "-twotheta 15",
             "both": "-detector_rotx 10 -detector_roty 5 -detector_rotz 3 -twotheta 15"}


@pytest.mark.parametrize("words", DETECTORS.values(), ids=DETECTORS)
def test_set_ups_do_not_interfere(words):
    both, crystal, detector = (setup(f"{BASE} {text}") for text in (f"{CRYSTAL} {words}", CRYSTAL, words))
    for name in ("a_A", "b_A", "c_A", "misset_rad", "phi0_rad"):
        assert both[name] == crystal[name]
    for name in ("fdet_vector", "sdet_vector", "odet_vector", "pix0_vector_m"):
        assert both[name] == detector[name]


@pytest.mark.parametrize("words", DETECTORS.values(), ids=DETECTORS)
def test_spots_keep_their_directions(words):
    straight, placed = setup(f"{BASE} {CRYSTAL}"), setup(f"{BASE} {CRYSTAL} {words}")
    positions = project(placed, directions(straight, strongest(image(f"{BASE} {CRYSTAL}"), 120)))
    wanted = positions[inside(placed, positions)][:50]
    assert len(wanted) == 50
    assert matched(wanted, strongest(image(f"{BASE} {CRYSTAL} {words}"), 600)) >= 48


@pytest.mark.parametrize("words", DETECTORS.values(), ids=DETECTORS)
def test_c_program_gives_the_same_pattern(c_image, words):
    assert_same_pattern(c_image(f"{BASE} {CRYSTAL} {words}"), image(f"{BASE} {CRYSTAL} {words}"))
