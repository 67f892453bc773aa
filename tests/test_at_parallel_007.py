"""AT-PARALLEL-007: spots follow the detector's rotations.

Setup: one still crystal; detector straight, rotated by 5, 3, 2° about x, y, z, and swung by two-theta 10°.
Expectation: spots keep their directions: the straight detector's strongest peaks, projected onto the placed detector,
are found there (≥ 48 of 50 within half a pixel), rotations follow x, then y, then z; both programs give one pattern.
Command: nanoBragg ... -detector_rotx 5 -detector_roty 3 -detector_rotz 2 -twotheta 10
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.geometry import directions, inside, project, rotation
from parity.model import image, setup
from parity.pattern import assert_same_pattern, matched, strongest

BASE = ("-cell 100 100 100 90 90 90 -misset 5 10 15 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 256 "
        "-pixel 0.2 -oversample 1")
ROTATED = "-detector_rotx 5 -detector_roty 3 -detector_rotz 2"
PLACED = {"rotated": ROTATED, "swung": "-twotheta 10", "both": f"{ROTATED} -twotheta 10"}


@pytest.mark.parametrize("words", PLACED.values(), ids=PLACED)
def test_strongest_spots_are_found_at_their_directions(words):
    straight, placed = setup(BASE), setup(f"{BASE} {words}")
    positions = project(placed, directions(straight, strongest(image(BASE), 80)))
    wanted = positions[inside(placed, positions)][:50]
    assert len(wanted) == 50
    assert matched(wanted, strongest(image(f"{BASE} {words}"), 400)) >= 48


@pytest.mark.parametrize(("words", "turn"), [
    (ROTATED, rotation(2, 2) @ rotation(1, 3) @ rotation(0, 5)),
    (PLACED["both"], rotation(2, -10) @ rotation(2, 2) @ rotation(1, 3) @ rotation(0, 5))], ids=["rotated", "both"])
def test_axes_turn_about_x_then_y_then_z_then_twotheta(words, turn):
    """MOSFLM swings about -z."""
    found = setup(f"{BASE} {words}")
    for name, axis in (("fdet_vector", [0, 0, 1]), ("sdet_vector", [0, -1, 0]), ("odet_vector", [1, 0, 0])):
        assert found[name] == pytest.approx(turn @ axis, abs=1e-14)


@pytest.mark.parametrize("words", ["", *PLACED.values()], ids=["straight", *PLACED])
def test_c_program_gives_the_same_pattern(c_image, words):
    assert_same_pattern(c_image(f"{BASE} {words}"), image(f"{BASE} {words}"))


def test_a_named_convention_holds_the_beam_spot():
    """-pivot sample changes nothing in MOSFLM: the direct beam keeps its place, and the image its bits."""
    np.testing.assert_array_equal(image(f"{BASE} {ROTATED} -pivot sample"), image(f"{BASE} {ROTATED}"))
