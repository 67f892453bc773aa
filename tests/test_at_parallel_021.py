"""AT-PARALLEL-021: rotation of the crystal by phi.

Setup: one crystal, stills at several angles and sweeps of a few steps.
Expectation: a still at phi is the crystal turned by as much about the spindle; a sweep is the mean of its stills at the
start of each step; a step at exactly 0 repeats the orientation before it, as in the canonical program; both programs
give one pattern.
Command: nanoBragg ... -phi 30 -osc 10 -phisteps 5
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.geometry import rotation
from parity.model import image, setup
from parity.pattern import assert_same_pattern

BASE = ("-cell 70 80 90 90 90 90 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 128 -pixel 0.25 "
        "-oversample 1")


@pytest.mark.parametrize("degrees", [1, 30, 90, -45])
def test_a_still_is_the_crystal_turned_about_the_spindle(degrees):
    """MOSFLM's spindle is lab z."""
    turned = image(f"{BASE} -misset 0 0 {degrees}")
    np.testing.assert_allclose(image(f"{BASE} -phi {degrees}"), turned, rtol=1e-8, atol=1e-12 * turned.max())


def test_spindle_of_a_custom_frame():
    words = f"{BASE} -spindle_axis 0 1 0"
    np.testing.assert_allclose(image(f"{words} -phi 25"), image(f"{words} -misset 0 25 0"), rtol=1e-8,
                               atol=1e-12 * 1e4 * 5**6)


def test_turn_is_right_handed():
    axes = [np.array([setup(f"{BASE} {words}")[f"{axis}_A"] for axis in "abc"]) for words in ("", "-misset 0 0 30")]
    np.testing.assert_allclose(axes[1], axes[0] @ rotation(2, 30).T, atol=1e-12)


@pytest.mark.parametrize(("words", "angles"), [
    ("-phi 30 -osc 10 -phisteps 5", [30, 32, 34, 36, 38]), ("-phi 30 -osc 90 -phisteps 1", [30]),
    ("-phi 30 -osc 3", [30, 31.5]), ("-phi 30 -osc 1.75 -phistep 0.5", [30, 30.5, 31, 31.5])])
def test_a_sweep_is_the_mean_of_its_stills(words, angles):
    mean = np.mean([image(f"{BASE} -phi {angle}") for angle in angles], axis=0)
    np.testing.assert_allclose(image(f"{BASE} {words}"), mean, rtol=1e-8, atol=1e-12 * mean.max())


def test_a_step_at_zero_repeats_the_one_before():
    """-2, -1, 0, 1: the step at 0 is that at -1; starting at 0, it is the last one but for the first pixel."""
    stills = {angle: image(f"{BASE} -phi {angle}") for angle in (-2, -1, 1)}
    through = (stills[-2] + 2 * stills[-1] + stills[1]) / 4
    np.testing.assert_allclose(image(f"{BASE} -phi -2 -osc 4 -phisteps 4"), through, rtol=1e-8, atol=1e-9)
    started = image(f"{BASE} -phi 0 -osc 2 -phisteps 2")
    differs = ~np.isclose(started, stills[1], rtol=1e-8, atol=1e-9)
    assert np.argwhere(differs).tolist() == [[0, 0]]


def test_clean_physics_does_not_skip_zero():
    mean = np.mean([image(f"{BASE} -phi {angle} -clean") for angle in (0, 1)], axis=0)
    np.testing.assert_allclose(image(f"{BASE} -clean -phi 0 -osc 2 -phisteps 2"), mean, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("words", ["-phi 30", "-phi 30 -osc 10 -phisteps 5", "-phi 0 -osc 2 -phisteps 2"])
def test_c_program_gives_the_same_pattern(c_image, words):
    assert_same_pattern(c_image(f"{BASE} {words}"), image(f"{BASE} {words}"))
