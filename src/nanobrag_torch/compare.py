"""How closely two images agree: differences, bit-equal share, and peaks matched one to one.

All functions take images as arrays (slow, fast) in photons per pixel. The peak functions need scipy (extra `compare`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PROMINENCE = 0.02
PLATEAU = 1e-6


@dataclass(frozen=True)
class ImageComparison:
    """Agreement of a test image with a reference.

    Attributes:
        correlation: Pearson's coefficient over all pixels; 1 for two equal constant images, else 0 if one is constant.
        sum_ratio: sum of test over sum of reference; 1 if both sums are 0, NaN if only the reference's is.
        rmse: root mean square difference, photons/pixel.
        max_abs: largest difference, photons/pixel.
        max_rel: largest difference relative to the reference, over bright pixels; 0 if none is bright.
        bright_pixels: number of pixels above the bright fraction of the reference's maximum.
        bit_equal_share: share of pixels with the same bits after rounding to float32.
    """

    correlation: float
    sum_ratio: float
    rmse: float
    max_abs: float
    max_rel: float
    bright_pixels: int
    bit_equal_share: float


@dataclass(frozen=True)
class Peaks:
    """Local maxima, strongest first: positions (n, 2) in pixels (slow, fast), heights (n,) in photons/pixel."""

    positions: np.ndarray
    heights: np.ndarray

    def __len__(self) -> int:
        return len(self.heights)

    def strongest(self, count: int) -> Peaks:
        """The first `count` peaks."""
        return Peaks(self.positions[:count], self.heights[:count])


@dataclass(frozen=True)
class PeakMatch:
    """Peaks of a reference found again: pairs (n, 2) of indices (reference, test), distances (n,) px, number wanted."""

    pairs: np.ndarray
    distances_px: np.ndarray
    wanted: int

    @property
    def found(self) -> int:
        return len(self.pairs)


def compare_images(reference: np.ndarray, test: np.ndarray, bright: float = 1e-3) -> ImageComparison:
    """All pixel metrics of two images.

    Args:
        reference, test: (slow, fast), any real dtype, of one shape; differences are formed in float64.
        bright: pixels above this fraction of the reference's maximum count for `max_rel`.

    Raises:
        ValueError: shapes differ.
    """
    _same_shape(reference, test)
    expected, found = np.asarray(reference, np.float64), np.asarray(test, np.float64)
    difference = np.abs(found - expected)
    above = expected > bright * expected.max(initial=0.0)
    return ImageComparison(
        correlation=correlation(expected, found),
        sum_ratio=_ratio(float(found.sum()), float(expected.sum())),
        rmse=float(np.sqrt(np.mean(np.square(difference)))),
        max_abs=float(difference.max(initial=0.0)),
        max_rel=float((difference[above] / expected[above]).max(initial=0.0)),
        bright_pixels=int(above.sum()),
        bit_equal_share=float(bit_equal(reference, test).mean()),
    )


def correlation(reference: np.ndarray, test: np.ndarray) -> float:
    """Pearson's correlation coefficient over all pixels of two images (slow, fast).

    Two equal images correlate fully even where they are constant; a constant image correlates with no other.
    """
    a = np.asarray(reference, np.float64) - np.mean(reference, dtype=np.float64)
    b = np.asarray(test, np.float64) - np.mean(test, dtype=np.float64)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norms == 0.0:
        return float(np.array_equal(reference, test))
    return float(np.vdot(a, b) / norms)


def bit_equal(reference: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(slow, fast) bool: pixels that have the same bits as float32."""
    _same_shape(reference, test)
    return np.equal(_bits(reference), _bits(test))


