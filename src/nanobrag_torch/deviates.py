"""Random deviates, draw for draw those of the canonical program (part A §5).

The generator is Park and Miller's minimal standard with a Bays-Durham shuffle ("ran1" of Numerical Recipes
in C); Gaussian, Poisson and log-gamma follow "gasdev", "poidev" and "gammln" with that program's changes.
Equal streams need equal rounding, so each step that the program holds in binary32 is rounded here at the same
place, and logarithms, exponentials and tangents come from the C library, not from a vectorised one.
"""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import chain
from operator import length_hint

import numpy as np

from .constants import RANDOM_MISSET_SPREAD_RAD
from .errors import InputError

MODULUS = 2147483647
MULTIPLIER = 16807
TABLE_SIZE = 32
WARM_UP = 8
SLOT_SHIFT = 26  # floor(y / 67108864) picks one of 32 slots
UNIFORM_SCALE = 1.0 / MODULUS
UNIFORM_CEILING = np.float32(1.0 - 1.2e-7)
LONGEST_BLOCK = 4096  # of deviates made at once: longer ones fall out of the processor's cache

PRODUCT_BELOW = 12.0
GAUSSIAN_ABOVE = 1.0e6
LANCZOS = (
    76.18009172947146,
    -86.50532032941677,
    24.01409824083091,
    -1.231739572450155,
    0.1208650973866179e-2,
    -0.5395239384953e-5,
)
LOG_GAMMA_TABLE_SIZE = 65536

ONE_THIRD = 0.3333333432674408  # 1/3 in binary32


