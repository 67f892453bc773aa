"""The supervisor's memo `plans/steering.yaml`: the next item, advice, and items parked with the reason."""

from __future__ import annotations

import yaml

from nanobrag_loop import strictyaml
from nanobrag_loop.errors import ConfigError
from nanobrag_loop.select import Steering

FILE = "plans/steering.yaml"


def read(text: str | None) -> Steering:
    """The memo, empty if there is none; `ConfigError` names the first mistake."""
    if not text or not text.strip():
        return Steering()
    data = strictyaml.load(text, FILE)
    if not isinstance(data, dict) or data.get("schema") != 1:
        raise ConfigError(f"{FILE}: expected a mapping with `schema: 1`")
    unknown = sorted(set(data) - {"schema", "next_item", "directives", "parked", "written"})
    if unknown:
        raise ConfigError(f"{FILE}: unknown key {unknown[0]!r}")
    parked, directives = data.get("parked") or {}, data.get("directives") or []
    if not isinstance(parked, dict) or not isinstance(directives, list):
        raise ConfigError(f"{FILE}: expected `parked` as a mapping and `directives` as a list")
    if not isinstance(data.get("next_item"), str | None):
        raise ConfigError(f"{FILE}: next_item: expected the id of an item, got {data['next_item']!r}")
    return Steering(data.get("next_item"), tuple(map(str, directives)), {str(k): str(v) for k, v in parked.items()})


def write(steering: Steering, written: str) -> str:
    """The text of the memo."""
    data = {
        "schema": 1,
        "written": written,
        "next_item": steering.next_item,
        "directives": list(steering.directives),
        "parked": dict(steering.parked),
    }
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
