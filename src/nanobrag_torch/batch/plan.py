"""The file of a batch: common options, what varies, and the cases that they make (part A §3.8)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from ..cli.options import Option
from ..cli.parse import find_option
from ..errors import InputError, excerpt
from ..io.reading import read_bytes
from ..io.yaml_nodes import entries, line_of, shown, yaml_errors
from .ranges import is_range, range_values

MOST_CASES = 1_000_000
DEFAULT_NAME = "image_{index:04d}"
SWITCH: dict[str, bool] = yaml.SafeLoader.bool_values
SECTIONS = ("name", "options", "product", "series", "cases")
ONE_RUN_ONLY = ("-h", "--version", "-show_config", "-trace_pixel", "-printout", "-printout_pixel", "-progress",
                "-noprogress", "-quiet")
"""Options about one run's own printing."""


@dataclass(frozen=True)
class Value:
    """What an option is given: its words (none for a switch that is on; None for one that is off), and the line."""

    words: tuple[str, ...] | None
    line: int


Values = dict[str, Value]
"""Option name, without its dash, to its value."""


@dataclass(frozen=True)
class Case:
    """One image of a batch: its number, from 1, and every option that the file gives it, in order."""

    number: int
    options: Values


@dataclass(frozen=True)
class Plan:
    """A file of a batch: the template of output names, with its line, and the cases."""

    path: str
    name: str
    name_line: int
    cases: tuple[Case, ...]


def read_plan(path: str) -> Plan:
    """The cases of a file.

    Raises:
        InputError: it cannot be read, is not YAML of the sections `SECTIONS`, names an unknown option, or its series
            are of different lengths; names file and line.
    """
    with yaml_errors(path):
        root = yaml.SafeLoader(read_bytes(path)).get_single_node()
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{path}:1: expected the sections {', '.join(SECTIONS)}, got something else")
    return _Reader(path, entries(path, root, f"one of {', '.join(SECTIONS)}", SECTIONS)).plan()


