"""One supervisor turn: review attempts against their evidence, re-verify done items, steer the next cycles.

The supervisor writes plans and the steering memo; what it proposes for the ledger is checked and applied here, and
no status becomes "done" through it. Without a model the built-in planner takes the turn.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nanobrag_loop import (
    book,
    gates,
    gitio,
    landing,
    measure,
    plans,
    preparation,
    prompts,
    review,
    select,
    steering,
    worktrees,
)
from nanobrag_loop.agents.result import clean
from nanobrag_loop.config import Config
from nanobrag_loop.cycle import Cycle
from nanobrag_loop.errors import LedgerError, LoopError
from nanobrag_loop.items import FrozenItem
from nanobrag_loop.preparation import Base
from nanobrag_loop.runs import Clock, Run, open_run, stamp, utc_now

PLANNER = "planner"
STATUSES = ("pending", "in_progress", "blocked")
FALLEN = (gates.FAIL, gates.ERROR)
DIRECTIVE_CAP = 12
ITEM_FIELDS = ("spec", "priority", "depends_on", "plan", "c", "pytorch", "roi", "divergence", "risks")


@dataclass
class Turn:
    """root: the main checkout; recheck: re-run the gates of done items; before: the memo at the base, read before a
    run is opened, as everything is that a person may have written wrongly."""

    root: Path
    common: Path
    config: Config
    agent: str
    recheck: bool = False
    say: Callable[[str], object] = print
    clock: Clock = utc_now
    observe: Callable[[Cycle], object] = lambda cycle: None
    refused: list[str] = field(default_factory=list)
    before: select.Steering = field(default_factory=select.Steering)

    def take(self) -> int:
        """Review, decide, write the memo; exit code 1 if a done item no longer passes or a proposal was refused."""
        commit = gitio.resolve(self.root, f"refs/heads/{self.config.branch}")
        base = Base(self.root, commit)
        items = preparation.ledger_items(base, self.config)
        self.before = steering.read(base.text(steering.FILE))
        broken = self.verify_done(base, items) if self.recheck else []
        for line in broken:
            self.say(f"recheck: {line}")
        if self.agent == PLANNER:
            self.plan(base, items, broken)
        else:
            self.ask_agent(base, items)
        for line in self.refused:
            self.say(f"refused: {line}")
        return 1 if broken or self.refused else 0

    # --- the built-in planner

    def plan(self, base: Base, items: Sequence[FrozenItem], broken: Sequence[str]) -> None:
        route = preparation.routing.route(
            self.config.routes, preparation.parity_of(base, self.config, preparation.gate_book(base))
        )
        opinion = review.plan(items, base.records(), route.name, self.clock().date())
        for note in opinion.notes:
            self.say(note)
        memo = select.Steering(opinion.next_item, (*broken, *opinion.directives)[:DIRECTIVE_CAP], opinion.parked)
        run = self.open(base, PLANNER)
        self.land(run, base, memo, {})
        self.say(f"next: {opinion.next_item or 'nothing can be worked on'}")

    # --- a configured agent

    def ask_agent(self, base: Base, items: Sequence[FrozenItem]) -> None:
        agent = preparation.find_agent(self.config, self.agent)
        preparation.gate_book(base)  # needed only once the run is open, and then a mistake in it would leave that open
        template = Path(self.config.roles["supervisor"].prompt).name
        prompt = prompts.render(template, preparation.prompt_sources(base), self.values(base, items))
        run = self.open(base, agent.name, {"name": agent.name, "argv": list(agent.argv), "events": agent.events})
        run.file("prompt.md").write_text(prompt, encoding="utf-8", errors="surrogateescape")
        context = {
            "schema": 1,
            "run": run.id,
            "item": {"id": "", "reproduction": {}},
            "attempt": 0,
            "route": "supervisor",
        }
        run.file("context.json").write_text(json.dumps(context), encoding="utf-8")
        cycle = Cycle(self.root, self.common, self.config, run, self.clock)
        self.observe(cycle)
        cycle.prepare()
        try:
            cycle.run_or_end()
            cycle.collect()
            cycle.guard()
            self.take_up(cycle, base, items)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            self.refused.append(f"what the agent left cannot be used: {clean(str(error), 120)}")
            run.note(claim=None)
        cycle.close()

    def take_up(self, cycle: Cycle, base: Base, items: Sequence[FrozenItem]) -> None:
        """What the agent wrote and proposed, unless the guard refuses it or there is no report."""
        journal = cycle.run.journal
        if cycle.refusals() or journal["claim"] is None:
            self.refused.append(", ".join(cycle.refusals()) or journal["claim_problem"])
            return
        proposals = journal["claim"]["proposals"]
        self.land(cycle.run, base, self.memo(proposals, items), proposals, journal["tree"], journal["paths"])

    def values(self, base: Base, items: Sequence[FrozenItem]) -> dict[str, object]:
        known = base.records()
        today = self.clock().date()
        rows = [
            {
                "id": item.id,
                "priority": item.priority,
                "status": item.status,
                "title": item.title,
                "attempts": len(item.attempts),
                "last": item.attempts[-1].date if item.attempts else None,
                "stale": review.stale(item, today) or review.circling(item, known),
            }
            for item in items
        ]
        recent = [{**vars(record), "guard": [row.get("code") for row in record.guard]} for record in known[-10:]]
        return {
            "base": base.commit,
            "items": rows,
            "records": recent,
            "writable": list(self.config.policy["supervisor"].write),
        }

    def memo(self, proposals: Mapping, items: Sequence[FrozenItem]) -> select.Steering:
        """The memo that an agent proposes, as far as it is valid."""
        open_items = {item.id for item in items if item.status not in ("done", "blocked")}
        wanted = proposals.get("next_item")
        if wanted is not None and (not isinstance(wanted, str) or wanted not in open_items):
            self.refused.append(f"next_item {clean(repr(wanted), 60)} is no open item")
            wanted = None
        lines = proposals.get("directives") or []
        texts = (
            [clean(line) for line in lines if isinstance(line, str)][:DIRECTIVE_CAP] if isinstance(lines, list) else []
        )
        return select.Steering(wanted, tuple(filter(None, texts)), {})

    # --- shared

    def open(self, base: Base, name: str, agent: Mapping | None = None) -> Run:
        facts = {
            "item": "",
            "attempt": 0,
            "base": base.commit,
            "agent": dict(agent or {"name": name, "argv": [], "events": "plain"}),
            "route": {"name": "supervisor"},
            "criteria": 0,
        }
        return open_run(self.root, "supervisor", facts, self.clock)

    def land(
        self, run: Run, base: Base, memo: select.Steering, proposals: Mapping, tree: str = "", paths: Sequence[str] = ()
    ) -> None:
        """Plans, memo and ledger changes in one commit, merged by fast-forward; no commit if nothing changes."""
        folder = self.root / ".nbloop" / "wt" / f"{run.id}-land"
        worktrees.add(self.root, folder, base.commit)
        if paths:
            worktrees.take_paths(folder, tree, paths)
        before = self.before
        names = []
        if (memo.next_item, memo.directives, memo.parked) != (before.next_item, before.directives, dict(before.parked)):
            (folder / steering.FILE).parent.mkdir(parents=True, exist_ok=True)
            (folder / steering.FILE).write_text(steering.write(memo, stamp(self.clock())), encoding="utf-8")
            names.append(steering.FILE)
        self.change_ledger(folder, proposals)
        landing.stage(folder, [*names, *landing.changed_ledger_files(folder)])
        if gitio.git(folder, "status", "--porcelain").strip():
            trailers = {"Loop-Run": run.id, "Loop-Role": "supervisor", "Loop-Agent": run.journal["agent"]["name"]}
            gitio.commit(folder, f"Supervisor: next {memo.next_item or 'nothing'}", trailers, self.config)
            landing.merge(self.root, self.config.branch, gitio.git(folder, "rev-parse", "HEAD").strip())
        worktrees.remove(self.root, folder)
        run.mark("closed", self.clock, result="supervised", proposals=dict(proposals))

    def change_ledger(self, folder: Path, proposals: Mapping) -> None:
        """Apply the proposals that are valid; refuse the others by name."""
        path = folder / self.config.ledger
        text = before = path.read_text(encoding="utf-8", errors="surrogateescape")
        for row in rows_of(proposals, "status_changes"):
            text = self.attempted(row, "status change", text, self.with_status)
        for row in rows_of(proposals, "new_items"):
            text = self.attempted(row, "new item", text, self.with_item)
        problems = book.new_errors(before, text, self.config.ledger)
        if problems:
            self.refused.append(f"the ledger changes: {problems[0]}")
        elif text != before:
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
        for row in rows_of(proposals, "plan_marks"):
            self.attempted(row, "plan mark", text, lambda row, text: self.mark_plan(folder, row, text))

    def attempted(self, row: object, what: str, text: str, change: Callable[[Mapping, str], str]) -> str:
        """The changed text; the text as it was, and a refusal, if the proposal is not valid."""
        try:
            return change(row, text)
        except (LoopError, TypeError, ValueError, KeyError, AttributeError, OSError) as error:
            self.refused.append(f"{what} {clean(json.dumps(row), 120)}: {clean(str(error), 120)}")
            return text

    def with_status(self, row: Mapping, text: str) -> str:
        item = self.item(row["item"], text)
        if item.status == "done" or row["status"] not in STATUSES:
            raise LedgerError(f"expected an open item and one of {', '.join(STATUSES)}")
        return text if item.status == row["status"] else book.set_status(text, item.id, row["status"])

    def with_item(self, row: Mapping, text: str) -> str:
        """A new item, pending: id, title, criteria, and the fields that `ledger add` takes."""
        fields: dict[str, object] = {key: clean(row[key]) for key in ITEM_FIELDS if key in row}
        criteria = [clean(line) for line in row["criteria"]]
        owner = f"supervisor/{self.clock().date().isoformat()}"
        return book.add_item(text, row["id"], clean(row["title"]), {**fields, "owner": owner, "criteria": criteria})

    def mark_plan(self, folder: Path, row: Mapping, text: str) -> str:
        """Set the state of a task in the item's plan; the plan is staged with the ledger."""
        item = self.item(row["item"], text)
        name = item.plan.strip("`. ") or f"plans/active/{item.id.lower()}/plan.md"
        if not name.startswith("plans/active/") or ".." in Path(name).parts:
            raise LedgerError(f"{name} is no plan below plans/active/")
        path = folder / name
        marked = plans.mark(path.read_text(encoding="utf-8"), row["task"], row["state"], clean(row.get("evidence", "")))
        path.write_text(marked, encoding="utf-8")
        landing.stage(folder, [path.relative_to(folder).as_posix()])
        return text

    def item(self, name: object, text: str) -> FrozenItem:
        found = next((item for item in book.read(text, self.config.ledger) if item.id == name), None)
        if found is None:
            raise LedgerError(f"no item {name!r}")
        return found

    def verify_done(self, base: Base, items: Sequence[FrozenItem]) -> list[str]:
        """Measure the gates of every done item again, at the base; a sentence for each gate that fell."""
        gate_file = preparation.gate_book(base)
        broken = []
        folder = self.root / ".nbloop" / "wt" / "recheck"
        worktrees.add(self.root, folder, base.commit)
        env = measure.environment(self.config.env_allow, folder)
        for item in (item for item in items if item.status == "done"):
            place = measure.Place(folder, self.root / ".nbloop" / "recheck" / item.id, env, time.time(), "recheck")
            results = measure.evaluate_all(gate_file, gate_file.of(item.id), place)
            broken += [f"{item.id} is done but {result.line()}" for result in results if result.state in FALLEN]
            for result in (result for result in results if result.state == gates.UNAVAILABLE):
                self.say(f"recheck: {item.id} could not be measured here: {result.line()}")
        worktrees.remove(self.root, folder)
        return broken


def rows_of(proposals: Mapping, key: str) -> list:
    rows = proposals.get(key)
    return rows if isinstance(rows, list) else []