class DeviateStream:
    """One independent stream of deviates.

    Args:
        seed: 1 to 2147483647; what the options ``-seed``, ``-mosaic_seed``, ``-misset_seed`` take.

    Raises:
        InputError: seed outside that range. (The canonical program lets such a seed continue another stream.)
    """

    def __init__(self, seed: int) -> None:
        if not 1 <= seed <= MODULUS:
            raise InputError(f"a seed must be a whole number from 1 to {MODULUS}, got {seed}")
        self._states = np.array([seed], dtype=np.int64)
        self._block: Iterator[float] = iter(())
        self._draw: Callable[[], float] = chain.from_iterable(self._blocks(seed)).__next__
        self._single = array("f", [0.0])
        self._spare_gaussian: float | None = None

    @property
    def state(self) -> int:
        """Integer state of the generator after the draws so far."""
        return int(self._states[-1 - length_hint(self._block)])

    def uniform(self) -> float:
        """Uniform deviate in [0, 1), a binary32 value (part A §5.2)."""
        return self._draw()

    def gaussian(self) -> float:
        """Gaussian deviate of mean 0 and variance 1, a binary32 value (part A §5.3)."""
        if self._spare_gaussian is not None:
            spare, self._spare_gaussian = self._spare_gaussian, None
            return spare
        while True:
            v1 = _float32(2.0 * self._draw() - 1.0)
            v2 = _float32(2.0 * self._draw() - 1.0)
            square = _float32(_float32(v1 * v1) + _float32(v2 * v2))
            if 0.0 < square < 1.0:
                break
        factor = _float32(math.sqrt(-2.0 * math.log(square) / square))
        self._spare_gaussian = _float32(v1 * factor)
        return _float32(v2 * factor)

    def poisson(self, mean: float) -> float:
        """Poisson deviate of the given mean (rounded to binary32), a binary32 value (part A §5.5).

        Above a mean of 1e6 it is a Gaussian one and not a whole number. Mean NaN gives NaN.
        """
        return float(self.poisson_many(np.array([mean], dtype=np.float32))[0])

    def poisson_many(self, means: np.ndarray) -> np.ndarray:
        """Poisson deviates of all ``means`` (n,) float32, drawn in their order; returns (n,) float64."""
        deviates = np.empty(means.size)
        for start in range(0, means.size, LONGEST_BLOCK):
            some = means[start : start + LONGEST_BLOCK]
            deviates[start : start + some.size] = list(self._poisson_block(some))
        return deviates

    def rotation(self, spread: float) -> np.ndarray:
        """Random rotation matrix (3, 3) about a random axis, by at most ``spread`` radians (part A §5.6)."""
        axis, factor = self._rotation_axis()
        return _rotation_matrix(axis, _float32(_float32(spread) * factor))

    def _rotation_axis(self) -> tuple[np.ndarray, float]:
        """Unit axis (3,) and the angle as a fraction of the spread; three draws."""
        r1, r2, r3 = (2.0 * self._draw() - 1.0 for _ in range(3))
        ring = math.sqrt(1.0 - r2 * r2)
        axis = np.array([ring * math.sin(math.pi * r1), ring * math.cos(math.pi * r1), r2])
        return axis, _powf()(_float32(1.0 - r3 * r3), ONE_THIRD)

    def _blocks(self, seed: int) -> Iterator[Iterator[float]]:
        """Uniform deviates in ever longer blocks; keeps each block and its generator states for ``state``.

        The shuffle picks a slot of its table by the last output. The slot that each output will pick and its
        deviate are made for a block at once, so the table is held as two lists, ``slots`` and ``deviates``.
        """
        if seed == MODULUS:  # the generator maps this one to 0: it gives 0 once, then the stream of seed 1
            self._states, self._block = np.array([0]), iter((0.0,))
            yield self._block
            seed = 1
        self._states = _multipliers()[: WARM_UP + TABLE_SIZE] * seed % MODULUS
        slots, deviates = _slots_and_deviates(self._states[: WARM_UP - 1 : -1])
        slot = slots[0]
        length = TABLE_SIZE
        while True:
            self._states = _multipliers()[:length] * self._states[-1] % MODULUS
            shuffled = []
            for fresh_slot, fresh_deviate in zip(*_slots_and_deviates(self._states), strict=True):
                shuffled.append(deviates[slot])
                deviates[slot] = fresh_deviate
                next_slot = slots[slot]
                slots[slot] = fresh_slot
                slot = next_slot
            self._block = iter(shuffled)
            yield self._block
            length = min(2 * length, LONGEST_BLOCK)

    def _poisson_block(self, means: np.ndarray) -> Iterator[float]:
        m = means.astype(np.float64)
        product, gaussian = m < PRODUCT_BELOW, m > GAUSSIAN_ABOVE
        rejection = (m >= PRODUCT_BELOW) & ~gaussian
        threshold, log_mean, width = np.zeros((3, m.size))
        threshold[product] = _each(math.exp, -np.maximum(m[product], 0.0)).astype(np.float32)
        log_mean[rejection] = _each(math.log, m[rejection]).astype(np.float32)
        width[rejection] = np.sqrt(2.0 * m[rejection]).astype(np.float32)
        threshold[rejection] = _log_peak(m[rejection], log_mean[rejection])
        constants = (m.tolist(), threshold.tolist(), log_mean.tolist(), width.tolist())
        for mean, g, log_m, s in zip(*constants, strict=True):
            if mean < PRODUCT_BELOW:
                yield self._poisson_by_product(g)
            elif mean <= GAUSSIAN_ABOVE:
                yield self._poisson_by_rejection(mean, s, log_m, g)
            elif mean > GAUSSIAN_ABOVE:
                yield _float32(mean + math.sqrt(mean) * self.gaussian())
            else:  # NaN passes every test of the rejection method at once
                self._draw(), self._draw()
                yield math.nan

    def _poisson_by_product(self, threshold: float) -> float:
        """Count of uniform deviates whose product stays above ``threshold`` = exp(-mean)."""
        draw, single = self._draw, self._single
        count = 0
        product = draw()
        while product > threshold:
            count += 1
            single[0] = product * draw()
            product = single[0]
        return float(count)

    def _poisson_by_rejection(self, mean: float, width: float, log_mean: float, log_peak: float) -> float:
        """Rejection from a Lorentzian of ``width`` sqrt(2 mean); for ``log_peak`` see :func:`_log_peak`."""
        draw, single = self._draw, self._single
        table = _log_gamma_table()
        while True:
            single[0] = math.tan(math.pi * draw())
            y = single[0]
            single[0] = width * y
            single[0] = single[0] + mean
            count = single[0] // 1.0
            if count < 0.0:
                continue
            if count < LOG_GAMMA_TABLE_SIZE - 1:
                log_factorial = table[int(count) + 1]
            else:
                log_factorial = log_gamma(_float32(count + 1.0))
            single[0] = count * log_mean
            single[0] = single[0] - log_factorial
            single[0] = single[0] - log_peak
            log_ratio = single[0]
            single[0] = y * y
            single[0] = 0.9 * (1.0 + single[0]) * math.exp(log_ratio)
            if draw() <= single[0]:
                return count


