"""AT-PARALLEL-023: missetting angles are rotations about lab x, then y, then z.

Setup: a triclinic crystal, -misset with one, two and three angles; the same orientation as a matrix file.
Expectation: the reciprocal axes are Rz·Ry·Rx of those without; a matrix of these axes, without a cell, gives the same
pattern; whole turns change nothing; both programs give one pattern.
Command: nanoBragg -cell 70 80 90 75 85 95 -misset X Y Z ...
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.geometry import rotation
from parity.model import image, setup
from parity.pattern import assert_same_pattern

CELL = "-cell 70 80 90 75 85 95"
REST = "-default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 128 -pixel 0.25 -oversample 1"
ANGLES = [(10, 0, 0), (0, 10, 0), (0, 0, 10), (10, 20, 30), (-45, -60, 170), (0, 90, 0), (120, 89, -77)]


def words(angles: tuple[float, float, float]) -> str:
    return f"{CELL} -misset {' '.join(map(str, angles))} {REST}"


def reciprocal_axes(command: str) -> np.ndarray:
    found = setup(command)
    return np.array([found[f"{axis}_star_invA"] for axis in "abc"])


@pytest.mark.parametrize("angles", ANGLES)
def test_axes_turn_about_x_then_y_then_z(angles):
    turn = rotation(2, angles[2]) @ rotation(1, angles[1]) @ rotation(0, angles[0])
    np.testing.assert_allclose(reciprocal_axes(words(angles)), reciprocal_axes(words((0, 0, 0))) @ turn.T, atol=1e-15)


@pytest.mark.parametrize("angles", ANGLES)
def test_matrix_of_the_turned_axes_gives_the_same_image(angles):
    """The matrix holds a*, b*, c* in columns, times the wavelength; clean physics, where the cell is not skewed."""
    axes = reciprocal_axes(f"{words(angles)} -clean")
    matrix = "\n".join(" ".join(f"{value * 1.5!r}" for value in row) for row in axes.T.tolist())
    turned = image(f"{words(angles)} -clean")
    from_matrix = image(f"-mat turned.mat {REST} -clean", {"turned.mat": f"{matrix}\n"})
    np.testing.assert_allclose(from_matrix, turned, rtol=1e-7, atol=1e-11 * turned.max())


def test_whole_turns_change_nothing():
    here, turned = image(words((10, 20, 30))), image(words((370, -340, 390)))
    np.testing.assert_allclose(turned, here, rtol=1e-7, atol=1e-11 * here.max())


@pytest.mark.parametrize("angles", ANGLES[3:6])
def test_c_program_gives_the_same_pattern(c_image, angles):
    assert_same_pattern(c_image(words(angles)), image(words(angles)))
