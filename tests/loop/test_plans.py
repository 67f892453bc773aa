"""Plans: task tables read in every spelling, checked, and marked in one cell."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanobrag_loop import plans
from nanobrag_loop.errors import LedgerError

ROOT = Path(__file__).resolve().parents[2]
PLAN = """\
# Plan

- Context: one

### Phase A — Measure
Goal: numbers
Prereqs: none
Exit Criteria: measured

| ID | Task Description | State | How/Why & Guidance |
| --- | --- | --- | --- |
| A1 | First | [X] | run it (evidence: 20261123T1-x) |
| A2 | Second | [ ] | `grep a | sort` |

### Phase B — Explain
Goal: why
Exit Criteria: known

| ID | Task Description | State | How/Why & Guidance |
| :--- | --- | --- | ---: |
| B1 | Third | [P] | half |

| Other | Table |
| --- | --- |
| x | y |
"""
FLAT = "| ID | Task Description | State | How/Why & Guidance |\n|---|---|---|---|\n| H1 | One | [D] | `a | b` |\n"


def codes(text):
    return [entry.code for entry in plans.lint(text)]


def test_tasks():
    assert [(task.id, task.state, task.phase) for task in plans.tasks(PLAN)] == [
        ("A1", "[X]", "Phase A — Measure"),
        ("A2", "[ ]", "Phase A — Measure"),
        ("B1", "[P]", "Phase B — Explain"),
    ]
    assert plans.tasks(PLAN)[1].guidance == "`grep a | sort`", "only the first three bars divide"
    (task,) = plans.tasks(FLAT)
    assert (task.state, task.written, task.phase, task.line) == ("[X]", "[D]", "", 3)


def test_a_good_plan_is_clean():
    assert codes(PLAN) == []


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("[P]", "[?]", "E501"),
        ("| B1 |", "| A1 |", "E502"),
        ("| [P] | half |", "|", "E504"),
        ("[P] | half", "[x] | half (evidence: r)", "W505"),
        ("Goal: why\n", "", "W506"),
        ("Prereqs:", "Prerqs:", "W507"),
        (" (evidence: 20261123T1-x)", "", "W508"),
        ("half", "half |\n<<<<<<< ours\n| C1 | x | [ ] | y", "E001"),
        ("### Phase B", "### Phase C — Nothing\nGoal: x\nExit Criteria: y\n\n### Phase B", "W506"),
    ],
)
def test_each_rule(old, new, code):
    assert old in PLAN
    assert code in codes(PLAN.replace(old, new, 1))


def test_no_table():
    assert codes("# Plan\n") == ["E503"]


def test_marks_touch_one_line():
    after = plans.mark(PLAN, "A2", "done", "20261123T2-y")
    changed = [row for row in difflib.ndiff(PLAN.splitlines(), after.splitlines()) if row[0] in "+-"]
    assert changed == [
        "- | A2 | Second | [ ] | `grep a | sort` |",
        "+ | A2 | Second | [X] | `grep a | sort` (evidence: 20261123T2-y) |",
    ]
    assert codes(after) == []
    assert plans.mark(after, "A2", "todo") == after.replace("| A2 | Second | [X]", "| A2 | Second | [ ]")


@pytest.mark.parametrize(
    ("task", "state", "words"),
    [("Z9", "done", "0 tasks of this id"), ("A2", "finished", "expected todo, partial"), ("A2", "done", "evidence")],
)
def test_refused_marks(task, state, words):
    with pytest.raises(LedgerError, match=words):
        plans.mark(PLAN, task, state)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PLAN.splitlines(), "|", "| a | b |", "\r", "| | | | |"]), max_size=25))
def test_any_text_is_read_without_failing(lines):
    text = "\n".join(lines)
    for entry in plans.lint(text):
        assert entry.code in plans.RULES
    for task in plans.tasks(text):
        if sum(other.id == task.id for other in plans.tasks(text)) == 1:
            after = plans.mark(text, task.id, "partial")
            assert [t.state for t in plans.tasks(after) if t.id == task.id] == ["[P]"]


def test_the_repositorys_own_plans_are_clean():
    files = sorted((ROOT / "plans").glob("*/*/plan.md"))
    assert {path.parent.name for path in files} >= {
        "at-parallel-012-peakmatch", "perf-pytorch-compile-refactor", "repo-hygiene-002"}  # fmt: skip
    for path in files:
        assert [entry for entry in plans.lint(path.read_text(encoding="utf-8")) if entry.severity == "E"] == [], path
