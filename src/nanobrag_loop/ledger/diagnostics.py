"""What lint says: its codes, a diagnostic, and the facts about the repository that some rules need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

RULES = {
    "E001": "conflict marker",
    "E002": "invalid UTF-8",
    "E101": "no final newline, or a carriage return",
    "W110": "trailing blanks",
    "E200": "line not in the grammar",
    "E201": "item id used twice",
    "E202": "field missing or empty",
    "E203": "field given twice",
    "W204": "order of fields",
    "E205": "unknown reproduction bullet",
    "E206": "priority",
    "E207": "status",
    "E208": "owner/date",
    "E209": "reproduction bullets incomplete",
    "W210": "command is neither one code span nor n/a",
    "W211": "command sets the environment but names no program",
    "E212": "attempt numbers not increasing",
    "W213": "attempt dates going back",
    "E214": "attempt detail given twice",
    "E215": "result word",
    "E216": "attempt details incomplete",
    "E217": "no exit criterion",
    "E218": "date impossible or in the future",
    "W219": "names a test or file that does not exist",
    "W220": "done item among the active ones",
    "E221": "open item among the completed ones",
    "E301": "index row given twice",
    "E302": "index row without an active item",
    "E303": "anchor of the index row",
    "E304": "priority of the index row",
    "E305": "status of the index row",
    "I306": "title of the index row",
    "E307": "active item without an index row",
    "W308": "index rows in another order than the items",
    "W401": "too many items in progress",
    "W402": "artifact missing",
    "W403": "stale item",
    "W404": "work in circles",
    "E405": "dependency unknown or circular",
    "W406": "depends on a blocked item",
    "E410": "ledger too large",
    "E420": "done without a passing gate for every criterion",
    "E421": "threshold differs from its gate",
    "W430": "claimed as met, but its gate is not green",
}


@dataclass(frozen=True, order=True)
class Diagnostic:
    """line: from 1."""

    line: int
    code: str
    message: str
    item: str = ""

    @property
    def severity(self) -> str:
        return self.code[0]

    def shown(self, path: str) -> str:
        about = f"{self.item}: " if self.item else ""
        return f"{path}:{self.line}: {self.code} {about}{self.message}"


@dataclass(frozen=True)
class GateFact:
    """A gate as lint needs it. state: when last measured, empty if never; op: how a metric is compared."""

    criterion: int | None
    threshold: tuple[float, ...] = ()
    state: str = ""
    op: str = ""


@dataclass(frozen=True)
class Context:
    """The world around the ledger. read: content of a tracked file; folders count as existing; manifest: paths that a
    record accounts for; gates: by item; history: what each recorded attempt of an item measured, oldest first."""

    today: date = field(default_factory=lambda: datetime.now(UTC).date())
    wip_limit: int = 3
    stale_days: int = 14
    stuck_attempts: int = 3
    exists: Callable[[str], bool] | None = None
    read: Callable[[str], str | None] | None = None
    manifest: frozenset[str] = frozenset()
    gates: Mapping[str, Sequence[GateFact]] | None = None
    history: Mapping[str, Sequence[object]] = field(default_factory=dict)


Found = Iterator[Diagnostic]
