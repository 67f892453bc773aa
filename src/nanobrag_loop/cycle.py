"""One engineer attempt, as a chain of journalled steps.

Each step reads what earlier steps left in the run's folder and journal, does its work, and marks its phase. A step
that was interrupted is done again from its beginning: until the merge nothing outside the run's own folder and
worktrees has changed, and the merge itself can be repeated. An agent can end its runner and write the journal itself,
so a run that is resumed takes nothing from its journal but the tree, and judges that anew.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from nanobrag_loop import book, gates, gitio, guarding, landing, manifest, measure, preparation, sync, watch, worktrees
from nanobrag_loop.agents.result import Claim, clean
from nanobrag_loop.config import Config
from nanobrag_loop.decide import Decision, Evidence, decide
from nanobrag_loop.errors import GitError, LoopError
from nanobrag_loop.preparation import Base, Preparation
from nanobrag_loop.records import Record
from nanobrag_loop.runs import Clock, Run, open_run, stamp, utc_now
from nanobrag_loop.workplace import Workplace


@dataclass
class Cycle(Workplace):
    """An attempt in progress. judge: the session's breaker, asked with the decision, answers with the reason to block
    the item, or nothing."""

    judge: Callable[[Run, Decision, list[gates.GateResult]], str] = field(default=lambda run, decision, results: "")

    @property
    def resumed(self) -> bool:
        return bool(self.run.journal.get("resumed"))

    # --- the chain

    def go(self) -> Run:
        """Every step that the journal does not show as done."""
        for phase, step in self.steps():
            if not self.run.reached(phase):
                step()
        return self.run

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("prepared", self.prepare),
            ("collected", self.run_and_collect),
            ("guarded", lambda: self.survive(self.guard)),
            ("gated", lambda: self.survive(self.measure)),
            ("decided", lambda: self.survive(self.decide)),
            ("committed", lambda: self.survive(self.commit)),
            ("merged", self.merge),
            ("pushed", self.push),
            ("closed", self.close),
        ]

    def run_and_collect(self) -> None:
        self.run_or_end()
        self.survive(self.collect)

    def survive(self, step: Callable[[], None]) -> None:
        """Take a step that reads what the agent left. If that cannot be used, whatever it is, the attempt has failed
        and nothing of it is kept. If not even that can be recorded, the trouble is another one, and stays as it is."""
        before = dict(self.run.journal)
        try:
            step()
        except Exception as error:
            if of_this_machine(error):
                raise
            try:
                self.give_up(f"{type(error).__name__}: {error}")
            except Exception:
                for folder in (self.artifacts, self.run.file("gates")):
                    worktrees.bring_back(folder)
                self.run.journal = before
                self.run.save()
                raise known_error(error, self.run.id) from None

    def give_up(self, why: str) -> None:
        journal = self.run.journal
        for folder in (self.artifacts, self.run.file("gates")):
            worktrees.set_aside(folder)
        self.run.note(
            tree=gitio.resolve(self.root, journal["base"], "tree"),
            paths=[],
            claim=None,
            claim_problem=f"what the agent left cannot be used: {clean(why, 200)}",
            gates=[],
            findings=journal.get("findings") or journal.get("escapes") or [],
        )
        self.decide()
        self.commit()

    def guard(self) -> None:
        journal = self.run.journal
        findings = list(journal["escapes"])
        if self.resumed:
            findings += watch.damage_findings(worktrees.damage(self.root))
        if journal["paths"]:
            findings += self.findings(journal["base"], journal["tree"])
        self.mark("guarded", findings=findings)

    def findings(self, base: str, tree: str) -> list[dict]:
        """What the guard says. In a resumed run no route thaws tests: the journal may name any."""
        frozen = self.config.tests.frozen_in if self.resumed else ()
        route = frozen[0] if frozen else self.run.journal["route"]["name"]
        return guarding.findings(self.root, self.config, base, tree, self.run.journal["role"], route)

    def refusals(self) -> list[str]:
        return [row["code"] for row in self.run.journal["findings"] if row.get("severity", "E") == "E"]

    def measure(self) -> None:
        """Gates of the base commit, on exactly the tree that would be committed."""
        journal = self.run.journal
        results: list[gates.GateResult] = []
        if not self.refusals() and journal["claim"] is not None:
            gate_file = preparation.gate_book(self.base)
            own = gate_file.of(journal["item"])
            results = self.gates_on(journal["tree"], gate_file, own, self.run.file("gates"))
            if journal["paths"]:
                results = gates.with_base(results, self.base_gates(gate_file, own))
            else:
                results = gates.with_base(results, results)
        self.mark("gated", gates=[result.as_dict() for result in results])

    def gates_on(
        self, tree: str, gate_file: gates.GateBook, own: tuple[gates.Gate, ...], out: Path
    ) -> list[gates.GateResult]:
        """Measured in a checkout of `tree`. Gates run what the agent wrote, so they are watched as the agent was."""
        worktrees.clear(out)
        worktrees.check_out_tree(self.root, self.check_folder, self.run.journal["base"], tree)
        env = measure.environment(self.config.env_allow, self.check_folder)
        place = measure.Place(self.check_folder, out, env, time.time(), self.run.id)
        kept = worktrees.keep_git_files(self.common)
        before = worktrees.sentinel(self.root, self.common, self.run.id).as_dict()
        altered = worktrees.altered(self.root, self.check_folder, tree) if self.resumed else []
        results = measure.evaluate_all(gate_file, own, place)
        found = watch.escapes(self.root, self.common, before, kept, self.run.id, self.config.branch)
        found += [watch.finding("P8", name, "a filter or hook of git checks out another content") for name in altered]
        if found:
            self.run.note(findings=[*self.run.journal["findings"], *found])
        else:
            measure.remember(self.root, self.cache_key(tree, own), results)
        return results

    def cache_key(self, tree: str, own: tuple[gates.Gate, ...]) -> str:
        return preparation.routing.tree_key(self.base.listing(tree), [gate.options for gate in own])

    def base_gates(self, gate_file: gates.GateBook, own: tuple[gates.Gate, ...]) -> list[gates.GateResult]:
        """The same gates at the base: remembered if they were measured on that tree here, else measured now."""
        base = self.run.journal["base"]
        known = None if self.resumed else measure.recall(self.root, self.cache_key(base, own))
        return known if known is not None else self.gates_on(base, gate_file, own, self.run.file("gates-base"))

    def decide(self) -> None:
        journal = self.run.journal
        claim = Claim(**journal["claim"]) if journal["claim"] else None
        results = [gates.GateResult.from_dict(row) for row in journal["gates"]]
        evidence = Evidence(
            self.refusals(),
            claim,
            journal["claim_problem"],
            journal["outcome"]["ended"],
            results,
            bool(journal["paths"]),
            journal["criteria"],
            self.config.merge_partial,
        )
        decision = decide(evidence)
        block = self.judge(self.run, decision, results)
        self.mark("decided", decision=vars(decision), result=decision.result, block=block)

    def commit(self) -> None:
        """Commits on the branch's tip; if the branch moved, the change is carried over and measured there again."""
        journal = self.run.journal
        tip = gitio.resolve(self.root, f"refs/heads/{self.config.branch}")
        decision = Decision(**journal["decision"])
        journal["carried"] = ""
        if decision.merge and journal["paths"] and tip != journal["base"]:
            decision = self.carry_over(tip, decision)
        parked = self.config.mode == "review" and decision.merge
        if parked:
            decision = Decision(**{**vars(decision), "merge": False, "keep_branch": True, "close": False})
        branch = self.keep_branch() if decision.keep_branch and journal["paths"] else ""
        parcel = self.parcel(decision)
        head, record = landing.land(self.root, self.config, self.land_folder, tip, parcel)
        self.mark(
            "committed",
            head=head,
            tip=tip,
            record=str(record.path),
            branch=branch,
            parked=parked and branch,
            merges=decision.merge,
            attempt=record.attempt,
            closes=decision.close,
        )

    def carry_over(self, tip: str, decision: Decision) -> Decision:
        """The change on the new tip, guarded and measured once more; if that fails it is not merged."""
        journal = self.run.journal
        if not book.knows(Base(self.root, tip).text(self.config.ledger) or "", journal["item"]):
            return Decision("partial", f"passes at its base; {tip[:12]} has no such item", keep_branch=True)
        tree = worktrees.rebased_tree(self.root, self.check_folder, journal["base"], journal["tree"], tip)
        if tree is None:
            return Decision("partial", f"passes at its base, conflicts with {tip[:12]}", keep_branch=True)
        found = self.findings(tip, tree)
        gate_file = preparation.gate_book(Base(self.root, tip))
        own = gate_file.of(journal["item"])
        results = self.gates_on(tree, gate_file, own, self.run.file("gates-tip"))
        if self.refusals() or any(row["severity"] == "E" for row in found) or not gates.all_pass(results):
            return Decision("partial", f"passes at its base, not on {tip[:12]}", keep_branch=True)
        self.run.note(carried=tree, carried_to=tip)
        return decision

    def keep_branch(self) -> str:
        """The change as one commit on a branch of its own, for a person or a later attempt."""
        journal = self.run.journal
        name = f"loop/{journal['item']}/{self.run.id}"
        message = f"{journal['item']}: change of run {self.run.id}, not merged"
        commit = gitio.commit_tree(self.root, journal["tree"], journal["base"], message, self.trailers(), self.config)
        gitio.git(self.root, "update-ref", f"refs/heads/{name}", commit)
        return name

    def trailers(self) -> dict[str, str]:
        journal = self.run.journal
        results = [gates.GateResult.from_dict(row) for row in journal["gates"]]
        return {
            "Loop-Run": self.run.id,
            "Loop-Item": journal["item"],
            "Loop-Attempt": str(journal["attempt"]),
            "Loop-Role": journal["role"],
            "Loop-Agent": journal["agent"]["name"],
            "Loop-Base": journal["base"],
            "Loop-Gates": landing.gate_note(results),
        }

    def parcel(self, decision: Decision) -> landing.Parcel:
        """What is committed, without a trace of where on this machine it was made."""
        for folder in (self.artifacts, self.run.file("gates")):
            self.portable.files(folder)
        facts = ("claim", "outcome", "decision", "gates", "findings", "block")
        journal = {**self.run.journal, **self.portable.value({key: self.run.journal[key] for key in facts})}
        decision = replace(decision, reason=self.portable.value(decision.reason))
        claim = journal["claim"] or {}
        outcome = journal["outcome"]
        more = {"override": journal["route"].get("overridden"), "blocked_on": claim.get("blocked_on")}
        record = Record(
            run=self.run.id,
            item=journal["item"],
            attempt=journal["attempt"],
            result=decision.result,
            reason=decision.reason,
            role=journal["role"],
            agent=journal["agent"]["name"],
            route=journal["route"]["name"],
            base=journal["base"],
            claim=claim.get("result"),
            summary=claim.get("summary", ""),
            at=stamp(self.clock()),
            item_sha256=journal["item_sha256"],
            prompt_sha256=journal["prompt_sha256"],
            gates=tuple(gates.GateResult.from_dict(row) for row in journal["gates"]),
            guard=tuple(journal["findings"]),
            usage={key: outcome.get(key) for key in ("ended", "exit_code", "wall_s", "tokens", "usd")},
            first_divergence=claim.get("first_divergence"),
            next_actions=tuple(claim.get("next_actions", ())),
            extra={key: value for key, value in more.items() if value},
        )
        entry = landing.entry_of(
            record, decision, claim.get("metrics", ()), claim.get("observations", ()), journal["block"]
        )
        return landing.Parcel(
            self.run.id,
            journal["item"],
            record,
            decision,
            journal.get("carried") or journal["tree"],
            journal["paths"],
            self.artifacts,
            self.run.file("gates"),
            entry,
            self.trailers(),
            journal["block"],
        )

    def merge(self) -> None:
        """By fast-forward. If the branch moved since the commits were made, they are made anew on its tip."""
        journal = self.run.journal
        tip = gitio.resolve(self.root, f"refs/heads/{self.config.branch}")
        if tip != journal["tip"] and not gitio.is_ancestor(self.root, journal["head"], tip):
            self.survive(self.commit)
        try:
            landing.merge(self.root, self.config.branch, journal["head"])
        except GitError as error:
            remedy = "commit or move aside the changed files, then: nb-loop run --resume"
            raise GitError(str(error), remedy=remedy) from None
        self.mark("merged")

    def push(self) -> None:
        """A rejected push ends the session, not the run, which is over: the commits are pushed first next time."""
        try:
            if self.config.push == "after-cycle":
                sync.push(self.root, self.config)
        except GitError:
            self.mark("pushed", unpushed=True)
            self.close()
            raise
        self.mark("pushed")

    def close(self) -> None:
        self.remove_worktrees()
        self.mark("closed")


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE)


