"""What a supervisor looks for: work in circles, stale items, claims that the measurements do not bear out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from nanobrag_loop import gates, select
from nanobrag_loop.items import FrozenItem
from nanobrag_loop.records import Record

STALE_DAYS = 14
CIRCLE = 3


@dataclass(frozen=True)
class Opinion:
    """The planner's proposals. parked: items to leave alone, with the reason; notes: what a person should read."""

    next_item: str | None
    directives: tuple[str, ...]
    parked: dict[str, str]
    notes: tuple[str, ...]


def circling(item: FrozenItem, records: Sequence[Record]) -> str:
    """Why more of the same will not help: the last attempts changed no gate, or kept promising the same."""
    own = [record for record in records if record.item == item.id and record.result != "diagnostic"][-CIRCLE:]
    if len(own) == CIRCLE:
        shown = [[(result.gate, result.state, result.value) for result in record.gates] for record in own]
        if all(entry == shown[0] for entry in shown):
            return f"the last {CIRCLE} attempts changed no gate and no metric"
    promised = [attempt.next_actions for attempt in item.attempts if attempt.word != "diagnostic"][-CIRCLE:]
    if len(promised) == CIRCLE and len(set(promised)) == 1 and promised[0] not in ("", "none"):
        return f"the last {CIRCLE} attempts all ended with the same next actions"
    return ""


def stale(item: FrozenItem, today: date) -> str:
    """Why an item in progress is not in progress."""
    if item.status != "in_progress":
        return ""
    if not item.attempts:
        return "in progress without any attempt"
    try:
        age = (today - date.fromisoformat(item.attempts[-1].date)).days
    except ValueError:
        return ""
    return f"no attempt for {age} days" if age > STALE_DAYS else ""


def disagreements(records: Sequence[Record]) -> list[str]:
    """Claims of success that were recorded as something else."""
    return [
        f"{record.item} attempt {record.attempt} claimed success and was recorded as {record.result}: {record.reason}"
        for record in records
        if record.claim == "success" and record.result != "success"
    ]


def plan(items: Sequence[FrozenItem], records: Sequence[Record], prompt: str, today: date) -> Opinion:
    """The built-in planner: the rule of selection, with circling items parked."""
    parked = {item.id: reason for item in items if item.status != "done" and (reason := circling(item, records))}
    chosen, _ = select.choose(items, select.Steering(parked=parked), prompt)
    directives = []
    if chosen is not None:
        last = [record for record in records if record.item == chosen.id]
        open_gates = [result for result in last[-1].gates if result.state != gates.PASS] if last else []
        directives = [f"{chosen.id}: not yet passing: {result.line()}" for result in open_gates][:6]
    notes = [f"{item.id}: {reason}" for item in items if (reason := stale(item, today))]
    notes += [f"{name} parked: {reason}" for name, reason in parked.items()]
    return Opinion(chosen.id if chosen else None, tuple(directives), parked, (*notes, *disagreements(records[-20:])))
