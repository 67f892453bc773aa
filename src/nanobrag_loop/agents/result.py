"""The result file of an agent: checked, cleaned, and from then on plain data.

Every text becomes one line without control characters and of bounded length. It is never used as a template or as
a command. A file that does not fit the schema is no result at all.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nanobrag_loop.typed import finite

RESULTS = ("success", "partial", "failed", "diagnostic")
SIZE_CAP = 256 * 1024
SUMMARY_CAP = 400
TEXT_CAP = 300
LIST_CAP = 12


class BadResult(Exception):
    """No usable result file; the text says why."""


@dataclass(frozen=True)
class Claim:
    """What an agent says. Nothing here has been measured by the runner."""

    result: str
    summary: str
    metrics: tuple[dict, ...] = ()
    artifacts: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    next_actions: tuple[str, ...] = ()
    first_divergence: str | None = None
    blocked_on: str | None = None
    proposals: Mapping = field(default_factory=dict)

    def as_dict(self) -> dict:
        return {**vars(self), "proposals": dict(self.proposals)}


def clean(text: str, cap: int = TEXT_CAP) -> str:
    """One line: white space collapsed, control and format characters and lone surrogates dropped, cut at `cap`."""
    spaced = "".join(" " if char.isspace() else char for char in text[: cap * 20])
    kept = "".join(char for char in spaced if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    line = " ".join(kept.split())
    return line if len(line) <= cap else line[: cap - 1].rstrip() + "…"


def read(path: Path, artifacts: Path) -> Claim:
    """The claim in `path`; `BadResult` if there is none. artifacts: the folder that named artifacts must lie in."""
    if path.is_symlink() or not path.is_file():
        raise BadResult("no result file was written")
    if path.stat().st_size > SIZE_CAP:
        raise BadResult(f"the result file is larger than {SIZE_CAP // 1024} KiB")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadResult(f"the result file is no JSON: {clean(str(error), 120)}") from None
    if not isinstance(data, dict) or data.get("schema") != 1:
        raise BadResult("the result file is not of schema 1")
    if data.get("result") not in RESULTS:
        raise BadResult(f"result: expected one of {', '.join(RESULTS)}, got {clean(repr(data.get('result')), 40)}")
    return Claim(
        result=data["result"],
        summary=_text(data, "summary", SUMMARY_CAP) or "No summary was given.",
        metrics=tuple(_metric(row) for row in _list(data, "metrics", dict)),
        artifacts=tuple(_artifact(name, artifacts) for name in _list(data, "artifacts", str)),
        observations=_texts(data, "observations"),
        next_actions=_texts(data, "next_actions"),
        first_divergence=_text(data, "first_divergence", TEXT_CAP),
        blocked_on=_text(data, "blocked_on", TEXT_CAP),
        proposals={
            key: data[key]
            for key in ("next_item", "directives", "plan_marks", "status_changes", "new_items")
            if key in data
        },
    )


def _list(data: Mapping, key: str, kind: type) -> list:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, kind) for entry in value):
        raise BadResult(f"{key}: expected a list of {'objects' if kind is dict else 'texts'}")
    return value[: LIST_CAP if kind is str else 2 * LIST_CAP]


def _text(data: Mapping, key: str, cap: int) -> str | None:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise BadResult(f"{key}: expected a text, got {type(value).__name__}")
    return clean(value, cap) or None if value is not None else None


def _texts(data: Mapping, key: str) -> tuple[str, ...]:
    return tuple(line for line in (clean(entry) for entry in _list(data, key, str)) if line)


def _metric(row: Mapping) -> dict:
    value, name, unit = row.get("value"), row.get("name"), row.get("unit", "")
    if not isinstance(name, str) or not isinstance(unit, str | None):
        raise BadResult("metrics: expected name, value and unit")
    if finite(value) is None:
        raise BadResult(f"metrics: {clean(name, 40)}: expected a finite number, got {clean(repr(value), 40)}")
    return {"name": clean(name, 60), "value": value, "unit": clean(unit or "", 12)}


def _artifact(name: str, folder: Path) -> str:
    """A path inside the artifact folder, without links on the way."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BadResult(f"artifacts: {clean(name, 80)} is not inside the artifact folder")
    inside = [part for part in (path, *path.parents) if part.is_relative_to(folder) and part != folder]
    try:
        linked = any(part.is_symlink() for part in inside)
        written = path.is_file()
    except (OSError, ValueError) as error:
        raise BadResult(f"artifacts: {clean(name, 80)} is no usable name: {clean(str(error), 80)}") from None
    if linked:
        raise BadResult(f"artifacts: {clean(name, 80)} is a symbolic link")
    if not written:
        raise BadResult(f"artifacts: {clean(name, 80)} was not written")
    return name
