"""What acceptance tests ask of two patterns: correlation, and the strongest peaks found again."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from nanobrag_torch.compare import compare_images, find_peaks, match_peaks

MOST_DECORRELATED, SUM_TOLERANCE, PEAKS = 1e-12, 1e-7, 50


def assert_same_pattern(reference: np.ndarray, image: np.ndarray) -> None:
    """An image as computed, (slow, fast) float64, is the reference's (float32), its strongest peaks within half a
    pixel.

    Bounds are far within 0.9999 correlation and 48 of 50 peaks.
    """
    assert image.dtype == np.float64
    found, match = compare_images(reference, image), match_peaks(reference, image, PEAKS, radius_px=0.5)
    assert 1 - found.correlation <= MOST_DECORRELATED
    assert abs(found.sum_ratio - 1) <= SUM_TOLERANCE
    assert match.found == match.wanted


def matched(wanted: np.ndarray, offered: np.ndarray, radius_px: float = 0.5) -> int:
    """How many of the positions wanted, (n, 2) px, have an offered one of their own within a radius (Hungarian)."""
    distance = np.linalg.norm(wanted[:, None] - offered[None], axis=-1)
    rows, columns = linear_sum_assignment(np.minimum(distance, 10 * radius_px))
    return int((distance[rows, columns] <= radius_px).sum())


def strongest(image: np.ndarray, count: int = PEAKS) -> np.ndarray:
    """Positions (n, 2) of the strongest peaks, px (slow, fast)."""
    return find_peaks(image, count).positions


def brightest_near(image: np.ndarray, position: np.ndarray, reach: int = 4) -> np.ndarray:
    """Position of the brightest pixel within `reach` pixels of a position; of equal ones, their mean."""
    slow, fast = np.rint(position).astype(int)
    rows, columns = slice(max(slow - reach, 0), slow + reach + 1), slice(max(fast - reach, 0), fast + reach + 1)
    window = image[rows, columns]
    equal = np.argwhere(window >= window.max() * (1 - 1e-9))
    return equal.mean(0) + [rows.start, columns.start]