@dataclass(frozen=True)
class _Reader:
    path: str
    sections: dict[str, tuple[yaml.Node, yaml.Node]]

    def plan(self) -> Plan:
        if "series" in self.sections and "cases" in self.sections:
            raise self._refusal(self.sections["cases"][0], "expected either series or cases, got both")
        common, product = self._common(), self._product()
        rows = self._cases() if "cases" in self.sections else self._series()
        total = math.prod(len(values) for values in product.values()) * len(rows)
        if not 1 <= total <= MOST_CASES:
            raise InputError(f"{self.path}: expected 1 to {MOST_CASES} images, got {total}")
        combined = itertools.product(*product.values(), rows)
        cases = (_merged(common, *(dict([pair]) for pair in zip(product, chosen[:-1], strict=True)), chosen[-1])
                 for chosen in combined)
        name, line = self._name()
        return Plan(self.path, name, line, tuple(Case(number, options) for number, options in enumerate(cases, 1)))

    def _name(self) -> tuple[str, int]:
        if "name" not in self.sections:
            return DEFAULT_NAME, 1
        _, node = self.sections["name"]
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise self._refusal(node, "name: expected the beginning of file names, got something else")
        return node.value, line_of(node)

    def _common(self) -> Values:
        return {name: self._value(name, option, node) for name, option, node in self._options("options")}

    def _product(self) -> dict[str, list[Value]]:
        """Every option with all that it takes in turn; the last one varies fastest."""
        return {name: self._values(name, option, node) for name, option, node in self._options("product")}

    def _series(self) -> list[Values]:
        """Options that vary together: one row an image; a single value stands for all."""
        columns = {name: self._values(name, option, node) for name, option, node in self._options("series")}
        varying = [name for name, _, node in self._options("series") if not isinstance(node, yaml.ScalarNode)]
        length = len(columns[varying[0]]) if varying else 1
        for name in varying:
            if len(columns[name]) != length:
                raise InputError(f"{self.path}:{columns[name][0].line}: {name}: expected {length} values, as many as "
                                 f"{varying[0]} has, got {len(columns[name])}")
        return [{name: values[row % len(values)] for name, values in columns.items()} for row in range(length)]

    def _cases(self) -> list[Values]:
        _, node = self.sections["cases"]
        if not isinstance(node, yaml.SequenceNode):
            raise self._refusal(node, "cases: expected a list of images, each with its options, got something else")
        return [{name: self._value(name, option, value) for name, option, value in self._mapping(entry)}
                for entry in node.value]

    def _options(self, section: str) -> Iterator[tuple[str, Option, yaml.Node]]:
        if section in self.sections:
            yield from self._mapping(self.sections[section][1])

    def _mapping(self, node: yaml.Node) -> Iterator[tuple[str, Option, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._refusal(node, "expected options and their values (phi: 0.5), got something else")
        for name, (key, value) in entries(self.path, node, "the name of an option").items():
            yield name, self._option(name, key), value

    def _option(self, name: str, key: yaml.Node) -> Option:
        if name.startswith("-"):
            raise self._refusal(key, f"{name}: expected an option without its dash, got {excerpt(name)}")
        try:
            option = find_option(f"-{name}")
        except InputError as error:
            raise self._refusal(key, str(error)) from None
        if option.names[0] in ONE_RUN_ONLY:
            raise self._refusal(key, f"{name}: expected an option that makes an image, got one for a single run")
        return option

    def _values(self, name: str, option: Option, node: yaml.Node) -> list[Value]:
        """One value or several: a list of them, or a range."""
        if is_range(node):
            if len(option.takes) != 1:
                raise self._refusal(node, f"{name}: expected a list of values, got a range")
            return [Value((word,), line_of(node)) for word in range_values(self.path, name, node)]
        if isinstance(node, yaml.SequenceNode):
            if not node.value:
                raise self._refusal(node, f"{name}: expected at least one value, got an empty list")
            return [self._value(name, option, entry) for entry in node.value]
        return [self._value(name, option, node)]

    def _value(self, name: str, option: Option, node: yaml.Node) -> Value:
        if not option.takes:
            switched = SWITCH.get(node.value.lower()) if isinstance(node, yaml.ScalarNode) else None
            if switched is None:
                raise self._refusal(node, f"{name}: expected true or false, got {shown(node)}")
            return Value(() if switched else None, line_of(node))
        words = self._words(name, option, node)
        if len(words) > len(option.takes) or (len(words) < option.fewest and words != ("random",)):
            fewest, most = option.fewest, len(option.takes)
            wanted = f"{most}" if fewest == most else f"{fewest} to {most}"
            advice = "; a list of values in turn stands under series or product" if most == 1 else ""
            raise self._refusal(node, f"{name}: expected {wanted} value{'s' if most > 1 else ''} "
                                      f"({' '.join(option.takes)}), got {len(words)}{advice}")
        return Value(words, line_of(node))

    def _words(self, name: str, option: Option, node: yaml.Node) -> tuple[str, ...]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for entry in nodes:
            if not isinstance(entry, yaml.ScalarNode) or entry.tag == "tag:yaml.org,2002:null":
                raise self._refusal(entry, f"{name}: expected {' '.join(option.takes)}, got {shown(entry)}")
        words = [entry.value for entry in nodes]
        return tuple(words[0].split() if node is nodes[0] and len(option.takes) > 1 else words)

    def _refusal(self, node: yaml.Node, message: str) -> InputError:
        return InputError(f"{self.path}:{line_of(node)}: {message}")


def _merged(*parts: Values) -> Values:
    """Options in the order in which they are given; of one given again the last counts, in its later place."""
    merged: Values = {}
    for part in parts:
        for name, value in part.items():
            merged.pop(name, None)
            merged[name] = value
    return {name: value for name, value in merged.items() if value.words is not None}
