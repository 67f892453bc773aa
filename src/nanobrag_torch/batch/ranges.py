"""Ranges of numbers in decimal arithmetic: 0, 0.1, 0.2, 0.3 are the words that a user would type."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal, InvalidOperation

import yaml

from ..errors import InputError, excerpt
from ..io.yaml_nodes import entries, line_of

FIELDS = ("start", "stop", "step", "count")
MOST_VALUES = 1_000_000
LARGEST_EXPONENT = 40


def is_range(node: yaml.Node) -> bool:
    """Whether a value is written as a range: a mapping."""
    return isinstance(node, yaml.MappingNode)


def range_values(path: str, name: str, node: yaml.MappingNode) -> list[str]:
    """The numbers of {start, stop, step}, both ends included, or {start, step, count}, as words.

    Raises:
        InputError: other fields, or numbers that make no range; names file and line.
    """
    place = f"{path}:{line_of(node)}: {name}"
    given = {key: _number(f"{place}: {key}", value)
             for key, (_, value) in entries(path, node, f"{name}: one of {', '.join(FIELDS)}", FIELDS).items()}
    if given.keys() not in ({"start", "stop", "step"}, {"start", "step", "count"}):
        raise InputError(f"{place}: expected start, step and either stop or count, got {', '.join(given) or 'nothing'}")
    start, step = given["start"], given["step"]
    count = _count(place, given["count"]) if "count" in given else _steps(place, start, given["stop"], step)
    return [_word(start + index * step) for index in range(count)]


def _steps(place: str, start: Decimal, stop: Decimal, step: Decimal) -> int:
    if step == 0 or (stop - start) / step < 0:
        raise InputError(f"{place}: expected a step that leads from {start} to {stop}, got {step}")
    return _count(place, ((stop - start) / step).to_integral_value(ROUND_FLOOR) + 1)


def _count(place: str, count: Decimal) -> int:
    if count != count.to_integral_value() or not 1 <= count <= MOST_VALUES:
        raise InputError(f"{place}: expected 1 to {MOST_VALUES} values, got {count}")
    return int(count)


def _number(place: str, node: yaml.Node) -> Decimal:
    text = node.value if isinstance(node, yaml.ScalarNode) else "a list"
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or abs(number.adjusted()) > LARGEST_EXPONENT:
        raise InputError(f"{place}: expected a finite number of usual size, got {excerpt(text)}")
    return number


def _word(number: Decimal) -> str:
    """Without an exponent where that is shorter than 20 digits."""
    plain = f"{number:f}"
    return plain if len(plain) < 20 else str(number)
