"""The agents that need no model, run as the runner runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from fake_agent_repo import sh

from nanobrag_loop.agents.result import read
from nanobrag_loop.agents.shellwords import Unrunnable, parse


@pytest.fixture
def task(tmp_path):
    """Run an agent on an item with these reproduction commands; the claim and the process."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "test_x.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 1 == 2\n@pytest.mark.skip\ndef test_c(): pass\n"
    )
    (tree / "tracked.txt").write_text("as it was\n")
    sh(tree, "git", "init", "-q")
    sh(tree, "git", "add", ".")
    sh(tree, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "x")
    (tmp_path / "artifacts").mkdir()

    def start(agent, reproduction=None, attempt=1, check=0):
        context = {"item": {"id": "TOY-001", "reproduction": reproduction or {}}, "attempt": attempt}
        (tmp_path / "context.json").write_text(json.dumps(context))
        env = {
            **os.environ,
            "NBLOOP_CONTEXT": str(tmp_path / "context.json"),
            "NBLOOP_RESULT": str(tmp_path / "result.json"),
            "NBLOOP_ARTIFACTS": str(tmp_path / "artifacts"),
            "NBLOOP_REPLAY": str(tmp_path / "replay"),
        }
        command = [sys.executable, "-m", "nanobrag_loop.agents.builtin", agent]
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
        assert done.returncode == check, done.stderr
        return read(tmp_path / "result.json", tmp_path / "artifacts") if check == 0 else done

    start.tree, start.artifacts, start.replay = tree, tmp_path / "artifacts", tmp_path / "replay" / "TOY-001"
    return start


def test_noop(task):
    assert task("noop").result == "diagnostic"


def test_a_test_that_could_not_run_is_no_divergence(task):
    fixture = "import pytest\n@pytest.fixture\ndef program(): raise OSError('none')\n"
    (task.tree / "conftest.py").write_text(fixture)
    (task.tree / "test_y.py").write_text("def test_e(program): pass\ndef test_f(program): pass\n")
    claim = task("reproduce", {"C": "n/a", "PyTorch": "`pytest -q test_y.py`", "Shapes/ROI": "n/a"})
    assert claim.first_divergence is None
    assert [text for text in claim.observations if text.startswith("A test could not run: test_y::test_e: ")]
    assert len([text for text in claim.observations if "could not run" in text]) == 1
    assert {row["name"]: row["value"] for row in claim.metrics}["PyTorch.errors"] == 2


def test_reproduce_runs_both_commands_and_reports_what_came_out(task):
    claim = task(
        "reproduce",
        {
            "C": "`echo corr=0.9658 peaks = 43/50 v1.2`",
            "PyTorch": "`env X=1 pytest -q test_x.py`",
            "Shapes/ROI": "`no`",
        },
    )
    values = {row["name"]: row["value"] for row in claim.metrics}
    assert claim.result == "diagnostic"
    assert values["C.corr"] == 0.9658
    assert (values["PyTorch.passed"], values["PyTorch.failed"], values["PyTorch.skipped"]) == (1, 1, 1)
    assert values["PyTorch.exit_code"] == 1
    assert "test_b" in claim.first_divergence
    assert any("skipped, which is no pass" in line for line in claim.observations)
    assert set(claim.artifacts) == {"c.log", "pytorch.log"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("`git show HEAD:x > /tmp/x`", "needs a shell ('>')"),
        ("`a | b`", "needs a shell"),
        ("`echo $(id)`", "needs a shell"),
        ("`NB_C_BIN=./x -lambda 6.2`", "(W211)"),
        ("`X=1`", "(W211)"),
        ("run it", "(W210)"),
        ("`echo 'open`", "(W210)"),
        ("`no-such-program --x`", "could not start"),
    ],
)
def test_what_is_not_run_is_named(task, command, words):
    claim = task("reproduce", {"C": command, "PyTorch": "n/a"})
    assert any(words in line for line in claim.observations)
    assert claim.next_actions
    assert not (task.tree / "x").exists()


def test_not_applicable_asks_for_nothing(task):
    claim = task("reproduce", {"C": "n/a (policy)", "PyTorch": "n/a"})
    assert claim.summary.endswith("no command could be run.")
    assert not any("Correct" in line for line in claim.next_actions)


def test_reproduce_leaves_the_tree_as_it_was(task):
    code = "open('new.json','w').write('{}'); open('tracked.txt','w').write('changed')"
    claim = task("reproduce", {"C": f'`python -c "{code}"`', "PyTorch": "n/a"})
    assert sh(task.tree, "git", "status", "--porcelain") == ""
    assert (task.tree / "tracked.txt").read_text() == "as it was\n"
    assert "new.json" in claim.artifacts
    assert any("tracked.txt; it was put back" in line for line in claim.observations)


def test_replay(task):
    folder = task.replay / "2"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "a.txt").write_text("a")
    (folder / "result.json").write_text(
        json.dumps({"schema": 1, "result": "partial", "summary": "then", "artifacts": ["a.txt"]})
    )
    (folder / "change.patch").write_text("--- a/tracked.txt\n+++ b/tracked.txt\n@@ -1 +1 @@\n-as it was\n+as it is\n")
    assert task("replay", attempt=2).result == "partial"
    assert (task.tree / "tracked.txt").read_text() == "as it is\n"
    assert "no recording" in task("replay", attempt=3, check=2).stderr


def test_assignments_become_environment():
    command = parse("`env A=1 B='x y' python -c pass`")
    assert (command.env, command.argv) == ({"A": "1", "B": "x y"}, ("python", "-c", "pass"))
    assert parse("`A=1 prog -k 'a > b'`").argv == ("prog", "-k", "a > b")
    with pytest.raises(Unrunnable) as caught:
        parse("n/a — reason")
    assert caught.value.not_applicable
