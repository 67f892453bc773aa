"""Files that somebody wrote wrongly, or that were damaged: one line that names the place, never a traceback."""

from __future__ import annotations

import json

import pytest
from fake_agent_repo import FAST_GATES, ITEM, make_toy

from nanobrag_loop import records

RECORD = "reports/loop/2026/x.json"
GATE = {"gate": "a", "kind": "path", "title": "t", "state": "fail"}
GOOD = {"schema": 1, "run": "20260101T000000Z-0000", "item": ITEM, "attempt": 1, "result": "failed", "gates": [GATE]}
JOURNAL = ".nbloop/runs/20260101T000000Z-0000/run.json"
CLOSED = '{"run": "20260101T000000Z-0000", "phase": "closed"'
LIST_KEY = b"schema: 1\n? [a, b]\n: 1\n"
BAD_RECORDS = {
    "list": [1],
    "schema": {**GOOD, "schema": 2},
    "run": {**GOOD, "run": 3},
    "item": {**GOOD, "item": [1]},
    "attempt": {**GOOD, "attempt": "one"},
    "half a character": {**GOOD, "reason": "\ud800"},
    "gate": {**GOOD, "gates": [3]},
    "gates": {**GOOD, "gates": 3},
    "no state": {**GOOD, "gates": [{"gate": "a"}]},
    "value": {**GOOD, "gates": [{**GATE, "value": "x"}]},
    "huge value": {**GOOD, "gates": [{**GATE, "value": 10**400}]},
    "threshold": {**GOOD, "gates": [{**GATE, "threshold": {}}]},
    "counts": {**GOOD, "gates": [{**GATE, "counts": {"skipped": "x"}}]},
    "guard": {**GOOD, "guard": ["A1"]},
    "finding": {**GOOD, "guard": [{"code": "A1"}]},
    "artifact": {**GOOD, "artifacts": [{}]},
    "next actions": {**GOOD, "next_actions": "x"},
}


@pytest.mark.parametrize("data", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_record_that_is_none(data):
    with pytest.raises(ValueError, match="."):
        records.from_text(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "{\udcff"], ids=["empty", "cut", "deep", "bytes"])
def test_a_record_that_is_no_json(text):
    with pytest.raises(ValueError, match="."):
        records.from_text(text)


def test_a_good_record_keeps_what_it_does_not_know():
    record = records.from_text(json.dumps({**GOOD, "blocked_on": "x"}))
    assert (record.gates[0].state, record.extra) == ("fail", {"blocked_on": "x"})


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("input"), {"plans/gates.yaml": FAST_GATES})


@pytest.fixture
def written(toy):
    """Write a file and commit it; everything is as before afterwards."""
    head = toy.head()

    def write(name, data):
        path = toy.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        toy.git("add", "--all")
        toy.git("commit", "-q", "--allow-empty", "-m", "a mistake")

    yield write
    toy.git("reset", "-q", "--hard", head)
    toy.git("clean", "-q", "-fdx")


@pytest.mark.parametrize(
    ("name", "data", "argv", "words"),
    [
        ("plans/gates.yaml", b"schema: 1\n# \xff\n", "ledger lint", "plans/gates.yaml:2: expected printable text"),
        (
            "plans/gates.yaml",
            LIST_KEY,
            "run --role engineer --agent noop",
            "plans/gates.yaml:2: expected a text as key",
        ),
        ("plans/loop.yaml", LIST_KEY, "runs list", "plans/loop.yaml:2: expected a text as key"),
        ("plans/loop.yaml", b"schema: 1\nledger: \xff\n", "doctor", "plans/loop.yaml:2: expected printable text"),
        ("prompts/debug.md", b"\n{% if %}\n", "prompt render", "prompts/debug.md:2: Expected an expression"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(toy, written, name, data, argv, words):
    written(name, data)
    done = toy.loop(*argv.split(), check=2)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_preflight_names_a_broken_prompt_and_goes_on(toy, written):
    written("prompts/debug.md", b"\n{% if %}\n")
    done = toy.loop("doctor", check=1)
    assert "prompts/debug.md:2: Expected an expression" in done.stdout
    assert "prompt main.md" in done.stdout


def test_a_name_that_is_no_text_is_shown(toy, written):
    written("docs/index.md", b"# Index\n\n- [Rules](../CLAUDE.md)\n- [A](a\xff.md)\n")
    written("docs/a\udcff.md", b"x\n")
    done = toy.loop("assets", "list", env={"PYTHONIOENCODING": "utf-8:strict"})
    assert "docs/a\\udcff.md" in done.stdout


READERS = ("ledger lint", f"gates history {ITEM}", "prompt render", "run --role supervisor", "report")


@pytest.mark.parametrize("argv", READERS)
def test_a_broken_record_is_passed_over(toy, written, argv):
    written(RECORD, json.dumps(BAD_RECORDS["gate"]).encode())
    assert "Traceback" not in toy.loop(*argv.split()).stderr


def test_a_broken_record_is_found_by_verify(toy, written):
    written(RECORD, json.dumps(BAD_RECORDS["gate"]).encode())
    assert f"{RECORD}: expected an object, got '3'" in toy.loop("runs", "verify", check=1).stdout


@pytest.mark.parametrize(("more", "code"), [("}", 0), (', "role": [1]}', 4), (', "item": 3}', 4)])
def test_a_journal_that_lacks_something(toy, written, more, code):
    written(JOURNAL, (CLOSED + more).encode())
    done = toy.loop("runs", "list", check=code)
    assert done.stderr.count("\n") == (code != 0)
