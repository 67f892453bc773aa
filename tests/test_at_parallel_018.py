"""AT-PARALLEL-018: crystals at the limits of their description.

Setup: a single cell, uneven counts, sizes instead of counts, oblique and left-handed cells, indices half way between
two nodes.
Expectation: one cell gives F² everywhere; a count is the size over the edge, rounded up, at least 1; a tie of indices
goes to the lower node; oblique cells keep their volume; nothing is infinite.
Command: nanoBragg -cell ... -Na 1 -Nb 4 -Nc 9 | -sample_x L ... | -mat FILE
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nanobrag_torch import kernel
from nanobrag_torch.scene import Directions
from parity.geometry import directions, miller_indices, pixels
from parity.model import image, setup, simulator

BASE = "-default_F 100 -lambda 1.5 -distance 100 -detpixels 64 -pixel 0.5 -oversample 1"
OBLIQUE = {"hexagonal": (60, 60, 90, 90, 90, 120), "monoclinic": (60, 70, 80, 90, 105, 90),
           "acute": (60, 70, 80, 65, 70, 75), "obtuse": (60, 70, 80, 100, 105, 115)}
LEFT_HANDED = "0.010 0.001 0.002\n-0.001 0.002 0.012\n0.002 0.011 -0.001\n"


def test_a_single_cell_has_no_spots():
    """F²·polarisation·ω; r_e²·fluence is 1."""
    found = image(f"-cell 100 100 100 90 90 90 -N 1 {BASE} -nopolar")
    omega = simulator(f"-cell 100 100 100 90 90 90 -N 1 {BASE}").detector.get_solid_angle().numpy()
    np.testing.assert_allclose(found, 1e4 * omega, rtol=1e-13)


def test_one_cell_along_two_axes_makes_sheets():
    """With Nb = Nc = 1 the intensity depends on h alone, by F²·(sin(πNh)/sin(πh))²·ω."""
    words = f"-cell 70 80 90 90 90 90 -misset 10 20 80 -Na 6 {BASE} -nopolar"
    found = setup(words)
    h = np.pi * miller_indices(found, directions(found, pixels(found)))[:, 0]
    omega = simulator(words).detector.get_solid_angle().numpy().ravel()
    expected = 1e4 * (np.sin(6 * h) / np.sin(h)) ** 2 * omega
    np.testing.assert_allclose(image(words).ravel(), expected, rtol=1e-9, atol=1e-12 * expected.max())


@pytest.mark.parametrize(("size_mm", "cells"), [(2.1e-5, 5), (2.01e-5, 5), (1.99e-5, 4), (1e-7, 1)])
def test_size_makes_whole_cells(size_mm, cells):
    assert setup(f"-cell 50 50 50 90 90 90 -sample_x {size_mm} -N 3 {BASE}")["Na"] == cells


def test_a_width_is_cut_to_the_beam():
    """The default beam of 0.1 mm cuts y and z, never x."""
    found = setup(f"-cell 50 50 50 90 90 90 -xtalsize 0.50001 {BASE.replace('-detpixels 64', '-detpixels 4')}")
    assert (found["Na"], found["Nb"], found["Nc"]) == (100002, 20000, 20000)


@pytest.mark.parametrize("count", ["0", "1"])
def test_no_cells_is_one_cell(count):
    assert setup(f"-cell 50 50 50 90 90 90 -N {count} {BASE}")["Na"] == 1


@pytest.mark.parametrize("cell", OBLIQUE.values(), ids=OBLIQUE)
def test_oblique_cell_keeps_volume_and_edges(cell):
    found = setup(f"-cell {' '.join(map(str, cell))} -N 4 {BASE} -clean")
    cosines = np.cos(np.radians(cell[3:]))
    volume = math.prod(cell[:3]) * math.sqrt(1 - (cosines**2).sum() + 2 * cosines.prod())
    axes = np.array([found["a_A"], found["b_A"], found["c_A"]])
    assert np.linalg.det(axes) == pytest.approx(volume, rel=1e-12)
    assert np.linalg.norm(axes, axis=1) == pytest.approx(cell[:3], rel=1e-12)
    for angle, (i, j) in zip(cell[3:], ((1, 2), (2, 0), (0, 1)), strict=True):
        assert axes[i] @ axes[j] == pytest.approx(cell[i] * cell[j] * math.cos(math.radians(angle)), abs=1e-9)


def test_left_handed_matrix():
    words = f"-mat hand.mat -N 5 {BASE}"
    found = setup(words, {"hand.mat": LEFT_HANDED})
    assert found["V_cell_A3"] < 0
    assert np.isfinite(image(words, {"hand.mat": LEFT_HANDED})).all()


@pytest.mark.parametrize(("index", "node"), [(0.5, 0), (1.5, 1), (-0.5, -1), (-1.5, -2), (0.5000001, 1), (2.0, 2)])
def test_a_tie_goes_to_the_lower_node(index, node):
    directions = Directions(torch.eye(3, dtype=torch.float64)[None, None], torch.zeros(1, 1, 3, dtype=torch.float64))
    found = kernel.miller_indices(torch.full((1, 3), index, dtype=torch.float64), directions, torch.float64)
    assert [float(axis) for axis in found.nodes] == [node] * 3
