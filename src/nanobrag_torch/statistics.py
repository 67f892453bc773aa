"""Statistics of a simulated image (part A §4.7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of an image, in photons/pixel.

    Attributes:
        max_I: largest rendered pixel, 0 if none is above 0.
        max_slow, max_fast: index of the first such pixel in scan order, None if none is above 0.
        mean, rms: over rendered pixels.
        rmsd: deviation from the mean, over rendered pixels or over all of the region of interest.
        rendered: number of rendered pixels.
    """

    max_I: float
    max_slow: int | None
    max_fast: int | None
    mean: float
    rms: float
    rmsd: float
    rendered: int


@np.errstate(over="ignore", invalid="ignore")
def image_statistics(
    image: np.ndarray, rendered: np.ndarray, roi: np.ndarray, *, rmsd_includes_masked: bool
) -> ImageStatistics:
    """Statistics of a float image.

    Args:
        image: (slow, fast) float32, photons/pixel.
        rendered: (slow, fast) bool, pixels inside the region of interest and not masked.
        roi: (slow, fast) bool, the region of interest.
        rmsd_includes_masked: count masked pixels of the region as zeros in ``rmsd``, like the canonical program.

    Returns:
        The statistics. rms and rmsd divide by n - 1; with fewer than two pixels by 1. They are infinite or NaN where
        pixels or their squares are beyond single precision.
    """
    pixels = image[rendered]
    max_I, max_slow, max_fast = _first_maximum(image, rendered)
    mean = _sum(pixels) / max(pixels.size, 1)
    deviations = image[roi if rmsd_includes_masked else rendered].astype(np.float64) - mean
    return ImageStatistics(
        max_I=max_I,
        max_slow=max_slow,
        max_fast=max_fast,
        mean=mean,
        rms=_root_mean(np.square(pixels)),
        rmsd=_root_mean(np.square(deviations)),
        rendered=pixels.size,
    )


def _first_maximum(image: np.ndarray, rendered: np.ndarray) -> tuple[float, int | None, int | None]:
    candidates = np.where(rendered & (image > 0), image, 0)
    if not candidates.any():
        return 0.0, None, None
    slow, fast = np.unravel_index(np.argmax(candidates), image.shape)
    return float(image[slow, fast]), int(slow), int(fast)


def _root_mean(squares: np.ndarray) -> float:
    return math.sqrt(_sum(squares) / max(squares.size - 1, 1))


def _sum(values: np.ndarray) -> float:
    """Sum in binary64 and in scan order, so that its last digits are those of a plain loop."""
    return float(np.cumsum(values, dtype=np.float64)[-1]) if values.size else 0.0
