"""An interrupted run, brought to its end.

An agent can end its runner and write the journal in its place, so nothing is merged on the journal's word: of what it
says, the tree that the agent left and the base that the branch holds are taken, and everything that follows from
them is worked out anew. What is merged is told by the branch.
"""

from __future__ import annotations

from nanobrag_loop import gitio, preparation, records, worktrees
from nanobrag_loop.agents import process
from nanobrag_loop.cycle import Cycle
from nanobrag_loop.errors import LoopError
from nanobrag_loop.preparation import Base
from nanobrag_loop.runs import Run


def resume(cycle: Cycle) -> Run:
    """Go on with a run. Before the agent ran there is nothing to keep: it is aborted, as is a run whose journal cannot
    be true."""
    process.end_group(-1, cycle.run.id, 2.0)
    if not cycle.run.reached("running"):
        return abort(cycle, "the agent had not started")
    if landed(cycle):
        if not cycle.run.reached("merged"):
            cycle.mark("merged")
        return cycle.go()
    try:
        begin_again(cycle)
    except (LoopError, LookupError, TypeError, ValueError, AttributeError) as error:
        return abort(cycle, f"its journal cannot be true: {error}")
    return cycle.go()


def abort(cycle: Cycle, why: str) -> Run:
    """Close a run as it is, without an entry in the ledger; its folder keeps what there is."""
    process.end_group(-1, cycle.run.id, 2.0)
    cycle.remove_worktrees()
    cycle.mark("closed", result="aborted", reason=why)
    return cycle.run


def landed(cycle: Cycle) -> bool:
    """Whether the branch holds the record of this run."""
    start = f"{records.FOLDER}/{cycle.run.id[:4]}/{cycle.run.id}-"
    return any(name.startswith(start) for name in gitio.listing(cycle.root, f"refs/heads/{cycle.config.branch}"))


def begin_again(cycle: Cycle) -> None:
    """Back to the tree that the agent left, or to its worktree if no tree was made of it yet.

    `LoopError`, or what Python raises on data of another form, if the journal cannot be that of a run here.
    """
    journal, branch = cycle.run.journal, f"refs/heads/{cycle.config.branch}"
    base = gitio.resolve(cycle.root, journal["base"])
    if not gitio.is_ancestor(cycle.root, base, branch):
        raise LoopError(f"its base {base[:12]} is no commit of {cycle.config.branch}")
    items = {item.id: item for item in preparation.ledger_items(Base(cycle.root, base), cycle.config)}
    cycle.run.note(resumed=True, base=base, criteria=len(items[journal["item"]].exit_criteria))
    if cycle.run.reached("collected"):
        tree = gitio.resolve(cycle.root, journal["tree"], "tree")
        paths = worktrees.changed_paths(cycle.root, base, tree)
        claim, problem = cycle.claim()
        cycle.mark("collected", tree=tree, paths=paths, claim=claim and claim.as_dict(), claim_problem=problem)
    elif not gitio.is_ancestor(cycle.root, str(journal["before"]["refs"].get(branch)), branch):
        # On the journal's word the branch is never put back to commits that it does not hold.
        journal["before"]["refs"][branch] = gitio.resolve(cycle.root, branch)
