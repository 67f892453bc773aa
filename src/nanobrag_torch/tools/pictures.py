"""Images and differences as 8-bit pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..io.png import preview


def grey_picture(image: np.ndarray, white: float | None = None) -> np.ndarray:
    """(slow, fast) uint8: logarithmic to the maximum, or linear up to `white` photons."""
    if white is None:
        return preview(np.asarray(image, np.float32))
    return (255 * np.clip(np.nan_to_num(image) / white, 0, 1)).astype(np.uint8)


def difference_picture(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(slow, fast, 3) uint8 heat map of the relative difference: white none, red more, blue less; full colour at the
    largest difference."""
    scale = np.maximum(np.abs(reference), 1e-6 * np.abs(reference).max(initial=0.0) + np.finfo(float).tiny)
    relative = np.nan_to_num((image - reference) / scale)
    relative /= np.abs(relative).max(initial=0.0) or 1.0
    more, less = np.clip(relative, 0, 1), np.clip(-relative, 0, 1)
    colours = np.stack((1 - less, 1 - more - less, 1 - more), axis=-1)
    return (255 * np.clip(colours, 0, 1)).astype(np.uint8)


def save(picture: np.ndarray, path: Path) -> None:
    """Write a picture as PNG."""
    from PIL import Image

    Image.fromarray(picture).save(path)
