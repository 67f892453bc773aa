"""AT-PARALLEL-026: absolute positions of the peaks of a triclinic crystal.

Setup: cell 70 80 90 75 85 95, three orientations, N 12, pixels of 0.2 mm.
Expectation: each of the 30 strongest peaks lies within half a pixel of the brightest point of the intensity that is
reckoned from the set-up alone, on a grid ten times finer; their nearest nodes are different reflections; the C program
has them too.
Command: nanoBragg -cell 70 80 90 75 85 95 -misset X Y Z -default_F 100 -N 12 -lambda 1.5 -distance 100 -pixel 0.2
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nanobrag_torch.compare import match_peaks
from parity.geometry import directions, miller_indices
from parity.model import image, setup
from parity.pattern import strongest

BASE = "-cell 70 80 90 75 85 95 -default_F 100 -N 12 -lambda 1.5 -distance 100 -detpixels 192 -pixel 0.2 -oversample 1"
ORIENTATIONS = ["-misset 5 3 2", "-misset -20 14 61", "-misset 100 33 -48"]
FINE = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, 31)] * 2, indexing="ij"), -1).reshape(-1, 2)


def lattice_intensity(found: dict[str, Any], positions: np.ndarray) -> np.ndarray:
    """(Π sin(πNh)/sin(πh))² at positions (n, 2)."""
    offsets = miller_indices(found, directions(found, positions))
    offsets = np.pi * (offsets - np.rint(offsets)) + 1e-300
    return ((np.sin(12 * offsets) / np.sin(offsets)) ** 2).prod(1)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_strongest_peaks_lie_at_the_reckoned_maxima(orientation):
    words = f"{BASE} {orientation}"
    found, peaks = setup(words), np.rint(strongest(image(words), 30))
    for peak in peaks:
        around = peak + FINE
        maximum = around[lattice_intensity(found, around).argmax()]
        assert np.abs(maximum - peak).max() <= 0.5 + 0.1


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_peaks_belong_to_different_reflections(orientation):
    words = f"{BASE} {orientation}"
    found, peaks = setup(words), strongest(image(words), 30)
    indices = miller_indices(found, directions(found, peaks))
    assert np.abs(indices - np.rint(indices)).max() < 1 / 12
    assert len({tuple(node) for node in np.rint(indices).astype(int).tolist()}) == len(peaks) == 30


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_c_program_has_the_same_peaks(c_image, orientation):
    words = f"{BASE} {orientation}"
    match = match_peaks(c_image(words), image(words), 50)
    assert match.found == match.wanted == 50
    assert match.distances_px.max() < 1e-5