def of_this_machine(error: Exception) -> bool:
    """Whether the trouble is the machine's, above all a full disk, and not with what an agent left."""
    return (isinstance(error, OSError) and error.errno in NO_ROOM) or os.strerror(errno.ENOSPC) in str(error)


def known_error(error: Exception, run_id: str) -> Exception:
    """An error that ends as one line for the user."""
    if isinstance(error, LoopError | OSError):
        return error
    return LoopError(f"run {run_id}: {type(error).__name__}: {error}", remedy=f"nb-loop runs abort {run_id} closes it")


def start(root: Path, common: Path, config: Config, plan: Preparation, clock: Clock = utc_now, **more) -> Cycle:
    """A new attempt for what was prepared, in phase "opened"."""
    agent = {"name": plan.agent.name, "argv": list(plan.agent.argv), "events": plan.agent.events}
    item = plan.item.as_dict()
    facts: Mapping = {
        "item": plan.item.id,
        "attempt": plan.attempt,
        "base": plan.base.commit,
        "item_sha256": plan.item.sha256,
        "criteria": len(plan.item.exit_criteria),
        "agent": agent,
        "route": vars(plan.route),
        "parity": vars(plan.parity),
        "prompt_sha256": manifest.sha256_text(plan.prompt),
        "limits": asdict(config.limits.run),
    }
    run = open_run(root, "engineer", facts, clock)
    run.file("prompt.md").write_text(plan.prompt, encoding="utf-8", errors="surrogateescape")
    context = {"schema": 1, "run": run.id, "item": item, "attempt": plan.attempt, "route": plan.route.name}
    run.file("context.json").write_text(
        json.dumps(context, ensure_ascii=False), encoding="utf-8", errors="surrogateescape"
    )
    return Cycle(root, common, config, run, clock, **more)
