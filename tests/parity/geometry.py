"""Detector and crystal geometry reckoned from a trace's set-up alone: directions, positions, Miller indices.

Positions are (n, 2) pixels (slow, fast), whole at pixel centres; directions are (n, 3) unit vectors of the lab.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Setup = dict[str, Any]


def vectors(setup: Setup, positions: np.ndarray) -> np.ndarray:
    """From the crystal to points of the detector, (n, 3) m."""
    slow, fast = (np.asarray(positions, float).T + 0.5) * setup["pixel_size_m"]
    return (np.outer(fast, setup["fdet_vector"]) + np.outer(slow, setup["sdet_vector"])
            + np.asarray(setup["pix0_vector_m"]))


def directions(setup: Setup, positions: np.ndarray) -> np.ndarray:
    return unit(vectors(setup, positions))


def project(setup: Setup, rays: np.ndarray) -> np.ndarray:
    """Where rays (n, 3) from the crystal meet the detector plane."""
    normal, corner = np.asarray(setup["odet_vector"]), np.asarray(setup["pix0_vector_m"])
    points = rays * (corner @ normal / (rays @ normal))[:, None] - corner
    return np.stack([points @ setup["sdet_vector"], points @ setup["fdet_vector"]], 1) / setup["pixel_size_m"] - 0.5


def pixels(setup: Setup) -> np.ndarray:
    """All pixel positions in raster order, (spixels·fpixels, 2)."""
    return np.indices((setup["spixels"], setup["fpixels"])).reshape(2, -1).T.astype(float)


def miller_indices(setup: Setup, rays: np.ndarray) -> np.ndarray:
    """h, k, l of rays (n, 3) for the central beam and the unrotated crystal of a set-up."""
    scattering = (rays - np.asarray(setup["beam_vector"])) / (setup["lambda0_m"] * 1e10)
    return scattering @ np.array([setup["a_A"], setup["b_A"], setup["c_A"]]).T


def inside(setup: Setup, positions: np.ndarray, margin: float = 3.0) -> np.ndarray:
    """(n,) bool: positions on the detector, `margin` pixels from its edge."""
    sizes = np.array([setup["spixels"], setup["fpixels"]])
    return ((positions >= margin) & (positions <= sizes - 1 - margin)).all(1)


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def rotation(axis: int, degrees: float) -> np.ndarray:
    """Right-handed rotation matrix about lab axis 0, 1 or 2."""
    angle = np.radians(degrees)
    matrix = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
    return matrix
