"""The supervisor's turn: orders work, never finishes it."""

from __future__ import annotations

from datetime import date

import pytest
import yaml
from fake_agent_repo import FAST_GATES, ITEM, make_toy

from nanobrag_loop import review, steering
from nanobrag_loop.errors import ConfigError
from nanobrag_loop.gates import GateResult
from nanobrag_loop.items import FrozenItem, PastAttempt
from nanobrag_loop.records import Record
from nanobrag_loop.select import Steering

SUPERVISOR = {"roles": {"supervisor": {"agent": "fake", "prompt": "prompts/supervisor.md"}}}


def record(n, value, result="failed"):
    gate = GateResult("A-1#1", "metric", "t", "fail", value=value, op=">=", threshold=48)
    return Record(f"r{n}", "A-1", n, result, gates=(gate,), claim="success")


def item(**more):
    return FrozenItem("A-1", "t", "High", "in_progress", reproduction={"C": "`true`"}, **more)


def test_circles():
    assert "changed no gate" in review.circling(item(), [record(n, 43) for n in range(3)])
    assert review.circling(item(), [record(1, 43), record(2, 43), record(3, 44)]) == ""
    assert review.circling(item(), [record(n, 43) for n in range(2)]) == ""
    same = tuple(PastAttempt(n, "2026-11-23", "failed. x", next_actions="try again") for n in range(3))
    assert "same next actions" in review.circling(item(attempts=same), [])


@pytest.mark.parametrize(
    ("day", "words"), [("2026-11-20", ""), ("2026-10-01", "no attempt for 53 days"), ("someday", "")]
)
def test_stale(day, words):
    assert review.stale(item(attempts=(PastAttempt(1, day, "failed. x"),)), date(2026, 11, 23)) == words


def test_the_planner_parks_what_goes_in_circles_and_names_false_claims():
    other = FrozenItem("B-1", "t", "Low", "pending", reproduction={"C": "`true`"})
    opinion = review.plan([item(), other], [record(n, 43) for n in range(3)], "debug", date(2026, 11, 23))
    assert opinion.next_item == "B-1"
    assert set(opinion.parked) == {"A-1"}
    assert sum("claimed success and was recorded as failed" in note for note in opinion.notes) == 3


def test_the_memo_round_trips():
    memo = Steering("A-1", ("mind the: colon", "§ 2"), {"B-1": "in circles"})
    assert steering.read(steering.write(memo, "now")) == memo
    assert steering.read(None) == Steering()
    with pytest.raises(ConfigError, match="unknown key"):
        steering.read("schema: 1\nnext: A-1\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2\n", "plans/steering.yaml:2: expected ',' or ']'"),
        ("schema: 1\nnext_item: [1]\n", "next_item: expected the id of an item, got [1]"),
        ("schema: 1\nparked: {A-1: 2026-13-45}\n", "plans/steering.yaml:2: '2026-13-45' is no timestamp"),
        ("schema: 1\nparked: {A-1: x, A-1: y}\n", "plans/steering.yaml:2: repeated key 'A-1'"),
        ("schema: 1\ndirectives: x\n", "`directives` as a list"),
    ],
)
def test_mistakes_in_the_memo_are_named(text, words):
    with pytest.raises(ConfigError) as caught:
        steering.read(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("plans/steering.yaml", {}),
        ("plans/steering.yaml", SUPERVISOR),
        ("plans/gates.yaml", SUPERVISOR),
        ("prompts/supervisor.md", SUPERVISOR),
    ],
)
def test_a_turn_that_cannot_begin_leaves_no_open_run(tmp_path, name, roles):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES, name: "schema: [1, {{ \n"}, **roles)
    done = toy.loop("run", "--role", "supervisor", check=2)
    assert name in done.stderr
    assert done.stderr.count("\n") == 1
    assert toy.loop("runs", "list").stdout == ""


