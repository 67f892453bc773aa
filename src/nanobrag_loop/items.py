"""An item as it stood at the base commit: plain data for selection, prompts, agents and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class PastAttempt:
    number: int
    date: str
    result: str
    metrics: str = ""
    artifacts: str = ""
    observations: str = ""
    next_actions: str = ""

    @property
    def word(self) -> str:
        """The class of the result: success, partial, failed or diagnostic."""
        return self.result.split(" ", 1)[0].rstrip(".").lower()


@dataclass(frozen=True)
class FrozenItem:
    """One item of the ledger. sha256: of its lines, so a later change of the goal posts can be told."""

    id: str
    title: str
    priority: str
    status: str
    spec: str = ""
    owner: str = ""
    depends_on: tuple[str, ...] = ()
    plan: str = ""
    reproduction: Mapping[str, str] = field(default_factory=dict)
    first_divergence: str = ""
    attempts: tuple[PastAttempt, ...] = ()
    risks: str = ""
    exit_criteria: tuple[str, ...] = ()
    sha256: str = ""

    def as_dict(self) -> dict:
        return asdict(self)

    @property
    def next_attempt(self) -> int:
        return max((attempt.number for attempt in self.attempts), default=0) + 1
