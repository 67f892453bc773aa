"""Data from JSON as a dataclass, checked against its annotations: what a file says may be anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

Kind = TypeVar("Kind")
hints = cache(get_type_hints)


def finite(value: object) -> float | None:
    """The value if it is a number that a float can hold, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return value


def build(kind: type[Kind], row: object) -> Kind:
    """The dataclass `kind` from a JSON object, other keys left out; `ValueError` names the first that does not fit."""
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, got {str(row)[:60]!r}")
    known = {name: _value(hint, row[name], name) for name, hint in hints(kind).items() if name in row}
    try:
        return kind(**known)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _value(hint: Any, value: object, name: str) -> object:
    if is_dataclass(hint):
        return build(hint, value)
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(_value(get_args(hint)[0], entry, name) for entry in value)
    if not fits(hint, value):
        expected = getattr(hint, "__name__", "") or str(hint).replace("collections.abc.", "")
        raise ValueError(f"{name}: expected {expected}, got {str(value)[:60]!r}")
    return value


def fits(hint: Any, value: object) -> bool:
    """Whether a value is what an annotation says; a number is finite, and true is none."""
    origin, inside = get_origin(hint) or hint, get_args(hint)
    if origin is UnionType:
        return any(fits(kind, value) for kind in inside)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(fits(inside[0], entry) for entry in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(fits(inside[1], entry) for entry in value.values() if inside)
    if origin is float:
        return finite(value) is not None
    return isinstance(value, origin) and (origin is bool or not isinstance(value, bool))
