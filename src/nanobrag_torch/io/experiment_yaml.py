"""An experiment as YAML: one section a config, units in the key names; only what differs from the defaults."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
import yaml

from ..config import (
    BeamConfig,
    ConfigError,
    CrystalConfig,
    CrystalShape,
    DetectorConfig,
    DetectorConvention,
    DetectorPivot,
    NoiseConfig,
    SamplingConfig,
)
from ..errors import InputError, excerpt
from ..experiment import Computing, Experiment, Files
from ..quirks import Quirks
from .once import read_once
from .reading import read_bytes
from .yaml_nodes import entries, line_of, shown, yaml_errors

SECTIONS: dict[str, type] = {
    "crystal": CrystalConfig, "detector": DetectorConfig, "beam": BeamConfig, "sampling": SamplingConfig,
    "noise": NoiseConfig, "files": Files, "computing": Computing, "quirks": Quirks,
}

QUIRK_SETS = {"upstream": Quirks.upstream(), "clean": Quirks.clean()}
"""What the quirks section may say instead of naming each; without the section it is upstream, as for the command."""


_UNFIT = (TypeError, ValueError, OverflowError, KeyError, AttributeError)
"""What a YAML value of another kind than its tag or field raises when it is read."""


def experiment_text(experiment: Experiment) -> str:
    """The experiment as YAML text; a field that is not there has its default, quirks are always named."""
    document = {}
    for name, kind in SECTIONS.items():
        section = _section(getattr(experiment, name), kind())
        if section:
            document[name] = section
    document["quirks"] = next((name for name, quirks in QUIRK_SETS.items() if quirks == experiment.quirks),
                              document.get("quirks"))
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


@read_once
def read_experiment(path: str) -> Experiment:
    """The experiment in a YAML file.

    Raises:
        InputError: the file cannot be read, is not such a document, or a value is impossible; names file and line.
    """
    with yaml_errors(path):
        loader = yaml.SafeLoader(read_bytes(path))
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{path}:1: expected sections {', '.join(SECTIONS)}, got something else")
        sections = entries(path, node, f"one of {', '.join(SECTIONS)}", SECTIONS)
        configs = {name: _read_section(path, loader, name, key, value) for name, (key, value) in sections.items()}
        return Experiment(**{"quirks": QUIRK_SETS["upstream"]} | configs)


def _section(config: Any, default: Any) -> dict[str, Any]:
    values = {}
    for entry in dataclasses.fields(config):
        value = _plain(getattr(config, entry.name))
        if value != _plain(getattr(default, entry.name)):
            values[entry.name] = value
    return values


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value


def _read_section(path: str, loader: yaml.SafeLoader, name: str, key: yaml.Node, node: yaml.Node) -> Any:
    if name == "quirks" and isinstance(node, yaml.ScalarNode):
        if node.value not in QUIRK_SETS:
            raise InputError(f"{path}:{line_of(key)}: quirks: expected {' or '.join(QUIRK_SETS)} or each by name, "
                             f"got {excerpt(node.value)}")
        return QUIRK_SETS[node.value]
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}:{line_of(key)}: expected the fields of {name}, got something else")
    kind = SECTIONS[name]
    types = {entry.name: entry.type for entry in dataclasses.fields(kind)}
    values, lines = {}, {}
    for field, (field_key, field_value) in entries(path, node, f"a field of {name}", types).items():
        lines[field] = line_of(field_key)
        try:
            values[field] = _typed(types[field], loader.construct_object(field_value, deep=True))
        except _UNFIT:
            wanted = _TYPES[types[field].removesuffix(" | None")].wanted
            raise InputError(f"{path}:{lines[field]}: {field}: expected {wanted}, got {shown(field_value)}") from None
    try:
        return kind(**values)
    except ConfigError as error:
        at = next((lines[field] for field in error.field.split(", ") if field in lines), line_of(key))
        raise InputError(f"{path}:{at}: {error}") from None


def _typed(annotation: str, value: Any) -> Any:
    """A YAML value as the type that a config field is annotated with; ValueError or TypeError where it is another."""
    optional = annotation.endswith(" | None")
    if value is None and (optional or annotation == "Any"):
        return None
    return _TYPES[annotation.removesuffix(" | None")].convert(value)


def _strict(kind: type) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return convert


def _text(value: Any) -> str:
    """Text that the name of a file can be."""
    if "\0" in _strict(str)(value):
        raise ValueError
    return value


def _real(value: Any) -> float:
    """Numbers, and those words that YAML 1.1 does not take for numbers, such as 1e-10."""
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    return value if isinstance(value, int) else number


def _whole(value: Any) -> int:
    number = _real(value)
    if not math.isfinite(number) or number != int(number):
        raise ValueError
    return int(number)


def _three(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError
    return tuple(_real(entry) for entry in value)


def _numbers(value: Any) -> Any:
    return [_numbers(entry) for entry in value] if isinstance(value, list) else _real(value)


def _array(value: Any) -> np.ndarray:
    rows = _strict(list)(value)
    return np.array([[bool(_whole(int(entry))) for entry in row] for row in rows])


@dataclasses.dataclass(frozen=True)
class _Type:
    wanted: str
    convert: Callable[[Any], Any]


_TYPES: dict[str, _Type] = {
    "bool": _Type("true or false", _strict(bool)),
    "str": _Type("text", _text),
    "int": _Type("a whole number", _whole),
    "float": _Type("a number", _real),
    "Real": _Type("a number", _real),
    "Reals3": _Type("three numbers", _three),
    "Any": _Type("numbers", _numbers),
    "np.ndarray": _Type("rows of true or false", _array),
} | {kind.__name__: _Type(f"one of {', '.join(kind)}", kind) for kind in (
    CrystalShape, DetectorConvention, DetectorPivot)}
"""How to read a value, by the annotation of its field."""
