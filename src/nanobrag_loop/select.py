"""Which item is next, with the reason why each other item is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nanobrag_loop.agents.shellwords import Unrunnable, parse
from nanobrag_loop.errors import ConfigError
from nanobrag_loop.items import FrozenItem

PRIORITIES = ("Critical", "High", "Medium", "Low")


@dataclass(frozen=True)
class Steering:
    """What the supervisor last decided: the next item, advice by item, items parked with the reason."""

    next_item: str | None = None
    directives: tuple[str, ...] = ()
    parked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """One item in the selection. eligible: it may be worked on; reason: why it is or is not the one."""

    item: str
    eligible: bool
    reason: str


def choose(
    items: Sequence[FrozenItem],
    steering: Steering,
    prompt: str,
    wanted: str | None = None,
) -> tuple[FrozenItem | None, list[Verdict]]:
    """The item to work on (None if there is none) and one verdict for every item, the chosen one first."""
    by_id = {item.id: item for item in items}
    if wanted is not None:
        if wanted not in by_id:
            raise ConfigError(f"--item: no item {wanted!r} in the ledger (items: {', '.join(by_id)})")
        return by_id[wanted], [Verdict(wanted, True, "asked for by name")]
    hurdles = {item.id: hurdle(item, by_id, steering, prompt) for item in items}
    candidates = [item for item in items if not hurdles[item.id]]
    ranked = sorted(candidates, key=lambda item: rank(item, items, steering))
    verdicts = [Verdict(item.id, True, standing(item, ranked[0], steering)) for item in ranked]
    verdicts += [Verdict(item.id, False, hurdles[item.id]) for item in items if hurdles[item.id]]
    return (ranked[0] if ranked else None), verdicts


def hurdle(item: FrozenItem, by_id: Mapping[str, FrozenItem], steering: Steering, prompt: str) -> str:
    """Why an item cannot be worked on now; empty if it can."""
    if item.status == "done":
        return "done"
    if item.status == "blocked":
        return "blocked"
    if item.id in steering.parked:
        return f"parked: {steering.parked[item.id]}"
    waiting = [name for name in item.depends_on if name not in by_id or by_id[name].status != "done"]
    if waiting:
        return f"waits for {', '.join(waiting)}"
    if prompt == "debug" and not runnable(item):
        return "no reproduction command can be run, and only debugging is allowed"
    return ""


def runnable(item: FrozenItem) -> bool:
    for label in ("PyTorch", "C"):
        try:
            parse(item.reproduction.get(label, "n/a"))
        except Unrunnable:
            continue
        return True
    return False


def rank(item: FrozenItem, items: Sequence[FrozenItem], steering: Steering) -> tuple:
    priority = PRIORITIES.index(item.priority) if item.priority in PRIORITIES else len(PRIORITIES)
    return (item.id != steering.next_item, item.status != "in_progress", priority, items.index(item))


def standing(item: FrozenItem, first: FrozenItem, steering: Steering) -> str:
    if item is first:
        by = "the supervisor's choice, " if item.id == steering.next_item else ""
        return f"chosen: {by}{item.status}, priority {item.priority}"
    if first.id == steering.next_item:
        return f"the supervisor chose {first.id}"
    if item.status != first.status:
        return f"{item.status}; {first.id} is in progress"
    if item.priority != first.priority:
        return f"priority {item.priority}; {first.id} has {first.priority}"
    return f"below {first.id} in the ledger"
