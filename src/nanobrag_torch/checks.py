"""Checks of config values, and the one error that they raise.

A value annotated `Real` is a number or a tensor of shape () or (1,); `Reals3` is three numbers or a tensor of shape
(3,).
"""

from __future__ import annotations

import dataclasses
import math
import operator
from enum import StrEnum
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


def check_numbers(config: Any) -> None:
    """Every field annotated as one number or as three holds that; None only where the annotation has it."""
    for field in dataclasses.fields(config):
        kind, value = field.type.removesuffix(" | None"), getattr(config, field.name)
        if kind not in ("Real", "Reals3", "float") or (value is None and field.type != kind):
            continue
        if kind != "Reals3":
            _numbers(field.name, "a number", [value], ((), (1,)))
        elif shape_of(value) == (3,):
            _numbers(field.name, "a number for each of three axes", value)
        else:
            raise ConfigError(field.name, "a number for each of three axes", _shown(value))


def _numbers(name: str, wanted: str, values: Any, shapes: tuple[tuple[int, ...], ...] = ((),)) -> list[float]:
    """Values as floats; a `ConfigError` that shows the first which is none, or is an array of another shape."""
    found = []
    for value in values:
        try:
            if isinstance(value, bool | str | bytes | tuple | list) or shape_of(value) not in shapes:
                raise TypeError
            found.append(plain(value))
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise ConfigError(name, wanted, _shown(value)) from None
    return found


def _shown(value: Any) -> Any:
    """A value as a message in one line has it."""
    return f"shape {shape_of(value)}" if shape_of(value) else value


def _values(config: object, name: str) -> list[float]:
    """Numbers of a field that `check_numbers` has let pass."""
    value = getattr(config, name)
    if value is None:
        return []
    return list(plain3(value)) if shape_of(value) == (3,) else [plain(value)]


def check_member(config: object, name: str, kind: type[StrEnum]) -> None:
    """Make a field, given as text or not at all, the member of an enumeration."""
    value = getattr(config, name)
    if value is None and config.__dataclass_fields__[name].default is None:
        return
    if value not in list(kind):
        raise ConfigError(name, f"one of {', '.join(kind)}", _shown(value))
    object.__setattr__(config, name, kind(value))


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


def check_whole(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not _is_whole(value):
            raise ConfigError(name, "a whole number", value)


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
    for name, edge in zip(("cell_a", "cell_b", "cell_c"), map(plain, edges), strict=True):
        if not (math.isfinite(edge) and edge > 0):
            raise ConfigError(name, "a finite edge above 0 Å", edge)
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
    values = np.array([_numbers("orientation_matrix", "3 rows of 3 numbers", row) for row in matrix])
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
        position = _numbers("source_directions", "three numbers for every source", row)
        if not any(position) or not all(map(math.isfinite, position)):
            raise ConfigError("source_directions", "positions away from the sample", tuple(position))
    given = _numbers("source_weights", "a number for every source", weights) if weights is not None else [1.0]
    if not (all(math.isfinite(weight) and weight >= 0 for weight in given) and any(given)):
        raise ConfigError("source_weights", "weights of 0 or above, one of them above", given)
    for wavelength in _numbers("source_wavelengths_A", "a number for every source",
                               () if wavelengths_A is None else wavelengths_A):
        if not (wavelength > 0 or math.isnan(wavelength)):
            raise ConfigError("source_wavelengths_A", "wavelengths above 0 (or NaN: the central one)", wavelength)


def check_factors(table: Any) -> None:
    """Values (H, K, L), real and finite, from whole lowest indices on; those on another device are not fetched."""
    for name in ("h_min", "k_min", "l_min"):
        check_whole(table, name)
    values, shape = table.values, shape_of(table.values)
    if len(shape) != 3 or min(shape) < 1:
        raise ConfigError("structure_factors", "a box of shape (H, K, L)", shape)
    if "complex" in str(getattr(values, "dtype", "")):
        raise ConfigError("structure_factors", "real numbers", values.dtype)
    if hasattr(values, "detach"):
        finite = not values.is_cpu or bool(values.detach().isfinite().all())
    else:
        finite = np.isfinite(values).all()
    if not finite:
        raise ConfigError("structure_factors", "finite numbers", "others among them")


def _is_whole(value: Any, least: float = -math.inf) -> bool:
    """Whether a value counts: 2 does, 2.0 does not, nor does True."""
    try:
        return not isinstance(value, bool) and operator.index(value) >= least
    except TypeError:
        return False
