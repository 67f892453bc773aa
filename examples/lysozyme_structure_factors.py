"""Structure factors that look like those of tetragonal lysozyme, made from nothing but a formula.

    python examples/lysozyme_structure_factors.py lysozyme.hkl --resolution 1.6

Amplitudes follow Wilson's acentric distribution about the root mean square of the atoms in the cell, fall off with a
temperature factor, and are weakened at low angles by bulk solvent. They obey 4/mmm symmetry, Friedel's law and the
systematic absences of P43212. Random numbers come from an integer hash of the indices: the list is the same everywhere.
"""

from __future__ import annotations

import argparse

import numpy as np

EDGE_A = EDGE_B = 79.1
EDGE_C = 38.4
ATOMS_PER_CELL = 8 * 1001
ELECTRONS_PER_ATOM = 6.7
B_FACTOR_A2 = 28.0
SOLVENT_SHARE = 0.8
SOLVENT_B_A2 = 200.0


def uniform(*indices: np.ndarray) -> np.ndarray:
    """One number in (0, 1) for each set of integers, by the splitmix64 hash."""
    state = np.zeros(indices[0].shape, np.uint64)
    for index in indices:
        state = (state ^ index.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        state ^= state >> np.uint64(31)
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def indices_to(resolution_A: float) -> np.ndarray:
    """All (h, k, l), shape (n, 3), of spacing not below `resolution_A` that P43212 does not forbid."""
    limits = [int(edge / resolution_A) for edge in (EDGE_A, EDGE_B, EDGE_C)]
    h, k, l = (axis.ravel() for axis in np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"))  # noqa: E741
    squared = (h / EDGE_A) ** 2 + (k / EDGE_B) ** 2 + (l / EDGE_C) ** 2
    forbidden = ((h == 0) & (k == 0) & (l % 4 != 0)) | ((k == 0) & (l == 0) & (h % 2 != 0))
    forbidden |= (h == 0) & (l == 0) & (k % 2 != 0)
    keep = (squared > 0) & (squared <= resolution_A**-2) & ~forbidden
    return np.stack([h, k, l], axis=1)[keep]


def amplitudes(hkl: np.ndarray) -> np.ndarray:
    """|F| in electrons, shape (n,), of indices (n, 3)."""
    h, k, l = np.abs(hkl).T  # noqa: E741
    quarter_d2 = ((h / EDGE_A) ** 2 + (k / EDGE_B) ** 2 + (l / EDGE_C) ** 2) / 4
    rms = np.sqrt(ATOMS_PER_CELL) * ELECTRONS_PER_ATOM * np.exp(-B_FACTOR_A2 * quarter_d2)
    protein = 1.0 - SOLVENT_SHARE * np.exp(-SOLVENT_B_A2 * quarter_d2)
    return rms * protein * np.sqrt(-np.log(uniform(np.maximum(h, k), np.minimum(h, k), l)))


def write_list(path: str, resolution_A: float) -> int:
    """Write `h k l F` lines to a file; returns how many."""
    hkl = indices_to(resolution_A)
    np.savetxt(path, np.column_stack([hkl, amplitudes(hkl)]), fmt="%d %d %d %.2f")
    return len(hkl)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--resolution", type=float, default=1.6, help="smallest spacing, Å (default %(default)s)")
    arguments = parser.parse_args()
    print(f"{arguments.file}: {write_list(arguments.file, arguments.resolution)} structure factors")
