"""Automatic counts, ranges and steps of scans (part A §§2.6, 2.7).

Each takes what the user gave (None where nothing) and returns what the configs hold. `upstream` keeps the canonical
program's rules; otherwise a count is never discarded and one step means no spread. Too many steps to count are a
`ConfigError`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..config import ConfigError
from ..constants import DEGREES_PER_RADIAN

ONE_RADIAN_MRAD = 1000.0
MOST_STEPS = 2**63
"""More are not told apart from infinitely many; memory sets the bound in practice."""


class Scan(NamedTuple):
    """Count, full range, and step where it is not the range shared out evenly."""

    count: int
    extent: float
    step: float | None = None


def phi_scan(count: int | None, extent: float | None, step: float | None, *, upstream: bool) -> Scan:
    """Rotation steps, degrees; a missing step is extent/count (part A §2.6)."""
    step = step or None if extent is None or count is None else step
    if count is not None:
        count = max(count, 1)
        if extent is not None:
            return Scan(count, extent, step)
        if step is None:
            return Scan(count, 1.0)
        return Scan(2, step, step) if upstream else Scan(count, step * count, step)
    if extent is None:
        return Scan(1, 0.0) if step is None else Scan(2, step, step)
    if step is None:
        return Scan(2, extent)
    return Scan(max(_steps_in(extent, step, DEGREES_PER_RADIAN), 1), extent, step)


def divergence_scan(count: int | None, extent: float | None, step: float | None, *, upstream: bool) -> Scan:
    """Divergence in one direction, mrad; a missing step is extent/(count - 1) (part A §2.7)."""
    none = Scan(1, 0.0)
    count, step = count or None, step or None
    if extent is None:
        if count is None:
            return none if step is None else Scan(2, step)
        if step is not None:
            return Scan(2, step) if upstream or count == 1 else Scan(count, step * (count - 1), step)
        return Scan(count, ONE_RADIAN_MRAD, ONE_RADIAN_MRAD / count) if upstream else none
    if extent <= 0:
        return none
    if step is not None:
        if count is None:
            count = _steps_in(extent, step, 1000.0)
        return Scan(count, extent, step)
    if count == 1 and not upstream:
        return none
    return Scan(max(count or 2, 2), extent)


def dispersion_scan(count: int | None, extent: float | None, *, upstream: bool) -> Scan:
    """Wavelengths: relative width in percent (part A §2.7)."""
    count = count or None
    if not extent or (count == 1 and not upstream):
        return Scan(1, 0.0)
    return Scan(max(count or 2, 2), extent)


def mosaic_scan(domains: int | None, spread: float | None) -> Scan:
    """Mosaic domains and spread in degrees (part A §2.7a)."""
    if not spread:
        return Scan(1, 0.0)
    return Scan(domains or 10, spread)


def _steps_in(extent: float, step: float, per_radian: float) -> int:
    """⌈extent/step⌉, reckoned in radians."""
    step_rad = step / per_radian
    ratio = extent / per_radian / step_rad if step_rad else math.inf
    if not ratio < MOST_STEPS:
        raise ConfigError("step", f"a step that does not vanish beside the range of {extent:g}", step)
    return math.ceil(ratio)
