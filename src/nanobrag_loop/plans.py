"""Plans of items, `plans/active/*/plan.md`: phases with task tables, read, checked and marked.

A task's state is `[ ]` to do, `[P]` partly done, `[X]` done. `[x]` and `[D]` are read as done, with a hint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nanobrag_loop.errors import LedgerError
from nanobrag_loop.ledger.cst import MARKER, bare, split_lines
from nanobrag_loop.ledger.diagnostics import Diagnostic

TODO, PARTIAL, DONE = "[ ]", "[P]", "[X]"
STATES = (TODO, PARTIAL, DONE)
READ_AS = {"[x]": DONE, "[D]": DONE}
WORDS = {"todo": TODO, "partial": PARTIAL, "done": DONE}
HEAD = ["ID", "Task Description", "State", "How/Why & Guidance"]
PHASE = re.compile(r"### (Phase (\S+?):? (?:—|-|–) .+|Phase \S+)$")
SETTING = re.compile(r"(Goal|Prereqs|Prerqs|Exit Criteria):(?: (.*))?$")
EVIDENCE = re.compile(r"evidence: \S")

RULES = {
    "E001": "conflict marker",
    "E501": "unknown state of a task",
    "E502": "task id used twice",
    "E503": "no task table",
    "E504": "row with too few cells",
    "W505": "state in another spelling",
    "W506": "phase without goal, exit criteria or tasks",
    "W507": "Prereqs misspelt",
    "W508": "done task without evidence",
}


@dataclass(frozen=True)
class Task:
    """A row. state: one of `STATES`, or as written if it is none; written: as written; line: from 1."""

    id: str
    text: str
    state: str
    guidance: str
    phase: str
    line: int
    written: str


@dataclass(frozen=True)
class Phase:
    name: str
    line: int
    settings: tuple[str, ...]


def cells(line: str) -> list[str] | None:
    """The four cells of a row, None if it has fewer. Only the first three bars count, so the last may hold some."""
    body = bare(line)
    if not body.startswith("|"):
        return None
    parts = [part.strip() for part in body[1:].removesuffix("|").split("|", 3)]
    return parts if len(parts) == 4 else None


def tasks(text: str) -> list[Task]:
    """Every task, in order. A table begins with the head row `| ID | Task Description | State | … |`."""
    found, phase, inside = [], "", False
    for number, line in enumerate(split_lines(text), 1):
        heading = PHASE.match(bare(line))
        if heading:
            phase = heading[1]
        row = cells(line)
        if row is None:
            inside = inside and line.startswith("|")
        elif row[:3] == HEAD[:3]:
            inside = True
        elif inside and not re.fullmatch(r":?-+:?", row[0]):
            found.append(Task(row[0], row[1], READ_AS.get(row[2], row[2]), row[3], phase, number, row[2]))
    return found


def phases(text: str) -> list[Phase]:
    found: list[Phase] = []
    for number, line in enumerate(split_lines(text), 1):
        heading, setting = PHASE.match(bare(line)), SETTING.match(bare(line).lstrip("-* "))
        if heading:
            found.append(Phase(heading[1], number, ()))
        elif setting and found:
            last = found[-1]
            found[-1] = Phase(last.name, last.line, (*last.settings, setting[1]))
    return found


def lint(text: str) -> list[Diagnostic]:
    return sorted([*_text(text), *_tasks(text), *_phases(text)])


def _text(text: str) -> Iterator[Diagnostic]:
    inside = False
    for number, line in enumerate(split_lines(text), 1):
        if MARKER.match(bare(line)):
            yield Diagnostic(number, "E001", "conflict marker")
        row = cells(line)
        inside = line.startswith("|") and (inside or (row is not None and row[:3] == HEAD[:3]))
        if inside and row is None:
            yield Diagnostic(number, "E504", f"expected the cells {', '.join(HEAD)}")
        if re.match(r"[-* ]*Prerqs:", line):
            yield Diagnostic(number, "W507", "Prerqs: write Prereqs")


def _tasks(text: str) -> Iterator[Diagnostic]:
    found = tasks(text)
    if not found:
        yield Diagnostic(1, "E503", f"no table with the head {' | '.join(HEAD)} and tasks")
    seen: set[str] = set()
    for task in found:
        if task.id in seen:
            yield Diagnostic(task.line, "E502", "another task has this id", task.id)
        seen.add(task.id)
        if task.state not in STATES:
            yield Diagnostic(task.line, "E501", f"state: expected {', '.join(STATES)}, got {task.written}", task.id)
        elif task.state != task.written:
            yield Diagnostic(task.line, "W505", f"{task.written} is read as {task.state}", task.id)
        if task.state == DONE and not EVIDENCE.search(task.guidance):
            yield Diagnostic(task.line, "W508", "done without `evidence: RUN`", task.id)


def _phases(text: str) -> Iterator[Diagnostic]:
    named = {task.phase for task in tasks(text)}
    for phase in phases(text):
        missing = [name for name in ("Goal", "Exit Criteria") if name not in phase.settings]
        if phase.name not in named:
            missing.append("tasks")
        if missing:
            yield Diagnostic(phase.line, "W506", f"{phase.name}: no {', no '.join(missing)}")


def mark(text: str, task_id: str, state: str, evidence: str = "") -> str:
    """The plan with one task's state set; evidence, a run or a path, is noted at the end of the row.

    `LedgerError` for an unknown task or state, and for a task said to be done without evidence.
    """
    state = WORDS.get(state.lower(), state)
    if state not in STATES:
        raise LedgerError(f"state: expected {', '.join(WORDS)} or {', '.join(STATES)}, got {state!r}")
    found = [task for task in tasks(text) if task.id == task_id]
    if len(found) != 1:
        known = ", ".join(task.id for task in tasks(text))
        raise LedgerError(f"{task_id}: the plan has {len(found)} tasks of this id (tasks: {known})")
    if state == DONE and not evidence and not EVIDENCE.search(found[0].guidance):
        raise LedgerError(f"{task_id}: a task is done only with evidence", remedy="--evidence RUN")
    lines = list(split_lines(text))
    at = found[0].line - 1
    ending = lines[at][len(bare(lines[at])) :]
    _, number, words, _, rest = bare(lines[at]).split("|", 4)
    note = f" (evidence: {' '.join(evidence.split())})" if evidence else ""
    lines[at] = f"|{number}|{words}| {state} |{rest.removesuffix('|').rstrip()}{note} |{ending}"
    return "".join(lines)
