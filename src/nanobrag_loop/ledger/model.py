"""A typed, read-only view of a ledger: items, attempts, criteria, index rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from nanobrag_loop.ledger.cst import (
    BULLET_LINE,
    CONT_LINE,
    DETAILS,
    FIELD_LINE,
    ID,
    LABELLED,
    AttemptNode,
    Document,
    ItemNode,
    bare,
)

PRIORITIES = ("Critical", "High", "Medium", "Low")
STATUSES = ("pending", "in_progress", "blocked", "done")
RESULTS = ("success", "partial", "failed", "diagnostic")
CLAIM_MARK = "✅"
OWNER = re.compile(r"([^/\s]+)/(\d{4}-\d\d-\d\d)")


@dataclass(frozen=True)
class Attempt:
    """word: the class of the result; result: its whole text. line: where it begins, from 1."""

    number: int
    date: str
    result: str
    metrics: str
    artifacts: str
    observations: str
    next_actions: str
    line: int

    @property
    def word(self) -> str:
        return re.split(r"[\s.(]", self.result, maxsplit=1)[0]


@dataclass(frozen=True)
class Criterion:
    """One exit criterion. claimed: it carries the mark of being met, which is a claim and no measurement."""

    number: int
    text: str
    line: int

    @property
    def claimed(self) -> bool:
        return CLAIM_MARK in self.text


@dataclass(frozen=True)
class Item:
    """start, stop: its lines, from 1, stop included. text: those lines."""

    id: str
    title: str
    completed: bool
    start: int
    stop: int
    text: str
    values: dict[str, str] = field(default_factory=dict)
    reproduction: dict[str, str] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    criteria: tuple[Criterion, ...] = ()

    @property
    def spec(self) -> str:
        return self.values.get("Spec/AT", "")

    @property
    def priority(self) -> str:
        return self.values.get("Priority", "")

    @property
    def status(self) -> str:
        return self.values.get("Status", "")

    @property
    def owner(self) -> tuple[str, str]:
        """Name and date; empty if the field is not of that form."""
        found = OWNER.fullmatch(self.values.get("Owner/Date", ""))
        return (found[1], found[2]) if found else ("", "")

    @property
    def depends_on(self) -> tuple[str, ...]:
        return tuple(re.findall(rf"(?<![A-Z0-9-]){ID}(?![A-Z0-9-])", self.values.get("Depends On", "")))

    @property
    def plan(self) -> str:
        return self.values.get("Plan", "").strip("`. ")

    @property
    def first_divergence(self) -> str:
        return self.values.get("First Divergence", "")

    @property
    def risks(self) -> str:
        return self.values.get("Risks/Assumptions", "")


def slug(heading: str) -> str:
    """The anchor of a heading: lower-case, letters, digits, underscores, hyphens, and hyphens for spaces."""
    kept = "".join(char for char in heading.lower() if char.isalnum() or char in "_- ")
    return kept.replace(" ", "-")


def anchor(item_id: str, title: str) -> str:
    return slug(f"[{item_id}] {title}")


@lru_cache(maxsize=8)
def items(document: Document) -> tuple[Item, ...]:
    """Every item, active and completed, in the order of the document."""
    return tuple(read_item(document, node) for node in document.items)


def read_item(document: Document, node: ItemNode) -> Item:
    values: dict[str, str] = {}
    for part in node.fields:
        values.setdefault(part.name, part.value or "")
    return Item(
        node.id,
        node.title,
        node.completed,
        node.start + 1,
        node.stop,
        "".join(document.lines[node.start : node.stop]),
        values,
        _reproduction(document, node),
        _attempts(document, node),
        _criteria(document, node),
    )


def _reproduction(document: Document, node: ItemNode) -> dict[str, str]:
    part = node.field("Reproduction")
    found: dict[str, str] = {}
    for line in part.bullets if part else []:
        label, value = split_label(bullet_text(document, line))
        found.setdefault(label, value)
    return found


def bullet_text(document: Document, line: int) -> str:
    found = BULLET_LINE.fullmatch(bare(document.lines[line]))
    return found[1] if found else ""


def split_label(text: str) -> tuple[str, str]:
    """`C: command` as its label and the rest; an empty label if there is none."""
    found = LABELLED.fullmatch(text)
    return (found[1], found[2]) if found else ("", text)


def _attempts(document: Document, node: ItemNode) -> tuple[Attempt, ...]:
    part = node.field("Attempts History")
    return tuple(_attempt(document, entry) for entry in (part.attempts if part else []))


def _attempt(document: Document, node: AttemptNode) -> Attempt:
    details: dict[str, str] = {}
    for key, line in node.details:
        found = CONT_LINE.fullmatch(bare(document.lines[line]))
        details.setdefault(key, found[2] if found else "")
    metrics, artifacts, observations, following = (details.get(key, "") for key in DETAILS)
    return Attempt(node.number, node.date, node.result, metrics, artifacts, observations, following, node.line + 1)


def _criteria(document: Document, node: ItemNode) -> tuple[Criterion, ...]:
    part = node.field("Exit Criteria")
    if part is None:
        return ()
    if part.bullets:
        return tuple(Criterion(n, bullet_text(document, line), line + 1) for n, line in enumerate(part.bullets, 1))
    found = FIELD_LINE.fullmatch(bare(document.lines[part.line]))
    return (Criterion(1, found[3], part.line + 1),) if found and found[3] else ()
