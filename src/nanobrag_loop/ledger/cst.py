"""The ledger as text without loss: lines, their kinds, and nodes that are ranges of lines.

Any text can be parsed; what fits nowhere stays as an opaque line. The document's text is always the concatenation of
its lines, so writing what was read gives the same bytes. Line numbers count from 0 here and from 1 in diagnostics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property


class Kind(StrEnum):
    TITLE = "title"
    META = "metadata line"
    INDEX = "index heading"
    THEAD = "table head"
    TSEP = "table rule"
    ROW = "index row"
    RULE = "rule ---"
    ITEM = "item heading"
    FIELD = "field"
    BULLET = "bullet"
    ATTEMPT = "attempt"
    CONT = "attempt detail"
    COMPLETED = "completed heading"
    NOTE = "note"
    ARCHIVE = "archive heading"
    TEXT = "archive text"
    BLANK = "blank line"
    CONFLICT = "conflict marker"
    OPAQUE = "unknown line"


ID = r"[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)+"
DATE = r"\d{4}-\d\d-\d\d"
FIELDS = (
    "Spec/AT", "Priority", "Status", "Owner/Date", "Depends On", "Plan", "Reproduction", "First Divergence",
    "Attempts History", "Risks/Assumptions", "Exit Criteria",
)  # fmt: skip
OPTIONAL_FIELDS = ("Depends On", "Plan")
DETAILS = ("Metrics", "Artifacts", "Observations/Hypotheses", "Next Actions")
REPRODUCTION = ("C", "PyTorch", "Shapes/ROI")
META_KEYS = ("Last Updated", "Active Focus")
HEAD = "| ID | Title | Priority | Status |"

ITEM_LINE = re.compile(rf"## \[({ID})\] (.+)")
META_LINE = re.compile(r"\*\*([^*:]+):\*\* (.+)")
ROW_LINE = re.compile(rf"\| \[({ID})\]\(#([^)]*)\) \| (.*?) \| ([^|]*?) \| ([^|]*?) \|")
FIELD_LINE = re.compile(r"- ([A-Z][A-Za-z/ ]*?)(?: \(([^)]*)\))?:(?: (.*))?")
BULLET_LINE = re.compile(r"  \* (.+)")
ATTEMPT_LINE = re.compile(rf"  \* \[({DATE})\] Attempt #([1-9]\d*) — Result: (.+)")
CONT_LINE = re.compile(r"    ([A-Z][A-Za-z/ ]*): (.+)")
LABELLED = re.compile(r"([A-Za-z/]+): (.*)")
MARKER = re.compile(r"(?:<{7}|>{7}|\|{7})(?: |$)|={7}$")

SHAPES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.CONFLICT, MARKER),
    (Kind.RULE, re.compile(r"---$")),
    (Kind.ITEM, re.compile(ITEM_LINE.pattern + "$")),
    (Kind.INDEX, re.compile(r"## Index$")),
    (Kind.COMPLETED, re.compile(r"### Completed Items(?: — .+)?$")),
    (Kind.ARCHIVE, re.compile(r"### Archive$")),
    (Kind.TITLE, re.compile(r"# \S.*$")),
    (Kind.META, re.compile(META_LINE.pattern + "$")),
    (Kind.THEAD, re.compile(re.escape(HEAD) + "$")),
    (Kind.TSEP, re.compile(r"\| --- \| --- \| --- \| --- \|$")),
    (Kind.ROW, re.compile(ROW_LINE.pattern + "$")),
    (Kind.FIELD, re.compile(FIELD_LINE.pattern + "$")),
    (Kind.ATTEMPT, re.compile(ATTEMPT_LINE.pattern + "$")),
    (Kind.BULLET, re.compile(BULLET_LINE.pattern + "$")),
    (Kind.CONT, re.compile(CONT_LINE.pattern + "$")),
)


def bare(line: str) -> str:
    """A line without its end and without trailing blanks, as the grammar sees it."""
    return line.rstrip("\r\n").rstrip(" \t")


def split_lines(text: str) -> tuple[str, ...]:
    """The lines of a text with their ends; only LF ends a line, whatever else Unicode calls a line break."""
    parts = text.split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return tuple([*lines, parts[-1]] if parts[-1] else lines)


def classify(lines: Sequence[str]) -> tuple[Kind, ...]:
    """The kind of every line; two kinds depend on what stands above: the note and the archive's text."""
    kinds: list[Kind] = []
    archive = False
    for line in lines:
        kind = _kind(bare(line))
        if kind is Kind.OPAQUE:
            if kinds and kinds[-1] is Kind.COMPLETED and re.fullmatch(r"\(.*\)", bare(line)):
                kind = Kind.NOTE
            elif archive and bare(line)[:1].strip():
                kind = Kind.TEXT
        archive = archive or kind is Kind.ARCHIVE
        kinds.append(kind)
    return tuple(kinds)


