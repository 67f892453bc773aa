"""Checks of config values, and the one error that they raise.

A value annotated `Real` is a number or a one-element torch tensor; `Reals3` is three of them or a tensor of shape (3,).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    Real = float | torch.Tensor
    Reals3 = tuple[Real, Real, Real] | torch.Tensor
else:
    Real = Reals3 = Any


LARGEST_SEED = 2**31 - 1


class ConfigError(ValueError):
    """A value that no experiment can have; `field` names it."""

    def __init__(self, field: str, expected: str, came: object) -> None:
        self.field, self.expected, self.came = field, expected, came
        super().__init__(f"{field}: expected {expected}, got {came!r}")


def plain(value: Real) -> float:
    """The number in a float or one-element tensor, for decisions that no gradient passes through."""
    return float(value.detach() if hasattr(value, "detach") else value)


def plain3(values: Reals3) -> tuple[float, float, float]:
    """The three numbers of a vector field."""
    x, y, z = (plain(value) for value in values)
    return x, y, z


def _values(config: object, name: str) -> list[float]:
    value = getattr(config, name)
    if value is None:
        return []
    vector = isinstance(value, tuple | list) or getattr(value, "ndim", 0) == 1 and len(value) != 1
    try:
        return list(plain3(value)) if vector else [plain(value)]
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(name, "a number", value) from None


def shape_of(values: Any) -> tuple[int, ...]:
    """Shape of an array, tensor or nested sequence of numbers and tensors; -1 where rows differ."""
    if hasattr(values, "shape"):
        return tuple(values.shape)
    if not isinstance(values, tuple | list):
        return ()
    rows = {shape_of(row) for row in values}
    return (len(values), *(rows.pop() if len(rows) == 1 else (-1,) if rows else ()))


def check_finite(config: object, *names: str) -> None:
    for name in names:
        for value in _values(config, name):
            if not math.isfinite(value):
                raise ConfigError(name, "a finite number", value)


def check_positive(config: object, *names: str) -> None:
    for name in names:
        for value in _values(config, name):
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(name, "a finite number above 0", value)


def check_not_negative(config: object, *names: str) -> None:
    for name in names:
        for value in _values(config, name):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(name, "a finite number, 0 or above", value)


def check_count(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not _is_whole(value, 1):
            raise ConfigError(name, "a whole number, 1 or above", value)


def check_seed(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not (_is_whole(value, 1) and value <= LARGEST_SEED):
            raise ConfigError(name, f"a whole number from 1 to {LARGEST_SEED}", value)


def check_axis(config: object, *names: str) -> None:
    for name in names:
        values = _values(config, name)
        if values and (not all(map(math.isfinite, values)) or not any(values)):
            raise ConfigError(name, "a vector that is not zero", tuple(values))


def check_cell(edges: tuple[Real, ...], angles: tuple[Real, ...]) -> None:
    for name, edge in zip(("cell_a", "cell_b", "cell_c"), edges, strict=True):
        if not (math.isfinite(plain(edge)) and plain(edge) > 0):
            raise ConfigError(name, "a finite edge above 0 Å", plain(edge))
    degrees = [plain(angle) for angle in angles]
    for name, angle in zip(("cell_alpha", "cell_beta", "cell_gamma"), degrees, strict=True):
        if not 0 < angle < 180:
            raise ConfigError(name, "an angle between 0 and 180 degrees", angle)
    if sum(degrees) >= 360 or 2 * max(degrees) >= sum(degrees):
        raise ConfigError("cell_alpha, cell_beta, cell_gamma",
                          "angles that close a cell (sum below 360, none above the sum of the others)",
                          tuple(degrees))


def check_matrix(matrix: Any) -> None:
    if shape_of(matrix) != (3, 3):
        raise ConfigError("orientation_matrix", "3 rows of 3 numbers", shape_of(matrix) or matrix)
    values = np.array([[plain(entry) for entry in row] for row in matrix], dtype=float)
    if not np.isfinite(values).all() or np.linalg.det(values) == 0:
        raise ConfigError("orientation_matrix", "a finite, invertible 3 x 3 matrix", values.tolist())


def check_sources(directions: Any, weights: Any, wavelengths_A: Any) -> None:
    """Positions (n, 3) away from the sample, weights (n,) not all zero, wavelengths (n,) positive or NaN."""
    if directions is None:
        return
    shape = shape_of(directions)
    if len(shape) != 2 or shape[0] < 1 or shape[1] != 3:
        raise ConfigError("source_directions", "shape (n, 3)", shape)
    for name, values in (("source_weights", weights), ("source_wavelengths_A", wavelengths_A)):
        if values is not None and shape_of(values) != shape[:1]:
            raise ConfigError(name, f"shape {shape[:1]}", shape_of(values))
    for row in directions:
        position = plain3(row)
        if not any(position) or not all(map(math.isfinite, position)):
            raise ConfigError("source_directions", "positions away from the sample", position)
    given = [plain(weight) for weight in weights] if weights is not None else [1.0]
    if not (all(math.isfinite(weight) and weight >= 0 for weight in given) and any(given)):
        raise ConfigError("source_weights", "weights of 0 or above, one of them above", given)
    for wavelength in map(plain, wavelengths_A if wavelengths_A is not None else ()):
        if not (wavelength > 0 or math.isnan(wavelength)):
            raise ConfigError("source_wavelengths_A", "wavelengths above 0 (or NaN: the central one)", wavelength)


def _is_whole(value: Any, least: int) -> bool:
    try:
        return not isinstance(value, bool) and int(value) == value and value >= least
    except (TypeError, ValueError, OverflowError):
        return False
