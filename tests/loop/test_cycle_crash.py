"""A run killed in every phase: `--resume` leaves one entry or none, no lost patch, no stale lock or worktree."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fake_agent_repo import FAST_GATES, make_toy, running

from nanobrag_loop import runs
from nanobrag_loop.agents.process import members

PHASES = [phase for phase in runs.PHASES if phase != "opened"]

RUNNER = """
import os, signal, sys, time
from pathlib import Path
from nanobrag_loop import config, gitio, landing, runs
from nanobrag_loop.preparation import Wish
from nanobrag_loop.session import Session

root, moment = Path(sys.argv[1]), sys.argv[2]
die = lambda *args: os.kill(os.getpid(), signal.SIGKILL)

def watch(cycle, phase):
    # An agent dies with its runner: what it is to leave, if that is given, it has to write before.
    while phase == moment and sys.argv[3:] and sys.argv[3] not in (cycle.tree_folder / "src/toy.py").read_text():
        time.sleep(0.05)
    if phase == moment:
        die()

if moment == "opened":
    observe = die
else:
    def observe(cycle):
        cycle.on_phase = lambda phase: watch(cycle, phase)
if moment == "after the merge, before its mark":
    merge = landing.merge
    landing.merge = lambda *args: (merge(*args), die())
if moment == "before the commit":
    landing.stage = die
with runs.lock(gitio.common_dir(root) / "nbloop.lock", "test"):
    Session(root, config.load(root), Wish(agent="fake"), 1, observe=observe).run()
"""

FIX = [
    {"replace": {"path": "src/toy.py", "old": " + 0.5", "new": ""}},
    {"replace": {"path": "src/toy.py", "old": "a * 3", "new": "a * 2"}},
]
SUCCESS = {"result": {"result": "success"}}


@pytest.mark.parametrize("moment", ["opened", *PHASES, "before the commit", "after the merge, before its mark"])
def test_killed(tmp_path, moment):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    wait = [{"sleep": 30}] if moment == "running" else []
    toy.scenario(*FIX, *wait, SUCCESS)
    head = toy.head()
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(toy.root), moment, *(["a * 2"] if moment == "running" else [])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = runs.all_runs(toy.root)[-1]
    if moment == "closed":
        assert run.finished
    else:
        toy.loop("run", "--role", "engineer", check=4)
        toy.loop("run", "--resume")

    run = runs.find(toy.root, run.id)
    entries = toy.ledger().count(f"/{run.id}-")
    assert run.finished
    if moment in ("opened", "prepared"):
        assert (entries, run.journal["result"], toy.head()) == (0, "aborted", head)
    else:
        assert entries == 1
        assert "+    return a * 2" in run.file("change.patch").read_text()
        trailers = toy.git("log", "--format=%(trailers:key=Loop-Run,valueonly,separator=%x2C)", f"{head}..main").split()
        assert trailers == [run.id] * (1 if moment == "running" else 2)
        assert run.journal["result"] == ("failed" if moment == "running" else "success")
        assert ("return a * 2" in toy.git("show", "main:src/toy.py")) is (moment != "running")
    assert toy.git("worktree", "list").count("\n") == 1
    assert not list((toy.root / ".nbloop").glob("wt/*"))
    assert toy.git("status", "--porcelain") == ""
    assert members(-1, run.id) == []
    with runs.lock(toy.root / ".git/nbloop.lock", "free"):
        pass


@pytest.mark.parametrize("moment", ["decided", "committed"])
def test_the_branch_moves_before_the_run_is_resumed(tmp_path, moment):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    toy.scenario(*FIX, SUCCESS)
    subprocess.run([sys.executable, "-c", RUNNER, str(toy.root), moment], capture_output=True, timeout=60)
    (toy.root / "scripts/more.py").write_text("x = 1\n")
    toy.git("add", "scripts/more.py")
    toy.git("commit", "-q", "-m", "a person's")
    toy.loop("run", "--resume")
    assert toy.git("log", "--format=%s", "-1", "main~2").strip() == "a person's"
    assert toy.git("show", "--name-only", "--format=", "main~1").split() == ["src/toy.py"]
    assert toy.ledger().count("Attempt #") == 1
    assert runs.unfinished(toy.root) == []


def test_the_interrupted_attempt_says_so(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    toy.scenario({"sleep": 30})
    subprocess.run([sys.executable, "-c", RUNNER, str(toy.root), "running"], capture_output=True, timeout=60)
    toy.loop("run", "--resume")
    assert "failed (no report: interrupted" in toy.ledger()
    record = json.loads(next((toy.root / "reports/loop").glob("*/*.json")).read_text())
    assert [(row["code"], row["severity"]) for row in record["guard"]] == [("L8", "W")]


def test_the_agent_dies_with_its_runner_and_the_rest_is_ended_later(tmp_path):
    """The kernel ends the agent; what the agent started in a session of its own is found when the run is resumed."""
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    toy.scenario({"shell": f"setsid sleep 60 & echo $! > {tmp_path}/pid"}, {"sleep": 30})
    runner = subprocess.Popen(
        [sys.executable, "-m", "nanobrag_loop", "run", "--role", "engineer", "--agent", "fake"],
        cwd=toy.root,
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    runner.kill()
    runner.wait()
    run = runs.all_runs(toy.root)[-1]
    end = time.monotonic() + 5
    while running(run.journal["pid"]) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(run.journal["pid"])
    other = int((tmp_path / "pid").read_text())
    assert running(other)
    toy.loop("run", "--resume")
    assert not running(other)


def test_another_process_with_the_same_pid_is_left_alone(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    toy.scenario({"sleep": 30})
    subprocess.run([sys.executable, "-c", RUNNER, str(toy.root), "running"], capture_output=True, timeout=60)
    run = runs.all_runs(toy.root)[-1]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.journal["pid"], signal.SIGKILL)
    time.sleep(0.1)  # start times are known to a hundredth of a second
    stranger = subprocess.Popen(["sleep", "30"], start_new_session=True)
    try:
        run.note(pid=stranger.pid)
        toy.loop("run", "--resume")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
