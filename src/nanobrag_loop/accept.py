"""A person's decision on a parked run: `mode: review` never merges by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nanobrag_loop import gates, gitio, landing, worktrees
from nanobrag_loop.config import Config
from nanobrag_loop.cycle import Cycle
from nanobrag_loop.decide import Decision
from nanobrag_loop.errors import RefusedError
from nanobrag_loop.preparation import Base, gate_book
from nanobrag_loop.runs import Run


def parked(run: Run) -> str:
    """The branch that holds the change of a parked run."""
    name = run.journal.get("parked")
    if not name:
        raise RefusedError(f"run {run.id} is not parked: {run.journal.get('result', run.phase)}")
    return str(name)


def accept(root: Path, common: Path, config: Config, run: Run) -> str:
    """Guard and measure the change on today's tip, then merge it with a second attempt entry that says so."""
    branch = parked(run)
    cycle = Cycle(root, common, config, run)
    journal = run.journal
    tip = gitio.resolve(root, f"refs/heads/{config.branch}")
    decision = cycle.carry_over(tip, Decision(**journal["decision"]))
    if not decision.merge:
        raise RefusedError(f"run {run.id} is not merged: {decision.reason}")
    paths = worktrees.changed_paths(root, tip, run.journal["carried"])
    parcel = cycle.parcel(replace(decision, reason=f"{decision.reason}; accepted by a person"))
    gate_file = gate_book(Base(root, tip))
    if not gates.all_pass([gates.GateResult.from_dict(row) for row in journal["gates"]]) or not gate_file.of(
        journal["item"]
    ):
        raise RefusedError(f"run {run.id}: the gates of {journal['item']} are not all green")
    head, record = landing.land(root, config, cycle.land_folder, tip, replace(parcel, paths=paths, accepted=True))
    landing.merge(root, config.branch, head)
    gitio.git(root, "update-ref", "-d", f"refs/heads/{branch}")
    run.note(parked="", merges=True, accepted=True)
    for folder in (cycle.check_folder, cycle.land_folder):
        worktrees.remove(root, folder)
    return f"{run.id}: merged as attempt {record.attempt} of {record.item}"


def reject(root: Path, run: Run) -> str:
    """Drop the parked branch; the patch stays in the run's folder."""
    branch = parked(run)
    gitio.git(root, "update-ref", "-d", f"refs/heads/{branch}")
    run.note(parked="", rejected=True)
    return f"{run.id}: rejected; its patch is {run.file('change.patch')}"
