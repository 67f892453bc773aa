"""Every row of the decision table, and that no claim alone is ever a success."""

from __future__ import annotations

import itertools

import pytest

from nanobrag_loop.agents.result import RESULTS, Claim
from nanobrag_loop.decide import Decision, Evidence, decide
from nanobrag_loop.gates import GateResult
from nanobrag_loop.landing import entry_of
from nanobrag_loop.records import Record


def gate(name, state, base, criterion=1):
    return GateResult(name, "path", name, state, criterion=criterion, base_state=base)


GREEN = (gate("a", "pass", "fail", 1), gate("b", "pass", "pass", 2))
HALF = (gate("a", "pass", "fail", 1), gate("b", "fail", "fail", 2))
NONE = (gate("a", "fail", "fail", 1), gate("b", "pass", "pass", 2))
WORSE = (gate("a", "pass", "fail", 1), gate("b", "error", "pass", 2))


def evidence(claim, results, **more):
    facts = {"refusals": (), "claim_problem": "none", "ended": "exited", "changed": True, "criteria": 2, **more}
    return Evidence(claim=Claim(claim, "s") if claim else None, results=results, **facts)


@pytest.mark.parametrize(
    ("claim", "results", "more", "result", "reason", "merge"),
    [
        ("success", GREEN, {"refusals": ("A1", "T4", "A1")}, "failed", "guard: A1, T4", False),
        (None, GREEN, {}, "failed", "no report: none", False),
        (None, GREEN, {"ended": "wall"}, "failed", "no report: none; the agent was ended by the wall limit", False),
        ("success", GREEN, {}, "success", "every gate passes", True),
        ("success", GREEN, {"ended": "after-result"}, "success", "every gate passes", True),
        ("success", HALF, {}, "partial", "now passing: a", False),
        ("partial", HALF, {}, "partial", "now passing: a", False),
        ("partial", HALF, {"merge_partial": True}, "partial", "now passing: a", True),
        ("partial", GREEN, {}, "partial", "now passing: a", False),
        ("success", WORSE, {}, "failed", "G2 regression: b", False),
        ("partial", WORSE, {"merge_partial": True}, "failed", "G2 regression: b", False),
        ("success", NONE, {}, "failed", "G1 not confirmed: a fail", False),
        ("success", (), {}, "failed", "G1 the item has no gate that could confirm it", False),
        ("failed", GREEN, {}, "failed", "reported by the agent", False),
        ("diagnostic", NONE, {"changed": False}, "diagnostic", "", False),
        ("diagnostic", GREEN, {}, "failed", "a diagnostic attempt changes no files", False),
    ],
)
def test_the_table(claim, results, more, result, reason, merge):
    decision = decide(evidence(claim, results, **more))
    assert (decision.result, decision.reason, decision.merge) == (result, reason, merge)


def test_an_item_closes_only_when_every_criterion_is_decided():
    assert decide(evidence("success", GREEN)).close
    assert not decide(evidence("success", GREEN, criteria=3)).close
    assert not decide(evidence("success", GREEN, criteria=0)).close
    assert not decide(evidence("partial", GREEN)).close


@pytest.mark.parametrize("state", ["fail", "unavailable", "error"])
def test_success_needs_every_gate_whatever_is_claimed(state):
    states = ["pass", state]
    for claim, base, changed in itertools.product(
        [*RESULTS, None], ["pass", "fail", "unavailable", None], [True, False]
    ):
        results = tuple(gate(name, now, base, n) for n, (name, now) in enumerate(zip("ab", states, strict=True), 1))
        decision = decide(evidence(claim, results, changed=changed, merge_partial=True))
        assert decision.result != "success"
        assert not decision.close
        assert not (decision.merge and base == "pass")


SIGNED, UNSIGNED = (GateResult("m", "manual", "m", state, criterion=3) for state in ("pass", "unavailable"))


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (GREEN, ["close the item with `nb-loop ledger complete A-1`"]),
        ((*GREEN, SIGNED), ["close the item"]),
        ((*GREEN, UNSIGNED), ["Every other gate passes", "sign criterion 3"]),
        ((*HALF, UNSIGNED), ["look on"]),
        ((), ["look on"]),
    ],
)
def test_a_diagnostic_attempt_says_what_is_left_to_a_person(results, words):
    record = Record("20261123T000000Z-0001", "A-1", 1, "diagnostic", gates=tuple(results), next_actions=("look on",))
    entry = entry_of(record, Decision("diagnostic", ""), (), (), "")
    assert all(word in entry["Next Actions"] for word in words)