def _kind(text: str) -> Kind:
    if not text:
        return Kind.BLANK
    return next((kind for kind, shape in SHAPES if shape.match(text)), Kind.OPAQUE)


@dataclass
class AttemptNode:
    """line: of the attempt; details: (key, line) of what follows it."""

    line: int
    date: str
    number: int
    result: str
    details: list[tuple[str, int]] = field(default_factory=list)

    @property
    def stop(self) -> int:
        return max([self.line, *(line for _, line in self.details)]) + 1


@dataclass
class FieldNode:
    """One field of an item, with the lines that belong to it. value: None if the field opens a block."""

    line: int
    name: str
    hint: str | None
    value: str | None
    stop: int
    bullets: list[int] = field(default_factory=list)
    attempts: list[AttemptNode] = field(default_factory=list)


@dataclass
class ItemNode:
    """Lines from `start` (the heading) to before `stop`. opaque: lines inside that belong to no field."""

    start: int
    stop: int
    id: str
    title: str
    completed: bool
    fields: list[FieldNode] = field(default_factory=list)
    stray: list[int] = field(default_factory=list)

    def field(self, name: str) -> FieldNode | None:
        return next((node for node in self.fields if node.name == name), None)


@dataclass
class RowNode:
    line: int
    id: str
    anchor: str
    title: str
    priority: str
    status: str


@dataclass(frozen=True)
class Document:
    """A ledger as its lines. Two documents are equal if their texts are."""

    lines: tuple[str, ...]

    @staticmethod
    def of(text: str) -> Document:
        return Document(split_lines(text))

    @property
    def text(self) -> str:
        return "".join(self.lines)

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        return classify(self.lines)

    @cached_property
    def rows(self) -> list[RowNode]:
        return [RowNode(n, *_match(ROW_LINE, self.lines[n])) for n in self.lines_of(Kind.ROW)]

    @cached_property
    def metas(self) -> list[tuple[str, str, int]]:
        """Key, value and line of every metadata line."""
        return [(*_match(META_LINE, self.lines[n]), n) for n in self.lines_of(Kind.META)]

    @cached_property
    def items(self) -> list[ItemNode]:
        return _items(self)

    @cached_property
    def completed_line(self) -> int | None:
        return next(iter(self.lines_of(Kind.COMPLETED)), None)

    @cached_property
    def archive_line(self) -> int | None:
        return next(iter(self.lines_of(Kind.ARCHIVE)), None)

    def lines_of(self, kind: Kind) -> list[int]:
        return [n for n, other in enumerate(self.kinds) if other is kind]

    def item(self, item_id: str) -> ItemNode | None:
        """The first item of that id, whole ids only."""
        return next((item for item in self.items if item.id == item_id), None)

    def replaced(self, start: int, stop: int, lines: Sequence[str]) -> Document:
        """The document with whole lines put in place of those from `start` to before `stop`."""
        return Document((*self.lines[:start], *lines, *self.lines[stop:]))


def _match(pattern: re.Pattern[str], line: str) -> tuple:
    found = pattern.fullmatch(bare(line))
    assert found, line
    return found.groups()


ENDS_ITEM = {Kind.ITEM, Kind.RULE, Kind.COMPLETED, Kind.ARCHIVE, Kind.INDEX, Kind.TITLE}


def _items(document: Document) -> list[ItemNode]:
    found: list[ItemNode] = []
    kinds = document.kinds
    completed = document.completed_line
    for start in document.lines_of(Kind.ITEM):
        stop = next((n for n in range(start + 1, len(kinds)) if kinds[n] in ENDS_ITEM), len(kinds))
        while stop > start + 1 and kinds[stop - 1] is Kind.BLANK:
            stop -= 1
        item_id, title = _match(ITEM_LINE, document.lines[start])
        item = ItemNode(start, stop, item_id, title, completed is not None and start > completed)
        _fill(document, item)
        found.append(item)
    return found


def _fill(document: Document, item: ItemNode) -> None:
    """Hang the lines of an item below its fields; what belongs nowhere is stray."""
    current: FieldNode | None = None
    for n in range(item.start + 1, item.stop):
        kind, line = document.kinds[n], document.lines[n]
        if kind is Kind.FIELD:
            name, hint, value = _match(FIELD_LINE, line)
            current = FieldNode(n, name, hint, value or None, n + 1)
            item.fields.append(current)
            continue
        attempts = current.attempts if current else []
        if current and kind is Kind.ATTEMPT and current.name == "Attempts History":
            date, number, result = _match(ATTEMPT_LINE, line)
            attempts.append(AttemptNode(n, date, int(number), result))
        elif current and kind is Kind.CONT and attempts and attempts[-1].stop == n:
            attempts[-1].details.append((_match(CONT_LINE, line)[0], n))
        elif current and kind is Kind.BULLET and current.name in ("Reproduction", "Exit Criteria"):
            current.bullets.append(n)
        else:
            item.stray.append(n)
            continue
        current.stop = n + 1
