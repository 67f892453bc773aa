"""Pixel masks: SMV images in which 0 means that the pixel is not rendered (part A §3.5)."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .smv import SmvImage


def render_mask(image: SmvImage, shape: tuple[int, int]) -> np.ndarray:
    """Pixels to render, (slow, fast) bool: those that are not 0 in ``image``.

    Args:
        image: the mask, from :func:`nanobrag_torch.io.smv.read_smv`.
        shape: (slow, fast) of the detector.

    Raises:
        InputError: the mask has another shape.
    """
    if image.data.shape != tuple(shape):
        (slow, fast), (mask_slow, mask_fast) = shape, image.data.shape
        raise InputError(
            f"{image.path}: expected a mask of the detector's {fast} x {slow} pixels (fast x slow), "
            f"got {mask_fast} x {mask_slow}"
        )
    return image.data != 0
