"""Attempt records: one small JSON file per attempt, committed below `reports/loop/`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nanobrag_loop import typed
from nanobrag_loop.gates import GateResult

FOLDER = PurePosixPath("reports/loop")
SIZE_CAP = 16 * 1024
FINDING_CAP = 25


@dataclass(frozen=True)
class Record:
    """One attempt as it was recorded. guard: findings, each with code, path, message and remedy."""

    run: str
    item: str
    attempt: int
    result: str
    reason: str = ""
    role: str = "engineer"
    agent: str = ""
    route: str = ""
    base: str = ""
    claim: str | None = None
    summary: str = ""
    at: str = ""
    merged: bool = False
    item_sha256: str = ""
    prompt_sha256: str = ""
    gates: tuple[GateResult, ...] = ()
    guard: tuple[Mapping, ...] = ()
    artifacts: tuple[Mapping, ...] = ()
    usage: Mapping = field(default_factory=dict)
    first_divergence: str | None = None
    next_actions: tuple[str, ...] = ()
    extra: Mapping = field(default_factory=dict)

    @property
    def path(self) -> PurePosixPath:
        return FOLDER / self.run[:4] / f"{self.run}-{self.item}-{self.attempt}.json"

    def text(self) -> str:
        """The file's content, at most 16 KiB: long lists are cut and say so."""
        facts = {key: value for key, value in vars(self).items() if key != "extra" and value not in (None, "", ())}
        facts["gates"] = [result.as_dict() for result in self.gates]
        facts["guard"], facts["artifacts"] = list(self.guard), list(self.artifacts)
        body = {"schema": 1, **facts, **self.extra}
        for key, keep in (("guard", FINDING_CAP), ("artifacts", 60), ("guard", 5), ("artifacts", 10), ("gates", 10)):
            text = json.dumps(body, indent=1, ensure_ascii=False, default=list) + "\n"
            if len(text.encode("utf-8", "replace")) <= SIZE_CAP:
                return text
            cut = len(body[key]) - keep
            if cut > 0:
                body[key] = body[key][:keep]
                body[f"{key}_left_out"] = body.get(f"{key}_left_out", 0) + cut
        return json.dumps(body, indent=1, ensure_ascii=False, default=list) + "\n"


# The texts of each row that a page or a check of the evidence shows.
ROWS = {"guard": ("code", "path", "message", "remedy"), "artifacts": ("path", "kept")}


def from_text(text: str) -> Record:
    """A record; `ValueError` if the text is none."""
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()  # half a character could not be shown
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(data, dict) or data.pop("schema", None) != 1:
        raise ValueError("no attempt record of schema 1")
    known = {key: data.pop(key) for key in list(data) if key in Record.__dataclass_fields__}
    record = typed.build(Record, {**known, "extra": data})
    for name, keys in ROWS.items():
        for row in getattr(record, name):
            if not all(isinstance(row.get(key), str) for key in keys):
                raise ValueError(f"{name}: expected the texts {', '.join(keys)}, got {str(row)[:60]!r}")
    return record


def read_all(root: Path) -> tuple[list[Record], list[str]]:
    """Every committed record of a checkout, oldest first, and the files that are none."""
    records, broken = [], []
    for path in sorted((root / FOLDER).glob("[0-9]*/*.json")):
        try:
            records.append(from_text(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            broken.append(f"{path.relative_to(root)}: {error}")
    return records, broken


def last_gates(records: Iterable[Record], item: str) -> dict[str, GateResult]:
    """What each gate of an item showed when it was last measured."""
    return {result.gate: result for record in records if record.item == item for result in record.gates}
