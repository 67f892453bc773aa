"""Float images: raw binary32 photons per pixel, no header (part A §4.2)."""

from __future__ import annotations

import os

import numpy as np

from ..errors import InputError
from .atomic import atomic_write
from .reading import read_bytes


def write_float_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write ``image`` (slow, fast) as binary32 in native byte order, fast index first.

    Raises:
        InputError: the file cannot be written.
    """
    atomic_write(path, np.ascontiguousarray(image, dtype=np.float32))


def read_float_image(path: str | os.PathLike[str], shape: tuple[int, int]) -> np.ndarray:
    """Read an image of ``shape`` (slow, fast), float32.

    Raises:
        InputError: the file cannot be read or is not of that size.
    """
    data = read_bytes(path)
    slow, fast = shape
    if len(data) != 4 * slow * fast:
        raise InputError(
            f"{os.fspath(path)}: expected {4 * slow * fast} bytes ({fast} x {slow} binary32 pixels), got {len(data)}"
        )
    return np.frombuffer(data, dtype=np.float32).reshape(shape).copy()
