"""The breaker: what went wrong in a row, item by item."""

from __future__ import annotations

from nanobrag_loop.config import SessionLimits
from nanobrag_loop.decide import Decision
from nanobrag_loop.runs import Run
from nanobrag_loop.session import Breaker

RUN = Run(None, {"item": "A-1", "claim": {}})
REFUSED = Decision("failed", "guard: P1")
BETTER = Decision("partial", "now passing: A-1#1", progress=True)


def judged(*decisions: Decision) -> list[str]:
    breaker = Breaker(SessionLimits(guard_hits=2, failures=9, no_progress=9))
    return [breaker.judge(RUN, decision, []) for decision in decisions]


def test_refusals_count_in_a_row():
    assert judged(REFUSED, BETTER, REFUSED) == ["", "", ""]
    assert judged(BETTER, REFUSED, REFUSED) == ["", "", "refused by the guard 2 times in a row"]
