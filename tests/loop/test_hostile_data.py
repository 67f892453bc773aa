"""What an agent leaves may be anything: the attempt has failed, or it counts without that; the loop goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from fake_agent_repo import FAST_GATES, GATES, ROOT, make_toy, sh

from nanobrag_loop import runs
from nanobrag_loop.agents.adapters import Claude

FIX = [
    {"replace": {"path": "src/toy.py", "old": " + 0.5", "new": ""}},
    {"replace": {"path": "src/toy.py", "old": "a * 3", "new": "a * 2"}},
]
SUCCESS = {"result": {"result": "success"}}
HUGE = "9" * 400
SUPERVISOR = {"roles": {"supervisor": {"agent": "fake", "prompt": "prompts/supervisor.md"}}}


def python(code: str) -> dict:
    return {"shell": f"{sys.executable} - <<'X'\nimport os\n{code}\nX"}


def deep(start: str, name: str, count: int) -> dict:
    """Folders in each other, made one by one: no path names the innermost."""
    return python(f"os.chdir({start})\nfor n in range({count}):\n    os.mkdir({name!r}); os.chdir({name!r})\n"
                  "open('x.json', 'w').write('{}')")  # fmt: skip


FAILED = {
    "a huge number": {"result": f'{{"schema": 1, "result": "success", "metrics": [{{"name": "n", "value": {HUGE}}}]}}'},
    "a long name": {"result": {"result": "success", "artifacts": ["a" * 300]}},
    "a name with a zero byte": {"result": {"result": "success", "artifacts": ["a\0b"]}},
    "a changed file whose name is no text": python("open(b'docs/\\xff.md', 'w').write('x')"),
    "a repository of its own that borrows objects": {
        "shell": "h=$(git rev-parse HEAD); o=$(git rev-parse --path-format=absolute --git-common-dir)/objects; "
                 "rm .git; git init -q; echo $o > .git/objects/info/alternates; echo $h > .git/HEAD"},
}  # fmt: skip

COUNTED = {
    "many folders in each other": deep("'docs'", "a", 1500),
    "long folders in each other": deep("'docs'", "a" * 200, 60),
    "evidence whose name is no text": python(
        "open(os.environb[b'NBLOOP_ARTIFACTS'] + b'/\\xff.json', 'w').write('{}')"),
    "evidence whose name has two lines": python(
        "open(os.environ['NBLOOP_ARTIFACTS'] + '/a\\nb.json', 'w').write('{}')"),
    "evidence with conflict markers": {
        "artifact": {"name": "m.txt", "text": "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> x\n"}},
    "evidence in long folders": deep("os.environ['NBLOOP_ARTIFACTS']", "a" * 200, 60),
    "evidence in many folders": deep("os.environ['NBLOOP_ARTIFACTS']", "a", 1500),
    "proposals that are no text": {"result": {"result": "success", "next_item": "\ud800"}},
}  # fmt: skip


@pytest.fixture
def toy(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    hook = toy.root / ".git/hooks/pre-commit"
    hook.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT}/src exec {sys.executable} -m nanobrag_loop.hooks pre-commit\n")
    hook.chmod(0o755)
    yield toy
    # Folders too deep for Python's own way to remove them.
    sh(tmp_path, "rm", "-rf", str(toy.root))


def record(toy) -> dict:
    (path,) = (toy.root / "reports/loop").glob("*/*.json")
    return json.loads(path.read_text())


def goes_on(toy, done) -> None:
    assert "Traceback" not in done.stderr
    assert runs.unfinished(toy.root) == []
    assert toy.git("status", "--porcelain") == ""
    assert not list((toy.root / ".nbloop").glob("wt/*"))
    for words in (["runs", "show", "last"], ["runs", "verify"]):
        assert "Traceback" not in toy.loop(*words, check=None).stderr
    toy.scenario({"result": {"result": "diagnostic"}})
    toy.loop("run", "--role", "engineer", "--agent", "fake")
    toy.loop("runs", "prune", "--keep", "0")
    assert list((toy.root / ".nbloop/runs").iterdir()) == []


@pytest.mark.parametrize("name", FAILED)
def test_failed(toy, name):
    toy.scenario(*FIX, *([] if "result" in FAILED[name] else [SUCCESS]), FAILED[name])
    before = toy.tree_without_ledger()
    done = toy.loop("run", "--role", "engineer", "--agent", "fake", check=None)
    assert record(toy)["result"] == "failed"
    assert toy.tree_without_ledger() == before
    goes_on(toy, done)


@pytest.mark.parametrize("name", COUNTED)
def test_left_out(toy, name):
    """The change counts; what cannot be kept stays out of git and is accounted for where it has a path."""
    toy.scenario(*FIX, SUCCESS, COUNTED[name])
    done = toy.loop("run", "--role", "engineer", "--agent", "fake")
    assert record(toy)["result"] == "success", done.stderr
    assert {row["kept"] for row in record(toy)["artifacts"]} <= {"local"}
    assert "return a * 2" in toy.git("show", "main:src/toy.py")
    goes_on(toy, done)


NOTES = {"artifact": {"name": "notes.txt", "text": "x"}}


def with_hook(toy, command: str) -> None:
    (toy.root / ".git/hooks/pre-commit").write_text(f"#!/bin/sh\n{command}\n")


def test_evidence_that_a_hook_refuses(toy):
    """What is not foreseen here: the attempt is recorded without what cannot be."""
    with_hook(toy, "! git diff --cached --name-only | grep -q notes.txt")
    toy.scenario(*FIX, NOTES, {"result": {"result": "success", "artifacts": ["notes.txt"]}})
    before = toy.tree_without_ledger()
    done = toy.loop("run", "--role", "engineer", "--agent", "fake", check=7)
    assert record(toy)["reason"].startswith("no report: what the agent left cannot be used: GitError")
    assert toy.tree_without_ledger() == before
    assert (runs.find(toy.root, "last").folder / "artifacts.unusable/notes.txt").read_text() == "x"
    goes_on(toy, done)


def test_what_fails_without_the_evidence_too_is_no_fault_of_the_agent(toy):
    with_hook(toy, "echo not today >&2; exit 1")
    toy.scenario(*FIX, NOTES, {"result": {"result": "success", "artifacts": ["notes.txt"]}})
    assert "not today" in toy.loop("run", "--role", "engineer", "--agent", "fake", check=5).stderr
    with_hook(toy, "exit 0")
    toy.loop("run", "--resume")
    assert record(toy)["result"] == "success"
    assert any(row["path"].endswith("/notes.txt") and row["kept"] == "git" for row in record(toy)["artifacts"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (f"return {HUGE}", "not a finite number"),
        ("return 'x' * 100_000", "not a finite number"),
        ("import os; os.rename(json, f'{json}.old'); os.mkfifo(json); os._exit(0)", "no regular file"),
        ("open(json, 'w').write('[' * 100_000); os._exit(0)", "unreadable"),
    ],
    ids=["a huge number", "a long text", "a pipe", "deep JSON"],
)
def test_what_a_gate_measures(tmp_path, body, words):
    """The number comes from a program that runs what the agent wrote, in a file that this code can reach."""
    toy = make_toy(tmp_path, {"plans/gates.yaml": GATES, "scripts/measure.py": MEASURE})
    code = f"import os, sys\n\njson = sys.argv[-1]\n\n\ndef add(a, b):\n    {body}\n\n\n{SCALE}"
    toy.scenario({"write": {"path": "src/toy.py", "text": code}}, SUCCESS)
    done = toy.loop("run", "--role", "engineer", "--agent", "fake")
    assert words in record(toy)["gates"][0]["detail"], done.stderr
    assert record(toy)["result"] == "failed"
    assert len(json.dumps(record(toy))) < 16 * 1024


SCALE = "def scale(a):\n    return a * 2\n"
MEASURE = """\
import json, sys
from toy import add
open(sys.argv[1], "w").write("{}")
json.dump({"error": add(1, 2)}, open(sys.argv[1], "w"))
"""


def test_usage_beyond_all_numbers():
    claude = Claude()
    for value in ("1e308", HUGE, "NaN", "-1"):
        usage = f'{{"input_tokens": {value}, "output_tokens": {value}}}'
        claude.feed(f'{{"type": "assistant", "message": {{"id": {value}, "usage": {usage}}}}}')
        claude.feed(f'{{"type": "result", "usage": {usage}, "total_cost_usd": {value}}}')
    assert (claude.usage.tokens, claude.usage.usd) == (None, None)


def test_the_item_is_taken_out_of_the_ledger_while_an_agent_works(toy):
    """A person did that in another clone and pulls: the attempt has its record, its change is kept on a branch."""
    toy.scenario({"sleep": 1}, *FIX, SUCCESS)
    loop = subprocess.Popen(
        [sys.executable, "-m", "nanobrag_loop", "run", "--role", "engineer", "--agent", "fake"],
        cwd=toy.root,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(run.phase == "running" for run in runs.all_runs(toy.root)):
        time.sleep(0.05)
    time.sleep(0.3)
    text = toy.ledger()
    start, stop = text.index("## [TOY-001]"), text.index("### Completed")
    lines = (text[:start] + text[stop:]).splitlines(keepends=True)
    (toy.root / "docs/fix_plan.md").write_text("".join(line for line in lines if not line.startswith("| [TOY-001]")))
    toy.git("commit", "-q", "--no-verify", "-am", "archive the item")
    _, err = loop.communicate(timeout=60)
    assert loop.returncode == 0, err
    assert record(toy)["result"] == "partial"
    assert "TOY-001" not in toy.ledger()
    assert "return a * 2" in toy.git("show", f"{runs.find(toy.root, 'last').journal['branch']}:src/toy.py")
    assert runs.unfinished(toy.root) == []


@pytest.mark.parametrize("wish", [{"next_item": {"a": 1}}, {"directives": "x", "plan_marks": [{"item": ["x"]}]},
                                  {"new_items": [{"id": 3, "title": [], "criteria": 1}]},
                                  {"status_changes": [{"item": {"a": []}, "status": []}]}])  # fmt: skip
def test_proposals_of_another_form(tmp_path, wish):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES}, **SUPERVISOR)
    toy.scenario({"result": {"result": "diagnostic", **wish}})
    done = toy.loop("run", "--role", "supervisor", check=1)
    assert "refused: " in done.stderr
    assert "Traceback" not in done.stderr
    toy.loop("run", "--role", "engineer", "--agent", "noop")


def test_a_run_that_nothing_brings_to_its_end_can_be_closed(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    folder = runs.runs_folder(toy.root) / "20260101T000000Z-abcd"
    folder.mkdir(parents=True)
    runs.Run(folder, {"schema": 1, "run": folder.name, "role": "engineer", "item": "TOY-001"}).mark("decided")
    toy.git("worktree", "add", "-q", "--detach", str(toy.root / ".nbloop/wt" / folder.name))
    toy.loop("run", "--role", "engineer", "--agent", "noop", check=4)
    assert "aborted" in toy.loop("runs", "abort", folder.name).stdout
    assert "closed already" in toy.loop("runs", "abort", folder.name, check=4).stderr
    assert sh(toy.root, "git", "worktree", "list").count("\n") == 1
    assert "TOY-001-1" not in toy.ledger()
    toy.loop("run", "--role", "engineer", "--agent", "noop")
