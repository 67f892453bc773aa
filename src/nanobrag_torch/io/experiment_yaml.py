"""An experiment as YAML: one section a config, units in the key names; only what differs from the defaults."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any, get_type_hints

import yaml

from ..config import BeamConfig, ConfigError, CrystalConfig, DetectorConfig, NoiseConfig, SamplingConfig
from ..errors import InputError, excerpt
from ..experiment import Computing, Experiment, Files
from ..quirks import Quirks
from .reading import read_bytes

SECTIONS: dict[str, type] = {
    "crystal": CrystalConfig, "detector": DetectorConfig, "beam": BeamConfig, "sampling": SamplingConfig,
    "noise": NoiseConfig, "files": Files, "computing": Computing, "quirks": Quirks,
}


def experiment_text(experiment: Experiment) -> str:
    """The experiment as YAML text; a field that is not there has its default."""
    document = {}
    for name, kind in SECTIONS.items():
        section = _section(getattr(experiment, name), kind())
        if section:
            document[name] = section
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def read_experiment(path: str) -> Experiment:
    """The experiment in a YAML file.

    Raises:
        InputError: the file cannot be read, is not such a document, or a value is impossible; names file and line.
    """
    try:
        node = yaml.compose(read_bytes(path), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: expected YAML, got {error.problem}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: expected YAML, got {excerpt(str(error))}") from None
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}:1: expected sections {', '.join(SECTIONS)}, got something else")
    return Experiment(**dict(_read_section(path, key, value) for key, value in node.value))


def _section(config: Any, default: Any) -> dict[str, Any]:
    values = {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if value is not getattr(default, entry.name) and value != getattr(default, entry.name):
            values[entry.name] = _plain(value)
    return values


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value


def _read_section(path: str, key: yaml.Node, value: yaml.Node) -> tuple[str, Any]:
    name, line = str(key.value), key.start_mark.line + 1
    if name not in SECTIONS:
        raise InputError(f"{path}:{line}: expected one of {', '.join(SECTIONS)}, got {excerpt(name)}")
    if not isinstance(value, yaml.MappingNode):
        raise InputError(f"{path}:{line}: expected the fields of {name}, got something else")
    kind, fields, lines = SECTIONS[name], {}, {}
    known = {entry.name for entry in dataclasses.fields(kind)}
    for field_key, field_value in value.value:
        field, lines[field_key.value] = field_key.value, field_key.start_mark.line + 1
        if field not in known:
            raise InputError(f"{path}:{lines[field]}: expected a field of {name}, got {excerpt(str(field))}")
        loader = yaml.SafeLoader("")
        fields[field] = _checked(path, lines[field], kind, field, loader.construct_object(field_value, deep=True))
    try:
        return name, kind(**fields)
    except ConfigError as error:
        at = lines.get(error.field.split(", ")[0], line)
        raise InputError(f"{path}:{at}: {error}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}:{line}: {name}: {error}") from None


def _checked(path: str, line: int, kind: type, field: str, value: Any) -> Any:
    """Sequences as tuples; simple types as annotated."""
    wanted = get_type_hints(kind).get(field)
    if wanted is bool and not isinstance(value, bool):
        raise InputError(f"{path}:{line}: {field}: expected true or false, got {excerpt(str(value))}")
    if isinstance(value, str) and wanted is Any:
        try:
            return float(value)
        except ValueError:
            raise InputError(f"{path}:{line}: {field}: expected a number, got {excerpt(value)}") from None
    if isinstance(value, list) and value and not isinstance(value[0], list) and len(value) == 3:
        return tuple(value)
    return value
