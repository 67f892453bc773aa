"""Figures of a benchmark: ratios, targets, tables, and the files that keep them."""

from __future__ import annotations

import json
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nanobrag_torch.io.atomic import atomic_write

from .machine import describe, load_note

MISSING = "–"
MIB = 2**20
Row = dict[str, Any]


class Target(NamedTuple):
    """A figure and what it should be: `op` is ">=", "<=" or "=="."""

    name: str
    measured: float | None
    op: str
    wanted: float

    @property
    def met(self) -> bool | None:
        """None where nothing was measured."""
        if self.measured is None:
            return None
        return {">=": self.measured >= self.wanted, "<=": self.measured <= self.wanted,
                "==": self.measured == self.wanted}[self.op]


@dataclass
class Report:
    """Rows and summary of one benchmark on one machine; `views` are the columns of its tables, all by default."""

    name: str
    threads: int
    rows: list[Row] = field(default_factory=list)
    summary: Row = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    views: tuple[tuple[str, ...], ...] = ()
    machine: dict[str, object] = field(init=False)

    def __post_init__(self) -> None:
        self.machine = describe(self.threads)
        self.notes += load_note("at the start")

    def finish(self, reports: Path, json_file: str | None) -> None:
        """Print the tables and write `reports`/<UTC>-<name>/summary.json, summary.md and the further copy."""
        self.notes += load_note("at the end")
        text, figures = self.markdown(), json.dumps(self.figures(), indent=1, allow_nan=False).encode() + b"\n"
        print(text)
        folder = reports / f"{self.machine['utc']}-{self.name}"
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "summary.md", text.encode())
        atomic_write(folder / "summary.json", figures)
        if json_file is not None:
            atomic_write(json_file, figures)
        print(f"written to {folder}")

    def figures(self) -> Row:
        """Everything, as JSON holds it."""
        targets = [target._asdict() | {"met": target.met} for target in self.targets]
        return {"name": self.name, "command": _command(), "machine": self.machine, "notes": self.notes,
                "rows": self.rows, "summary": self.summary, "targets": targets}

    def markdown(self) -> str:
        """The same as tables."""
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        parts = [f"# {self.name}", f"`{shlex.join(_command())}`", machine, *(f"Note: {note}." for note in self.notes)]
        parts += [table([{name: row.get(name) for name in view} for row in self.rows])
                  for view in self.views or dict.fromkeys(tuple(row) for row in self.rows[:1])]
        parts.append(table([{"summary": name, "value": value} for name, value in self.summary.items()]))
        parts.append(table([
            {"target": target.name, "measured": target.measured, "wanted": f"{target.op} {target.wanted:g}",
             "met": {None: MISSING, True: "yes", False: "NO"}[target.met]} for target in self.targets]))
        return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Rows of equal names as a Markdown table; empty for none."""
    if not rows:
        return ""
    lines = [[str(name) for name in rows[0]], ["---"] * len(rows[0])]
    lines += [[_cell(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio(above: float | None, below: float | None) -> float | None:
    """A quotient; None where a figure is missing or the divisor is 0."""
    return None if above is None or not below else above / below


def median(values: Iterable[float | None]) -> float | None:
    """Median of the figures that are there; None for none."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def extreme(choose: Any, values: Iterable[float | None]) -> float | None:
    """`max` or `min` of the figures that are there; None for none."""
    return choose((value for value in values if value is not None), default=None)


def mebibytes(size: int | None) -> float | None:
    """Bytes in MiB."""
    return None if size is None else round(size / MIB, 1)


def _command() -> list[str]:
    """What was typed; the script by its name alone."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def _cell(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