def find_peaks(
    image: np.ndarray, count: int | None = None, *, prominence: float = PROMINENCE, plateau: float = PLATEAU
) -> Peaks:
    """Isolated local maxima, strongest first.

    A pixel is on a peak if none of its eight neighbours exceeds it by more than `plateau` (relative), and it exceeds
    the mean of the 16 pixels of the 5 × 5 ring about it by `prominence` (relative). Touching pixels of this kind are
    one peak: where neighbours are equal by symmetry, rounding must not decide which of them is listed (part B §9.5).
    The position is the 3 × 3 centroid, averaged over the peak's pixels. Two pixels at each edge are left out.

    Args:
        image: (slow, fast), finite, at least 7 × 7 for any peak to be found.
        count: at most so many; None for all.
        prominence, plateau: see above.
    """
    from scipy import ndimage

    values = np.asarray(image, np.float64)
    if min(values.shape) < 7:
        return Peaks(np.zeros((0, 2)), np.zeros(0))
    labels, total = ndimage.label(_on_peak(values, prominence, plateau), structure=np.ones((3, 3)))
    slow, fast = np.nonzero(labels)
    owner = labels[slow, fast] - 1
    heights = np.zeros(total)
    np.maximum.at(heights, owner, values[slow, fast])
    centroids = _centroids(values, slow, fast)
    size = np.bincount(owner, minlength=total)
    positions = np.stack([np.bincount(owner, column, total) / size for column in centroids.T], axis=1)
    order = np.argsort(-heights, kind="stable")
    return Peaks(positions[order], heights[order]).strongest(total if count is None else count)


def match_peaks(
    reference: np.ndarray, test: np.ndarray, count: int = 50, *, radius_px: float = 0.5, height_tolerance: float = 1e-3,
    prominence: float = PROMINENCE,
) -> PeakMatch:
    """Pair the strongest peaks of a reference image with peaks of a test image, each at most once.

    A pair lies within `radius_px` and agrees in height within `height_tolerance` (relative). The test image is not
    cut to its own strongest `count`: of maxima that are equal by symmetry, rounding decides which come first, so every
    peak as high as one of the reference's may be taken (part B §9.5). Among all pairings the one with the most pairs,
    then the smallest sum of distances, is taken (Hungarian method).

    Args:
        reference, test: (slow, fast) images of one shape, photons/pixel.
        count: number of the reference's peaks to look for.
        prominence: of `find_peaks`; 0 for images without spots, which have but a broad maximum.
    """
    from scipy.optimize import linear_sum_assignment

    _same_shape(reference, test)
    wanted = find_peaks(reference, count, prominence=prominence)
    offered = find_peaks(test, prominence=prominence)
    distance = np.linalg.norm(wanted.positions[:, None] - offered.positions[None], axis=-1)
    higher = np.maximum(wanted.heights[:, None], offered.heights[None])
    unequal = np.abs(wanted.heights[:, None] - offered.heights[None]) > height_tolerance * higher
    forbidden = unequal | (distance > radius_px)
    cost = np.where(forbidden, radius_px * (len(wanted) + 1), distance)
    pairs = np.stack(linear_sum_assignment(cost), axis=1)
    pairs = pairs[~forbidden[pairs[:, 0], pairs[:, 1]]]
    return PeakMatch(pairs, distance[pairs[:, 0], pairs[:, 1]], len(wanted))


def _same_shape(reference: np.ndarray, test: np.ndarray) -> None:
    if np.shape(reference) != np.shape(test):
        raise ValueError(f"images of one shape expected, got {np.shape(reference)} and {np.shape(test)}")


def _bits(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image, dtype=np.float32).view(np.uint32)


def _ratio(numerator: float, denominator: float) -> float:
    if denominator == 0.0:
        return 1.0 if numerator == 0.0 else float("nan")
    return numerator / denominator


def _on_peak(values: np.ndarray, prominence: float, plateau: float) -> np.ndarray:
    """(slow, fast) bool, pixels on a local maximum that stands clear of its surroundings."""
    from scipy import ndimage

    ring = np.ones((5, 5))
    ring[1:4, 1:4] = 0.0
    around = ndimage.convolve(values, ring / ring.sum())
    top = (values > 0) & (values >= (1.0 - plateau) * ndimage.maximum_filter(values, 3))
    top &= values > (1.0 + prominence) * around
    inner = np.zeros_like(top)
    inner[2:-2, 2:-2] = top[2:-2, 2:-2]
    return inner


def _centroids(values: np.ndarray, slow: np.ndarray, fast: np.ndarray) -> np.ndarray:
    """Centroids (n, 2) of the 3 × 3 pixels about each (slow, fast), in pixels."""
    offsets = np.array([(s, f) for s in (-1, 0, 1) for f in (-1, 0, 1)])
    around = values[slow[:, None] + offsets[:, 0], fast[:, None] + offsets[:, 1]]
    return np.stack([slow, fast], axis=1) + around @ offsets / around.sum(axis=1, keepdims=True)
