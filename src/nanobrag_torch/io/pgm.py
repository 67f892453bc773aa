"""Grey maps, the small preview images of the canonical program (part A §4.5)."""

from __future__ import annotations

import os

import numpy as np

from .atomic import atomic_write


def write_pgm(path: str | os.PathLike[str], grey: np.ndarray, scale: float) -> None:
    """Write ``grey`` (slow, fast) uint8 as binary PGM with its ``scale`` (grey values per photon) in a comment.

    Raises:
        InputError: the file cannot be written.
    """
    slow, fast = grey.shape
    header = f"P5\n{fast} {slow}\n# pixels scaled by {scale:g}\n255\n".encode("ascii")
    atomic_write(path, (header, np.ascontiguousarray(grey, dtype=np.uint8)))
