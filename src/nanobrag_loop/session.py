"""A session: engineer cycles one after the other, under budgets and a breaker."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from nanobrag_loop import gates, preparation, sync
from nanobrag_loop.config import Config, SessionLimits
from nanobrag_loop.cycle import Cycle, start
from nanobrag_loop.decide import Decision
from nanobrag_loop.errors import BREAKER, BUDGET, FINDINGS, NO_RESULT, OK, RefusedError
from nanobrag_loop.gitio import common_dir, resolve
from nanobrag_loop.preparation import REPEATABLE, Base, NothingToDo, Wish
from nanobrag_loop.recovery import abort, resume
from nanobrag_loop.runs import Clock, Run, stop_requested, unfinished, utc_now

SAME_FAILURE = 3


@dataclass
class Breaker:
    """Counts what went wrong in a row on one item. Only measured change is progress: a gate that now passes, a
    metric nearer to its threshold, another first divergence."""

    limits: SessionLimits
    failures: dict[str, int] = field(default_factory=dict)
    idle: dict[str, int] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)
    prints: dict[str, list[str]] = field(default_factory=dict)
    divergence: dict[str, str] = field(default_factory=dict)
    tripped: str = ""

    def judge(self, run: Run, decision: Decision, results: list[gates.GateResult]) -> str:
        """Count this decision; the reason to block the item if that was once too often."""
        item = run.journal["item"]
        if decision.result == "diagnostic":
            return ""
        moved = decision.progress or self.new_divergence(run, item)
        failed = decision.result == "failed"
        self.failures[item] = self.failures.get(item, 0) + 1 if failed else 0
        self.idle[item] = 0 if moved else self.idle.get(item, 0) + 1
        refused = decision.reason.startswith("guard:")
        self.hits[item] = self.hits.get(item, 0) + 1 if refused else 0
        self.prints.setdefault(item, []).append(fingerprint(decision, results) if failed else "")
        same = self.prints[item][-SAME_FAILURE:]
        checks = (
            (self.hits[item], self.limits.guard_hits, "refused by the guard {} times in a row"),
            (self.idle[item], self.limits.no_progress, "{} attempts without measured progress"),
            (self.failures[item], self.limits.failures, "{} failed attempts in a row"),
            (len(same) if len(set(same)) == 1 and same[0] else 0, SAME_FAILURE, "the same failure {} times"),
        )
        self.tripped = next((text.format(count) for count, bound, text in checks if bound and count >= bound), "")
        return self.tripped

    def new_divergence(self, run: Run, item: str) -> bool:
        found = (run.journal["claim"] or {}).get("first_divergence") or ""
        changed = bool(found) and item in self.divergence and found != self.divergence[item]
        if found:
            self.divergence[item] = found
        return changed


def fingerprint(decision: Decision, results: list[gates.GateResult]) -> str:
    """A name for a failure: what was decided and what each gate showed, without times."""
    shown = [(result.gate, result.state, result.value, sorted(result.counts.items())) for result in results]
    return hashlib.sha256(repr((decision.reason, shown)).encode()).hexdigest()


@dataclass
class Session:
    """say: takes one line for the user; observe: called with each cycle before it runs."""

    root: Path
    config: Config
    wish: Wish
    cycles: int
    say: Callable[[str], object] = print
    clock: Clock = utc_now
    mirror: Callable[[bytes], object] | None = None
    pull: bool = True
    observe: Callable[[Cycle], object] = lambda cycle: None
    after_cycle: Callable[[int], object] = lambda done: None

    def __post_init__(self) -> None:
        self.common = common_dir(self.root)
        self.breaker = Breaker(self.config.limits.session)
        self.begin = time.monotonic()
        self.usd = 0.0

    def run(self) -> int:
        """Exit code of the whole session."""
        code = OK
        for done in range(self.cycles):
            reason = self.over_budget(done)
            if reason:
                self.say(reason)
                return OK if stop_requested(self.root) else BUDGET
            try:
                run = self.one_cycle()
            except NothingToDo as reason:
                self.say(str(reason))
                return code
            code = exit_code(run)
            if self.breaker.tripped:
                self.say(f"breaker: {run.journal['item']} is blocked: {self.breaker.tripped}")
                return BREAKER
            self.after_cycle(done + 1)
        return code

    def over_budget(self, done: int) -> str:
        limits = self.config.limits.session
        if stop_requested(self.root):
            return "stopped: .nbloop/STOP was created; `nb-loop stop --clear` lets the loop go on"
        if limits.wall_s and time.monotonic() - self.begin > limits.wall_s:
            return f"budget: the session has lasted more than {limits.wall_s:.0f} s"
        if limits.usd and self.usd > limits.usd:
            return f"budget: the session has cost {self.usd:.2f} USD, more than {limits.usd}"
        if limits.cycles and done >= limits.cycles:
            return f"budget: {done} cycles done, the most that a session may have"
        return ""

    def one_cycle(self) -> Run:
        sync.preflight(self.root, self.config.branch)
        if self.pull:
            note = sync.pull(self.root, self.config.branch)
            if note:
                self.say(note)
        plan = preparation.prepare(self.base(), self.config, self.wish)
        cycle = start(
            self.root, self.common, self.config, plan, self.clock, mirror=self.mirror, judge=self.breaker.judge
        )
        self.observe(cycle)
        self.say(
            f"{cycle.run.id}: {plan.item.id} attempt {plan.attempt}, agent {plan.agent.name}, route {plan.route.name}"
        )
        run = cycle.go()
        self.usd += run.journal["outcome"].get("usd") or 0.0
        if plan.agent.name in REPEATABLE:
            skip = {**self.wish.skip, plan.item.id: f"already attempted by {plan.agent.name} in this session"}
            self.wish = replace(self.wish, skip=skip)
        self.say(summary(run))
        return run

    def base(self) -> Base:
        return Base(self.root, resolve(self.root, f"refs/heads/{self.config.branch}"))

    def resume_all(self) -> list[Run]:
        """Bring every interrupted run of this checkout to its end, oldest first."""
        finished = []
        for run in unfinished(self.root):
            cycle = Cycle(self.root, self.common, self.config, run, self.clock, judge=self.breaker.judge)
            self.observe(cycle)
            if run.journal["role"] == "engineer":
                finished.append(resume(cycle))
            else:
                abort(cycle, "a supervisor's turn is taken anew")
            aborted = run.journal.get("result") == "aborted"
            self.say(f"aborted {run.id}: {run.journal['reason']}" if aborted else f"resumed {summary(run)}")
        return finished

    def refuse_unfinished(self) -> None:
        left = unfinished(self.root)
        if left:
            remedy = "`nb-loop run --resume` brings it to its end"
            raise RefusedError(f"run {left[0].id} was interrupted in phase {left[0].phase}", remedy=remedy)


def exit_code(run: Run) -> int:
    """What a session that ends with this run returns."""
    if run.journal["claim"] is None:
        return NO_RESULT
    return FINDINGS if run.journal["decision"]["reason"].startswith("guard:") else OK


def summary(run: Run) -> str:
    """One line: what was decided and why."""
    journal = run.journal
    decision = journal["decision"]
    reason = f" ({decision['reason']})" if decision["reason"] else ""
    merged = journal.get("merges") and journal["paths"]
    where = ", merged" if merged else f", kept as {journal['branch']}" if journal.get("branch") else ""
    return f"{run.id}: {journal['item']} attempt {journal['attempt']}: {decision['result']}{reason}{where}"