def test_a_turn_of_the_planner(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    head = toy.head()
    done = toy.loop("run", "--role", "supervisor")
    assert f"next: {ITEM}" in done.stderr
    assert yaml.safe_load(toy.git("show", "main:plans/steering.yaml"))["next_item"] == ITEM
    assert toy.git("rev-list", "--count", f"{head}..main").strip() == "1"
    head = toy.head()
    toy.loop("run", "--role", "supervisor")
    assert toy.head() == head


def test_recheck_finds_a_done_item_that_fell(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    toy.scenario(
        {"replace": {"path": "src/toy.py", "old": " + 0.5", "new": ""}},
        {"replace": {"path": "src/toy.py", "old": "a * 3", "new": "a * 2"}},
        {"result": {"result": "success"}},
    )
    toy.loop("run", "--role", "engineer", "--agent", "fake")
    toy.loop("run", "--role", "supervisor", "--recheck")
    (toy.root / "src/toy.py").write_text("broken = True\n")
    toy.git("commit", "-q", "-am", "break it")
    done = toy.loop("run", "--role", "supervisor", "--recheck", check=1)
    assert "TOY-001 is done but TOY-001#2 fail" in done.stderr


def test_proposals_of_an_agent_are_checked(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES}, **SUPERVISOR)
    toy.scenario(
        {"write": {"path": "plans/active/toy/plan.md", "text": "# Plan\n"}},
        {
            "result": {
                "result": "diagnostic",
                "next_item": ITEM,
                "directives": ["look at\nadd", 7],
                "status_changes": [{"item": ITEM, "status": "done"}, {"item": "NO-1", "status": "blocked"}, "x"],
            }
        },
    )
    done = toy.loop("run", "--role", "supervisor", check=1)
    assert done.stderr.count("refused: status change") == 3
    assert yaml.safe_load(toy.git("show", "main:plans/steering.yaml"))["directives"] == ["look at add"]
    assert toy.git("show", "main:plans/active/toy/plan.md") == "# Plan\n"
    assert "- Status: in_progress" in toy.ledger()


PLAN = """\
# Plan

### Phase A — Look
Goal: see
Exit Criteria: seen

| ID | Task Description | State | How/Why & Guidance |
| --- | --- | --- | --- |
| A1 | Look | [ ] | eyes |
"""


def test_new_items_and_plan_marks(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES, "plans/active/toy-001/plan.md": PLAN}, **SUPERVISOR)
    new = {"id": "TOY-002", "title": "Products\nare wrong", "pytorch": "`python -c pass`", "criteria": ["exact"]}
    toy.scenario(
        {
            "result": {
                "result": "diagnostic",
                "new_items": [new, {"id": "TOY-003"}, new],
                "plan_marks": [
                    {"item": ITEM, "task": "A1", "state": "[P]"},
                    {"item": ITEM, "task": "A2", "state": "[P]"},
                ],
            }
        }
    )
    done = toy.loop("run", "--role", "supervisor", check=1)
    assert done.stderr.count("refused: new item") == 2, done.stderr
    assert done.stderr.count("refused: plan mark") == 1, done.stderr
    assert "## [TOY-002] Products are wrong\n" in toy.ledger()
    assert "| A1 | Look | [P] | eyes |" in toy.git("show", "main:plans/active/toy-001/plan.md")
    toy.loop("ledger", "lint", "docs/fix_plan.md")


def test_a_status_that_may_change(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES}, **SUPERVISOR)
    toy.scenario(
        {"result": {"result": "diagnostic", "status_changes": [{"item": ITEM, "status": "blocked", "reason": "x"}]}}
    )
    toy.loop("run", "--role", "supervisor")
    assert "- Status: blocked" in toy.ledger()


def test_a_supervisor_writes_no_code(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES}, **SUPERVISOR)
    before = toy.tree_without_ledger()
    toy.scenario({"write": {"path": "src/toy.py", "text": "x = 1\n"}}, {"result": {"result": "diagnostic"}})
    done = toy.loop("run", "--role", "supervisor", check=1)
    assert "refused: P1" in done.stderr
    assert toy.tree_without_ledger() == before
