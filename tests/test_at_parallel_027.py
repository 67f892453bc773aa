"""AT-PARALLEL-027: structure factors that differ from reflection to reflection.

Setup: lists of indices up to ±2, ±6 and ±10 with a default outside, nearest node and tricubic interpolation.
Expectation: against a constant structure factor every pixel changes by (F/100)² of its nearest listed node, or the
default's; interpolation is that of four-point Lagrange polynomials; both programs give one pattern.
Command: nanoBragg -hkl block.hkl [-default_F 30] [-interpolate] ...
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BarycentricInterpolator

from parity.geometry import directions, miller_indices, pixels
from parity.model import image, setup
from parity.pattern import assert_same_pattern
from parity.programs import reflection_block

FILES = {f"{name}.hkl": reflection_block(extent) for name, extent in (("large", 10), ("block", 6), ("small", 2))}
BASE = ("-cell 40 45 50 90 90 90 -misset 8 16 24 -lambda 1.5 -distance 90 -detpixels 48 -pixel 0.6 -oversample 1 "
        "-default_F 30")


def listed(h, k, m):
    """The list's own rule."""
    return 50 + (7 * h + 11 * k + 13 * m) % 23


def indices_of(words: str) -> np.ndarray:
    found = setup(words)
    return miller_indices(found, directions(found, pixels(found)))


@pytest.mark.parametrize(("name", "extent"), [("block.hkl", 6), ("small.hkl", 2)])
def test_every_pixel_has_the_factor_of_its_nearest_node(name, extent):
    nodes = np.ceil(indices_of(f"{BASE} -N 5") - 0.5)
    inside = (np.abs(nodes) <= extent).all(1)
    expected = np.where(inside, listed(*nodes.T), 30.0)
    assert len(np.unique(expected)) > 5
    ratio = image(f"{BASE} -hkl {name} -N 5", FILES) / image(f"{BASE} -N 5 -default_F 100")
    np.testing.assert_allclose(np.sqrt(ratio).ravel() * 100, expected, rtol=1e-9)


def test_interpolated_factors_are_tensor_products_of_cubics():
    """At some pixels, by SciPy's polynomial through the four nodes about each index."""
    indices = indices_of(f"{BASE} -N 3")
    ratio = image(f"{BASE} -hkl large.hkl -interpolate -N 3", FILES) / image(f"{BASE} -N 3 -default_F 100")
    for pixel in range(0, indices.shape[0], 211):
        point = indices[pixel]
        nodes = np.floor(point)[:, None] + np.arange(-1, 3)
        values = listed(*np.meshgrid(*nodes, indexing="ij"))
        for axis in (2, 1, 0):
            values = BarycentricInterpolator(nodes[axis], values, axis=axis)(point[axis])
        assert np.sqrt(ratio.ravel()[pixel]) * 100 == pytest.approx(abs(float(values)), rel=1e-9)


@pytest.mark.parametrize("words", ["-hkl block.hkl -N 5", "-hkl small.hkl -N 5", "-hkl large.hkl -interpolate -N 3",
                                   "-hkl small.hkl -interpolate -N 3"])
def test_c_program_gives_the_same_pattern(c_image, words):
    assert_same_pattern(c_image(f"{BASE} {words}", FILES), image(f"{BASE} {words}", FILES))
