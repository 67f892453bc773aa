"""YAML documents as nodes, which know the lines that they stand in."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager

import yaml

from ..errors import InputError, excerpt


@contextmanager
def yaml_errors(path: str) -> Iterator[None]:
    """Text that is not YAML becomes an `InputError` with file and line."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: expected YAML, got {error.problem}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: expected YAML, got {excerpt(str(error))}") from None
    except RecursionError:
        raise InputError(f"{path}: expected YAML, got lists or mappings too deep within each other") from None


def line_of(node: yaml.Node) -> int:
    """The line, from 1, in which a node begins."""
    return node.start_mark.line + 1


def shown(node: yaml.Node) -> str:
    """What stands there, for the end of an error message."""
    if isinstance(node, yaml.ScalarNode):
        return excerpt(node.value) if node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def entries(path: str, node: yaml.MappingNode, wanted: str,
            known: Container[str] | None = None) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Keys of a mapping, each there once (and `known`), with their key and value nodes."""
    found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or (known is not None and key.value not in known):
            raise InputError(f"{path}:{line_of(key)}: expected {wanted}, got {excerpt(str(key.value))}")
        if key.value in found:
            raise InputError(f"{path}:{line_of(key)}: expected {excerpt(key.value)} once, got it again")
        found[key.value] = (key, value)
    return found
