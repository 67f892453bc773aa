"""Log-scaled previews for the eye."""

from __future__ import annotations

import io
import os

import numpy as np

from .atomic import atomic_write

DECADES = 5.0


def preview(image: np.ndarray) -> np.ndarray:
    """Grey values (slow, fast) uint8 of the logarithm of ``image`` (slow, fast): white for little, black for much.

    The scale spans from the median of the pixels above 0 to the largest, and at most five decades below that.
    """
    finite = np.where(np.isfinite(image), image, 0).astype(np.float64)
    lit = finite[finite > 0.0]
    if lit.size == 0:
        return np.full(image.shape, 255, dtype=np.uint8)
    top = lit.max()
    floor = max(float(np.median(lit)), top / 10.0**DECADES)
    span = max(np.log(top / floor), np.finfo(np.float64).tiny)
    darkness = np.log(np.maximum(finite, floor) / floor) / span
    return np.rint(255.0 * (1.0 - darkness)).astype(np.uint8)


def write_png(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write the :func:`preview` of ``image`` (slow, fast), slow index downwards, as PNG.

    Raises:
        InputError: the file cannot be written.
    """
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(preview(image)).save(encoded, format="PNG")
    atomic_write(path, encoded.getvalue())
