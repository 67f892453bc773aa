"""How many digits the canonical program itself loses near a Bragg hit.

It forms sin(πNh)/sin(πh) from the whole index, so both arguments are rounded at ε·π|h|N; close to an integer both
sines are small and the quotient keeps few digits (part B §9.3). Two programs may differ by so much and both be right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

EPSILON = 2.0**-52


@dataclass(frozen=True)
class Loss:
    """Relative bounds on the errors of one evaluation: of each grating factor, their product, and the intensity."""

    gratings: tuple[float, ...]
    product: float
    intensity: float


def grating_loss(index: float, cells: float) -> float:
    """Bound on the absolute error of sin(πNh)/sin(πh) computed from the whole index h."""
    rounding = EPSILON * math.pi * abs(index)
    if rounding == 0.0 or cells <= 1:
        return 0.0
    sine = abs(math.sin(math.pi * (index - round(index))))
    return 2.0 * cells * rounding / max(sine, rounding)


def evaluation_loss(indices: Iterable[float], cells: Iterable[float], gratings: Iterable[float]) -> Loss:
    """Bounds for fractional indices h, k, l, cell counts Na, Nb, Nc and the grating factors found."""
    losses = tuple(grating_loss(index, count) / abs(factor) if factor else 0.0
                   for index, count, factor in zip(indices, cells, gratings, strict=True))
    product = sum(losses)
    return Loss(losses, product, 2.0 * product + product**2)


def pixel_loss(terms: Iterable[tuple[float, Loss]]) -> float:
    """Relative bound for a pixel made of evaluations of given intensities."""
    pairs = list(terms)
    total = sum(intensity for intensity, _ in pairs)
    return sum(intensity * loss.intensity for intensity, loss in pairs) / total if total else 0.0
