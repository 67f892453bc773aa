"""From photons per pixel to the counts that files hold: scaled, preview and noise images (part A §§4.3, 4.5, 4.6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .deviates import poisson_image

INTEGER_TOP = 55000.0
COUNTS_TOP = 65535.0
GREY_TOP = 255.0
GREY_OF_FIVE_SIGMA = 250.0
_beyond_range = np.errstate(over="ignore", invalid="ignore")
"""Pixels that are infinite or NaN become the counts that the functions say, without a word from NumPy."""


@dataclass(frozen=True)
class NoiseImage:
    """Counts (slow, fast) uint16, photons drawn in all, and pixels that were above 65535 counts."""

    counts: np.ndarray
    photons: float
    overloads: int


def integer_scale(max_I: float) -> float:
    """Automatic scale of the integer image: the brightest pixel ``max_I`` becomes 55000 (part A §4.3)."""
    return INTEGER_TOP / max_I if max_I > 0.0 else 1.0


def grey_scale(rmsd: float, intfile_scale: float) -> float:
    """Automatic scale of the grey map: five times ``rmsd`` becomes 250 (part A §4.5)."""
    return GREY_OF_FIVE_SIGMA / (5.0 * rmsd) if rmsd > 0.0 else intfile_scale


@_beyond_range
def integer_image(image: np.ndarray, roi: np.ndarray, scale: float, adc: float) -> np.ndarray:
    """Scaled image of whole counts, rounded through binary32 like the canonical program (part A §4.3).

    Args:
        image: (slow, fast) float32, photons/pixel.
        roi: (slow, fast) bool; pixels outside become 0, without offset.
        scale: counts per photon.
        adc: offset in counts.

    Returns:
        (slow, fast) uint16, clipped to 0..65535; NaN becomes 0.
    """
    counts = np.clip(image[roi].astype(np.float64) * scale + adc, 0.0, COUNTS_TOP)
    return _inside(roi, np.floor((counts + 0.5).astype(np.float32)), np.uint16)


@_beyond_range
def pgm_image(image: np.ndarray, roi: np.ndarray, scale: float) -> np.ndarray:
    """Grey values of a preview: scaled and truncated, no offset (part A §4.5).

    Args:
        image: (slow, fast) float32, photons/pixel.
        roi: (slow, fast) bool; pixels outside become 0.
        scale: grey values per photon.

    Returns:
        (slow, fast) uint8, at most 255; NaN becomes 0.
    """
    return _inside(roi, np.minimum(image[roi].astype(np.float64) * scale, GREY_TOP), np.uint8)


@_beyond_range
def noise_image(image: np.ndarray, roi: np.ndarray, seed: int, adc: float, *, clip_negative: bool) -> NoiseImage:
    """Poisson image of the photons themselves, unscaled (part A §4.6).

    Args:
        image: (slow, fast) float32, photons/pixel: the means.
        roi: (slow, fast) bool; pixels inside are drawn in scan order, masked ones included; others are 0.
        seed: 1 to 2147483647.
        adc: offset in counts; the sum of deviate and offset is truncated.
        clip_negative: counts below 0 (from a negative ``adc``) become 0; else they wrap modulo 65536 like the
            canonical program's.

    Raises:
        InputError: seed out of range.
    """
    photons = poisson_image(image, seed, roi)[roi]
    counts = photons + adc
    overloaded = counts > COUNTS_TOP
    counts[overloaded] = COUNTS_TOP
    if clip_negative:
        counts = np.maximum(counts, 0.0)
    total = float(np.cumsum(photons)[-1]) if photons.size else 0.0
    return NoiseImage(_inside(roi, counts, np.uint16), total, int(overloaded.sum()))


def _inside(roi: np.ndarray, values: np.ndarray, dtype: type[np.unsignedinteger]) -> np.ndarray:
    """Image of ``dtype`` with ``values`` (n,) truncated, modulo its range, at the True pixels of ``roi``; NaN is 0."""
    out = np.zeros(roi.shape, dtype=dtype)
    out[roi] = np.nan_to_num(values, nan=0.0).astype(np.int64).astype(dtype)
    return out
