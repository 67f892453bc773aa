"""The decision table: claim × guard × gates → what is recorded, and whether it is merged. A pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nanobrag_loop import gates
from nanobrag_loop.agents.result import Claim
from nanobrag_loop.gates import GateResult


@dataclass(frozen=True)
class Evidence:
    """All that a decision rests on.

    refusals: codes of the guard's findings of class E; claim: the agent's result, or None with `claim_problem`;
    results: gates with their base states; changed: whether anything but evidence was changed; criteria: how many
    exit criteria the item has.
    """

    refusals: Sequence[str]
    claim: Claim | None
    claim_problem: str
    ended: str
    results: Sequence[GateResult]
    changed: bool
    criteria: int
    merge_partial: bool = False


@dataclass(frozen=True)
class Decision:
    """result: success, partial, failed or diagnostic; reason: for the ledger; merge: the change enters the branch;
    keep_branch: it is kept beside it; close: the item is done; progress: a gate or metric moved the right way."""

    result: str
    reason: str
    merge: bool = False
    keep_branch: bool = False
    close: bool = False
    progress: bool = False


def decide(evidence: Evidence) -> Decision:
    claim, results = evidence.claim, evidence.results
    if evidence.refusals:
        return Decision("failed", f"guard: {', '.join(sorted(set(evidence.refusals)))}")
    if claim is None:
        how = "" if evidence.ended == "exited" else f"; the agent was ended by the {evidence.ended} limit"
        return Decision("failed", f"no report: {evidence.claim_problem}{how}")
    if claim.result == "failed":
        return Decision("failed", "reported by the agent")
    if claim.result == "diagnostic":
        if evidence.changed:
            return Decision("failed", "a diagnostic attempt changes no files")
        return Decision("diagnostic", "")
    worse = gates.regressions(results)
    if worse:
        return Decision("failed", f"G2 regression: {', '.join(worse)}")
    better = gates.improvements(results)
    moved = bool(better) or any(gates.closer(result) for result in results)
    if claim.result == "success" and gates.all_pass(results):
        return Decision(
            "success", "every gate passes", merge=True, close=covered(results, evidence.criteria), progress=moved
        )
    if better:
        merge = evidence.merge_partial
        return Decision(
            "partial", f"now passing: {', '.join(better)}", merge=merge, keep_branch=not merge, progress=True
        )
    return Decision("failed", unmet(results), keep_branch=moved, progress=moved)


def covered(results: Sequence[GateResult], criteria: int) -> bool:
    """Whether every exit criterion has at least one gate, and all its gates pass."""
    decided = {result.criterion for result in results if result.state == gates.PASS}
    return criteria > 0 and set(range(1, criteria + 1)) <= decided and gates.all_pass(results)


def unmet(results: Sequence[GateResult]) -> str:
    if not results:
        return "G1 the item has no gate that could confirm it"
    return "G1 not confirmed: " + "; ".join(result.line() for result in results if result.state != gates.PASS)[:240]