def log_gamma(x: float) -> float:
    """ln of the gamma function at ``x`` > 0, a binary32 value, in Lanczos' form (part A §5.4)."""
    return _float32(_lanczos(_float32(x), math.log))


def poisson_image(mean_image: np.ndarray, seed: int, roi: np.ndarray | None = None) -> np.ndarray:
    """Poisson deviates of a whole image in the canonical program's order: slow index outer, fast inner.

    Args:
        mean_image: (slow, fast) float32, photons/pixel.
        seed: of the stream, see :class:`DeviateStream`.
        roi: (slow, fast) bool, pixels to draw; all if None. Other pixels draw nothing and stay 0.

    Returns:
        (slow, fast) float64; whole numbers up to a mean of 1e6, NaN where the mean is NaN.
    """
    mean_image = np.asarray(mean_image, dtype=np.float32)
    inside = np.ones(mean_image.shape, dtype=bool) if roi is None else roi
    photons = np.zeros(mean_image.shape)
    photons[inside] = DeviateStream(seed).poisson_many(mean_image[inside])
    return photons


@lru_cache(maxsize=32)
def mosaic_axes(domains: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation axes of mosaic domains and their angles as fractions of the spread (part A §5.6, part B §4.5).

    Returns:
        axes (D, 3), unit vectors, and factor (D,), binary32 values in [0, 1]. Domain d is turned about
        ``axes[d]`` by ``spread * factor[d]``, right-handed. Domain 0 stays: its factor is 0, its draws
        are consumed.
    """
    stream = DeviateStream(seed)
    drawn = [stream._rotation_axis() for _ in range(domains)]
    axes = np.array([axis for axis, _ in drawn])
    factor = np.array([fraction for _, fraction in drawn])
    factor[0] = 0.0
    return axes, factor


def mosaic_rotations(spread_rad: float, domains: int, seed: int) -> np.ndarray:
    """Rotation matrices (D, 3, 3) of mosaic domains, their angles rounded to binary32 (part A §5.6)."""
    axes, factor = mosaic_axes(domains, seed)
    spread = _float32(spread_rad)
    angles = [_float32(spread * fraction) for fraction in factor.tolist()]
    return np.array([_rotation_matrix(axis, angle) for axis, angle in zip(axes, angles, strict=True)])


def random_misset(seed: int) -> np.ndarray:
    """Angles (3,) about x, y and z, in radians, of the orientation ``-misset random`` (part A §5.6)."""
    return umat_to_misset(DeviateStream(seed).rotation(RANDOM_MISSET_SPREAD_RAD))


def umat_to_misset(umat: np.ndarray) -> np.ndarray:
    """Angles (3,) in radians about x, then y, then z, that make the rotation ``umat`` (3, 3): part B §4.3."""
    r = umat / np.linalg.norm(umat, axis=1, keepdims=True)
    if r[2, 0] ** 2 < 1.0:
        x = math.atan2(r[2, 1], r[2, 2])
        y = math.atan2(-r[2, 0], math.sqrt(r[2, 1] ** 2 + r[2, 2] ** 2))
        z = math.atan2(r[1, 0], r[0, 0])
    else:
        x, y, z = math.pi, math.pi / 2.0, math.atan2(r[0, 1], -r[1, 1])
    return np.array([x, y, z])


def _rotation_matrix(axis: np.ndarray, angle: float) -> np.ndarray:
    """Right-handed rotation (3, 3) by ``angle`` radians about the unit vector ``axis``."""
    v1, v2, v3 = axis.tolist()
    cosine, sine = math.cos(angle), math.sin(angle)
    versine = 1.0 - cosine
    return np.array(
        [
            [cosine + versine * v1 * v1, versine * v1 * v2 - sine * v3, versine * v1 * v3 + sine * v2],
            [versine * v1 * v2 + sine * v3, cosine + versine * v2 * v2, versine * v2 * v3 - sine * v1],
            [versine * v1 * v3 - sine * v2, versine * v2 * v3 + sine * v1, cosine + versine * v3 * v3],
        ]
    )


def _float32(x: float) -> float:
    """``x`` rounded to binary32."""
    return ctypes.c_float(x).value


def _each(function: Callable[[float], float], values: np.ndarray) -> np.ndarray:
    """``function`` of the C library at each value: NumPy's vectorised ones may differ in the last place."""
    return np.fromiter(map(function, values.tolist()), dtype=np.float64, count=values.size)


def _lanczos(x, log):
    """Lanczos' series for ln(gamma(x)) in binary64, of a number or an array, with that ``log``."""
    shifted = x + 5.5
    series = 1.000000000190015
    for i, coefficient in enumerate(LANCZOS, start=1):
        series = series + coefficient / (x + i)
    return -(shifted - (x + 0.5) * log(shifted)) + log(2.5066282746310005 * series / x)


def _log_gamma_each(x: np.ndarray) -> np.ndarray:
    """:func:`log_gamma` of an array of binary32 values."""
    return _lanczos(x, lambda values: _each(math.log, values)).astype(np.float32)


def _log_peak(mean: np.ndarray, log_mean: np.ndarray) -> np.ndarray:
    """Mean ln(mean) - lnG(mean + 1), rounded as the canonical program does."""
    product = (mean * log_mean).astype(np.float32).astype(np.float64)
    return (product - _log_gamma_each((mean + 1.0).astype(np.float32).astype(np.float64))).astype(np.float32)


@cache
def _log_gamma_table() -> list[float]:
    """:func:`log_gamma` of the whole numbers below ``LOG_GAMMA_TABLE_SIZE``; entry 0 is unused."""
    return [math.inf, *_log_gamma_each(np.arange(1.0, LOG_GAMMA_TABLE_SIZE)).tolist()]


def _slots_and_deviates(states: np.ndarray) -> tuple[list[int], list[float]]:
    """For each state of the generator the shuffle slot that it picks as an output, and its deviate."""
    uniforms = np.minimum((states * UNIFORM_SCALE).astype(np.float32), UNIFORM_CEILING)
    return (states >> SLOT_SHIFT).tolist(), uniforms.tolist()


@cache
def _multipliers() -> np.ndarray:
    """Powers 1 to ``LONGEST_BLOCK`` of the multiplier: power n takes the generator n steps ahead."""
    powers = np.array([MULTIPLIER], dtype=np.int64)
    while powers.size < LONGEST_BLOCK:
        powers = np.concatenate([powers, powers * powers[-1] % MODULUS])
    return powers


@cache
def _powf() -> Callable[[float, float], float]:
    """Binary32 power of the C library, which the canonical program calls; else the binary64 one, rounded.

    The two differ by one unit in the last place in about 1 of 1500 arguments.
    """
    try:
        powf = ctypes.CDLL(None).powf
    except (OSError, AttributeError, TypeError):
        return lambda base, exponent: _float32(base**exponent)
    powf.argtypes = [ctypes.c_float, ctypes.c_float]
    powf.restype = ctypes.c_float
    return powf
