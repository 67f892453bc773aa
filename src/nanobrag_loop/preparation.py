"""What a cycle will do, decided before anything is changed: parity, route, item, gates, agent, prompt.

Everything is read from the base commit, so an attempt cannot move its own goal posts and a dry run tells the truth.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nanobrag_loop import book, gates, gitio, guarding, plans, prompts, records, routing, select, steering
from nanobrag_loop.agents.adapters import ADAPTERS
from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError, RefusedError
from nanobrag_loop.items import FrozenItem

BUILTIN = ("noop", "replay", "reproduce")
REPEATABLE = ("noop", "reproduce")


class NothingToDo(Exception):
    """Every item is done, blocked, parked or waiting; a run then ends well."""


@dataclass(frozen=True)
class Agent:
    """A command line. events: the form of its output, a key of ADAPTERS."""

    name: str
    argv: tuple[str, ...]
    events: str = "plain"


@dataclass(frozen=True)
class Wish:
    """What the caller asks for. skip: items not to be taken again in this session, with the reason."""

    item: str | None = None
    agent: str | None = None
    route: str | None = None
    override: str = ""
    skip: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Base:
    """The tracked files at a commit, read through git, never from the checkout."""

    root: Path
    commit: str

    def text(self, path: str) -> str | None:
        data = gitio.read_blob(self.root, self.commit, path)
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def names(self, folder: str) -> list[str]:
        return [name for name in (line.partition("\t")[2] for line in self.listing()) if name.startswith(f"{folder}/")]

    def listing(self, tree: str | None = None) -> list[str]:
        """Lines of `git ls-tree -r`: mode, type, object, tab, path."""
        return [line for line in gitio.git(self.root, "ls-tree", "-r", "-z", tree or self.commit).split("\0") if line]

    def records(self, limit: int = 200) -> list[records.Record]:
        """The newest committed attempt records, oldest first."""
        found = []
        for name in sorted(self.names(str(records.FOLDER)))[-limit:]:
            try:
                found.append(records.from_text(self.text(name) or ""))
            except ValueError:
                continue
        return found


@dataclass(frozen=True)
class Preparation:
    base: Base
    item: FrozenItem
    attempt: int
    parity: routing.Parity
    route: routing.Route
    verdicts: Sequence[select.Verdict]
    book: gates.GateBook
    gates: Sequence[gates.Gate]
    agent: Agent
    prompt: str
    template: str


def gate_book(base: Base) -> gates.GateBook:
    return gates.load(base.text(gates.GATES_FILE) or "")


def parity_key(base: Base, gate: gates.Gate | None, tree: str | None = None) -> str:
    return routing.tree_key(base.listing(tree), gate.options if gate else None)


def parity_of(base: Base, config: Config, gate_file: gates.GateBook) -> routing.Parity:
    gate = gate_file.shared.get(config.parity.gate)
    return routing.read_parity(base.root, parity_key(base, gate), gate)


def find_agent(config: Config, name: str) -> Agent:
    """The agent called `name`: one of plans/loop.yaml, or a built-in one."""
    if name in config.agents:
        entry = config.agents[name]
        if entry.events not in ADAPTERS:
            raise ConfigError(f"agents.{name}.events: expected one of {', '.join(ADAPTERS)}, got {entry.events!r}")
        return Agent(name, tuple(entry.argv), entry.events)
    if name in BUILTIN:
        return Agent(name, (sys.executable, "-m", "nanobrag_loop.agents.builtin", name))
    known = ", ".join(sorted({*BUILTIN, *config.agents}))
    raise ConfigError(f"agent {name!r} is not known (known: {known})")


def ledger_items(base: Base, config: Config) -> list[FrozenItem]:
    text = base.text(config.ledger)
    if text is None:
        raise RefusedError(f"{config.ledger}: not in commit {base.commit[:12]}")
    return book.read(text, config.ledger)


def prepare(base: Base, config: Config, wish: Wish) -> Preparation:
    """Choose and render; changes nothing. `NothingToDo` if no item may be worked on."""
    items = ledger_items(base, config)
    gate_file = gate_book(base)
    parity = parity_of(base, config, gate_file)
    route = routing.route(config.routes, parity, wish.route, wish.override)
    advice = steering.read(base.text(steering.FILE))
    advice = replace(advice, parked={**advice.parked, **wish.skip})
    item, verdicts = select.choose(items, advice, route.name, wish.item)
    if item is None:
        reasons = "; ".join(f"{verdict.item}: {verdict.reason}" for verdict in verdicts) or "the ledger has no items"
        raise NothingToDo(f"no item can be worked on ({reasons})")
    role = config.roles["engineer"]
    agent = find_agent(config, wish.agent or role.agent)
    own = gate_file.of(item.id)
    template = Path(role.prompts[route.name]).name
    values = prompt_values(base, config, item, own, route, parity, advice)
    prompt = prompts.render(template, prompt_sources(base), values)
    return Preparation(base, item, item.next_attempt, parity, route, verdicts, gate_file, own, agent, prompt, template)


def prompt_sources(base: Base) -> dict[str, str]:
    names = [name for name in base.names(prompts.FOLDER) if name.endswith((".md", ".j2"))]
    return {Path(name).name: base.text(name) or "" for name in names}


def prompt_values(
    base: Base,
    config: Config,
    item: FrozenItem,
    own: Sequence[gates.Gate],
    route: routing.Route,
    parity: routing.Parity,
    advice: select.Steering,
) -> dict[str, object]:
    """The value of every documented variable of an engineer's prompt."""
    last = records.last_gates(base.records(), item.id)
    policy = config.policy["engineer"]
    return {
        "attempt": item.next_attempt,
        "base": base.commit,
        "denied": list(policy.deny),
        "gates": [gate_row(gate, last.get(gate.id)) for gate in own],
        "history": prompts.HISTORY,
        "item": {**vars(item), "attempts": [vars(past) for past in item.attempts]},
        "items": [],
        "ledger_path": config.ledger,
        "limits": {"wall_s": config.limits.run.wall_s, "idle_s": config.limits.run.idle_s},
        "parity": {"state": parity.state, "reason": parity.reason},
        "plan": plan_tasks(base, item),
        "protected_count": guarding.protected_count(base.root, base.commit, config),
        "records": [],
        "route": {"name": route.name, "reason": route.reason},
        "steering": list(advice.directives) if advice.next_item in (None, item.id) else [],
        "tests_frozen": route.name in config.tests.frozen_in,
        "writable": list(policy.write),
    }


def gate_row(gate: gates.Gate, last: gates.GateResult | None) -> dict[str, object]:
    text = gate.title
    return {"criterion": gate.criterion, "kind": gate.kind, "text": text, "last": last.line() if last else ""}


def plan_tasks(base: Base, item: FrozenItem) -> dict | None:
    """The open tasks of the item's plan; nothing without a plan."""
    path = item.plan.strip("`. ")
    text = base.text(path) if path else None
    if text is None:
        return None
    rows = [{"id": task.id, "text": task.text, "state": task.state} for task in plans.tasks(text)]
    return {"path": path, "open": [row for row in rows if row["state"] != "[X]"][:20]}
