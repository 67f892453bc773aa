"""Parity decides which prompt may run; unknown counts as red."""

from __future__ import annotations

import pytest
from fake_agent_repo import FAST_GATES, make_toy

from nanobrag_loop import routing
from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError, RefusedError
from nanobrag_loop.gates import Gate, GateResult
from nanobrag_loop.routing import Parity

ROUTES = Config().routes
GATE = Gate("parity-matrix", 0, "pytest", {})


@pytest.mark.parametrize(
    ("state", "names"), [("green", ("debug", "main")), ("red", ("debug",)), ("unknown", ("debug",))]
)
def test_what_is_allowed(state, names):
    assert routing.allowed(ROUTES, Parity(state, "x")) == names


@pytest.mark.parametrize("state", ["red", "unknown"])
def test_a_wrong_prompt_is_refused_and_says_why(state):
    with pytest.raises(RefusedError, match=r"'main' is not allowed now \(allowed: debug\)\. Parity is .*: case p-x"):
        routing.route(ROUTES, Parity(state, "case p-x"), "main")


def test_green_takes_main_unless_debug_is_asked_for():
    green = Parity("green", "all passed")
    assert routing.route(ROUTES, green).name == "main"
    assert routing.route(ROUTES, green, "debug").name == "debug"


def test_an_override_is_written_down():
    route = routing.route(ROUTES, Parity("red", "x"), "main", "the maintainer is watching")
    assert (route.name, route.overridden) == ("main", "the maintainer is watching")


def test_no_rule_no_prompt():
    with pytest.raises(RefusedError, match="no rule"):
        routing.route([{"when": "parity == green", "allow": ["main"]}], Parity("red", "x"))


@pytest.mark.parametrize("condition", ["parity", "parity = green", "parity != blue", "phase == green", ""])
def test_conditions_are_checked(condition):
    with pytest.raises(ConfigError, match="routes: when"):
        routing.allowed([{"when": condition, "allow": []}], Parity("red", "x"))


def result(state):
    return GateResult("parity-matrix", "pytest", "t", state, "2 failed")


@pytest.mark.parametrize(
    ("states", "parity"),
    [
        (["pass"], "green"),
        (["pass", "fail"], "red"),
        (["unavailable"], "unknown"),
        (["error"], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_stored_measurement(tmp_path, states, parity):
    routing.remember_parity(tmp_path, "key", [result(state) for state in states], "2026-11-23T00:00:00Z")
    assert routing.read_parity(tmp_path, "key", GATE).state == parity
    assert routing.read_parity(tmp_path, "other tree", GATE).state == "unknown"
    assert routing.read_parity(tmp_path, "key", None).state == "unknown"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"gates": 3}'])
def test_a_damaged_measurement_is_unknown(tmp_path, text):
    (tmp_path / ".nbloop").mkdir()
    (tmp_path / ".nbloop/parity.json").write_text(text)
    assert routing.read_parity(tmp_path, "key", GATE).state == "unknown"


def test_the_key_follows_the_code_and_not_the_ledger():
    lines = ["100644 blob aa\tsrc/a.py", "100644 blob bb\tdocs/fix_plan.md", "100644 blob cc\treports/loop/2026/x.json"]
    key = routing.tree_key(lines, {"argv": 1})
    assert routing.tree_key([lines[0], "100644 blob dd\tdocs/fix_plan.md"], {"argv": 1}) == key
    assert routing.tree_key(["100644 blob ee\tsrc/a.py"], {"argv": 1}) != key
    assert routing.tree_key(lines, {"argv": 2}) != key


def test_in_a_repository(tmp_path):
    gates = FAST_GATES.replace(
        "items:", "parity-matrix: {kind: pytest, argv: [python, -m, pytest, -q, tests/test_parity.py]}\nitems:"
    )
    toy = make_toy(tmp_path, {"plans/gates.yaml": gates})
    refused = toy.loop("run", "--role", "engineer", "--agent", "noop", "--route", "main", check=4)
    assert "never measured" in refused.stderr
    assert "at a terminal" in toy.loop("run", "--route", "main", "--override-route", "because", check=4).stderr
    toy.loop("gates", "run", "parity")
    assert "route main" in toy.loop("run", "--role", "engineer", "--agent", "noop").stderr
    (toy.root / "tests/test_parity.py").write_text("def test_parity():\n    assert 1 + 1 == 3\n")
    toy.git("commit", "-q", "-am", "break parity")
    assert "another tree" in toy.loop("run", "--dry-run").stdout
    toy.loop("gates", "run", "parity", check=1)
    assert "route    debug: Parity is red" in toy.loop("run", "--dry-run").stdout
    toy.loop("gates", "run", "parity", "--at", "HEAD~1")
