"""Trouble around the cycle: a clear refusal with its exit code, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fake_agent_repo import FAST_GATES, ITEM, LEDGER, make_toy, running, sh

from nanobrag_loop import runs
from nanobrag_loop.agents.process import members
from nanobrag_loop.ledger import edit as document
from nanobrag_loop.ledger.cst import Document

FIX = [
    {"replace": {"path": "src/toy.py", "old": " + 0.5", "new": ""}},
    {"replace": {"path": "src/toy.py", "old": "a * 3", "new": "a * 2"}},
    {"result": {"result": "success"}},
]


@pytest.fixture
def toy(tmp_path):
    return make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})


def commit(where, name, text, message="change"):
    (where / name).write_text(text)
    sh(where, "git", "add", name)
    sh(where, "git", "-c", "user.name=P", "-c", "user.email=p@localhost", "commit", "-q", "-m", message)


def colleague(toy, name, text):
    """Someone else pushes a commit."""
    other = toy.root.parent / "other"
    if not other.exists():
        sh(toy.root.parent, "git", "clone", "-q", str(toy.remote), str(other))
    sh(other, "git", "pull", "-q")
    commit(other, name, text)
    sh(other, "git", "push", "-q")
    return sh(other, "git", "rev-parse", "HEAD").strip()


def refused(toy, code, *words, args=()):
    head, status = toy.head(), toy.git("status", "--porcelain")
    done = toy.loop("run", "--role", "engineer", "--agent", "noop", *args, check=code)
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert (toy.head(), toy.git("status", "--porcelain")) == (head, status)
    return done


def test_detached_head(toy):
    toy.git("checkout", "-q", "--detach")
    refused(toy, 4, "detached", "git switch main")


def test_wrong_branch(toy):
    toy.git("switch", "-q", "-c", "feature")
    refused(toy, 4, "'feature'", "'main'")


def test_merge_in_progress(toy):
    (toy.root / ".git/MERGE_HEAD").write_text(toy.head() + "\n")
    refused(toy, 4, "a merge is in progress")


def test_index_lock_is_reported_and_left(toy):
    lock = toy.root / ".git/index.lock"
    lock.touch()
    done = toy.loop("run", "--role", "engineer", "--agent", "noop", check=4)
    assert "index.lock exists" in done.stderr
    assert lock.exists()


def test_upstream_ahead_is_pulled_once(toy):
    tip = colleague(toy, "README.md", "# Newer\n")
    toy.loop("run", "--role", "engineer", "--agent", "noop")
    assert toy.git("rev-parse", "main~1").strip() == tip


def test_diverged_upstream(toy):
    colleague(toy, "README.md", "# Theirs\n")
    commit(toy.root, "README.md", "# Ours\n")
    refused(toy, 5, "diverged")


def test_pull_conflict_with_a_dirty_file(toy):
    colleague(toy, "README.md", "# Theirs\n")
    (toy.root / "README.md").write_text("# Being edited\n")
    refused(toy, 5, "README.md")
    assert (toy.root / "README.md").read_text() == "# Being edited\n"


def test_unreachable_remote_does_not_stop_local_work(toy):
    toy.remote.rename(toy.remote.with_name("gone.git"))
    done = toy.loop("run", "--role", "engineer", "--agent", "noop")
    assert "not pulled" in done.stderr
    assert "Attempt #1" in toy.ledger()


def test_a_dirty_tree_is_fine_while_it_does_not_overlap(toy):
    (toy.root / "README.md").write_text("# Being edited\n")
    toy.scenario(*FIX)
    toy.loop("run", "--role", "engineer", "--agent", "fake")
    assert "return a * 2" in (toy.root / "src/toy.py").read_text()
    assert (toy.root / "README.md").read_text() == "# Being edited\n"


def test_a_dirty_overlap_is_refused_and_resumed_later(toy):
    (toy.root / "src/toy.py").write_text("being edited\n")
    toy.scenario(*FIX)
    done = toy.loop("run", "--role", "engineer", "--agent", "fake", check=5)
    assert "src/toy.py" in done.stderr
    assert (toy.root / "src/toy.py").read_text() == "being edited\n"
    toy.git("restore", "src/toy.py")
    toy.loop("run", "--resume")
    assert toy.ledger().count("Attempt #") == 1
    assert "return a * 2" in (toy.root / "src/toy.py").read_text()


def test_a_dirty_ledger_is_committed_and_the_run_resumed(toy):
    """What the refusal advises leads on: the attempt is built again on the commit that the person made."""
    path = toy.root / "docs/fix_plan.md"
    path.write_text(path.read_text().replace("Risks/Assumptions: none", "Risks/Assumptions: mine"))
    toy.scenario(*FIX)
    done = toy.loop("run", "--role", "engineer", "--agent", "fake", check=5)
    assert "commit or move aside the changed files, then: nb-loop run --resume" in done.stderr
    toy.git("commit", "-q", "-am", "mine")
    toy.loop("run", "--resume")
    assert "Risks/Assumptions: mine" in toy.ledger()
    assert toy.ledger().count("Attempt #") == 1
    assert "return a * 2" in toy.git("show", "main:src/toy.py")
    assert toy.git("status", "--porcelain") == ""


MOVED = """
import subprocess, sys
from pathlib import Path
from nanobrag_loop import config, gitio, runs
from nanobrag_loop.preparation import Wish
from nanobrag_loop.session import Session

root, person = Path(sys.argv[1]), ["git", "commit", "-q", "--allow-empty", "-m", "a person's"]
moments = ["committed"]

def observe(cycle):
    cycle.on_phase = lambda phase: phase in moments and subprocess.run(person, cwd=root, check=moments.remove(phase))

with runs.lock(gitio.common_dir(root) / "nbloop.lock", "test"):
    raise SystemExit(Session(root, config.load(root), Wish(agent="fake"), 1, observe=observe).run())
"""


def test_the_branch_moves_at_the_last_moment(toy):
    """Between the commits and their merge: they are made anew."""
    toy.scenario(*FIX)
    done = subprocess.run([sys.executable, "-c", MOVED, str(toy.root)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert toy.git("log", "--format=%s", "-1", "main~2").strip() == "a person's"
    assert toy.ledger().count("Attempt #") == 1
    assert "return a * 2" in toy.git("show", "main:src/toy.py")


def test_a_person_leaves_the_branch_while_an_agent_works(toy):
    """The attempt is recorded on the branch, the person's checkout stays where it is."""
    switch = 'git -C "$(dirname "$(git rev-parse --path-format=absolute --git-common-dir)")" switch -q other'
    toy.git("branch", "other")
    toy.scenario({"shell": switch}, {"result": {"result": "success"}})
    done = toy.loop("run", "--role", "engineer", "--agent", "fake", check=1)
    assert "guard: P8" in done.stderr
    assert toy.ledger().count("Attempt #") == 1
    assert toy.git("branch", "--show-current").strip() == "other"
    assert toy.git("status", "--porcelain") == ""
    refused(toy, 4, "on branch 'other'", "git switch main")


def test_rejected_push_keeps_the_commits(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES}, push="after-cycle")
    hook = toy.remote / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    done = toy.loop("run", "--role", "engineer", "--agent", "noop", check=5)
    assert "not today" in done.stderr
    assert toy.ledger().count("Attempt #1") == 1
    hook.unlink()
    toy.loop("run", "--resume")
    assert sh(toy.remote, "git", "rev-parse", "main").strip() == toy.head()
    assert toy.ledger().count("Attempt #") == 1


@pytest.fixture
def pushing(tmp_path):
    return make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES}, push="after-cycle")


def test_a_colleague_pushed_to_the_ledger_meanwhile(pushing):
    """An attempt and a field on their side, an attempt and code on ours: both stand, theirs as it was published."""
    pushing.scenario({"sleep": 1}, *FIX)
    loop = started(pushing)
    text = pushing.ledger().replace("Risks/Assumptions: none", "Risks/Assumptions: theirs")
    numbered = document.add_attempt(Document.of(text), ITEM, "2026-11-01", "failed. theirs", {}).text
    colleague(pushing, "docs/fix_plan.md", numbered)
    assert loop.wait(60) == 0, loop.stderr.read()
    assert sh(pushing.remote, "git", "rev-parse", "main").strip() == pushing.head()
    ledger = pushing.ledger()
    assert "Risks/Assumptions: theirs" in ledger
    assert "Attempt #1 — Result: failed. theirs" in ledger
    assert "Attempt #2 — Result: success" in ledger
    assert "return a * 2" in pushing.git("show", "main:src/toy.py")
    pushing.loop("ledger", "lint", "docs/fix_plan.md")
    assert pushing.git("worktree", "list").count("\n") == 1


def test_a_colleague_pushed_code_meanwhile(pushing):
    """To a mere record it is joined; to code it is not, and the next cycle is refused until a person has merged."""
    pushing.scenario({"sleep": 1}, {"result": {"result": "diagnostic"}})
    loop = started(pushing)
    colleague(pushing, "README.md", "# Theirs\n")
    assert loop.wait(60) == 0, loop.stderr.read()
    assert pushing.git("show", "main:README.md") == "# Theirs\n"

    pushing.scenario({"sleep": 1}, *FIX)
    loop = started(pushing)
    colleague(pushing, "README.md", "# Theirs again\n")
    assert loop.wait(60) == 5
    assert "have diverged" in loop.stderr.read()
    assert runs.unfinished(pushing.root) == []
    refused(pushing, 5, "have diverged", "merge or rebase by hand")
    pushing.git("pull", "-q", "--no-rebase", "--no-edit")
    pushing.loop("run", "--resume")
    assert sh(pushing.remote, "git", "rev-parse", "main").strip() == pushing.head()


def test_a_ledger_that_contradicts_is_not_joined(pushing):
    pushing.scenario({"sleep": 1}, *FIX)
    loop = started(pushing)
    colleague(pushing, "docs/fix_plan.md", pushing.ledger().replace("in_progress", "blocked"))
    assert loop.wait(60) == 5
    assert "Status: both sides changed it" in loop.stderr.read()
    assert runs.unfinished(pushing.root) == []
    assert "<<<<" not in pushing.ledger()


def test_the_branch_moved_meanwhile(toy):
    """A person commits while the agent runs: the change is carried over, guarded and measured again."""
    toy.scenario({"sleep": 1}, *FIX)
    loop = subprocess.Popen(
        [sys.executable, "-m", "nanobrag_loop", "run", "--role", "engineer", "--agent", "fake"],
        cwd=toy.root,
        stderr=subprocess.PIPE,
    )
    while not any(run.phase == "running" for run in runs.all_runs(toy.root)):
        time.sleep(0.05)
    time.sleep(0.3)
    commit(toy.root, "scripts/more.py", "x = 1\n")
    person = toy.head()
    assert loop.wait(60) == 0, loop.stderr.read()
    assert toy.git("rev-parse", "main~2").strip() == person
    assert "return a * 2" in toy.git("show", "main:src/toy.py")
    assert toy.git("show", "main:scripts/more.py") == "x = 1\n"


def test_two_loops_at_once(toy):
    toy.scenario({"sleep": 2}, *FIX)
    first = subprocess.Popen(
        [sys.executable, "-m", "nanobrag_loop", "run", "--role", "engineer", "--agent", "fake"],
        cwd=toy.root,
        stderr=subprocess.PIPE,
    )
    while not runs.all_runs(toy.root):
        time.sleep(0.05)
    second = toy.loop("run", "--role", "engineer", "--agent", "fake", check=4)
    assert f"pid {first.pid}" in second.stderr
    assert first.wait(60) == 0
    assert toy.ledger().count("Attempt #") == 1


def test_stop_file(toy):
    toy.scenario({"sleep": 30})
    loop = subprocess.Popen(
        [sys.executable, "-m", "nanobrag_loop", "run", "--role", "engineer", "--agent", "fake", "-n", "5"],
        cwd=toy.root,
        stderr=subprocess.PIPE,
    )
    while not any(run.phase == "running" for run in runs.all_runs(toy.root)):
        time.sleep(0.05)
    toy.loop("stop")
    assert loop.wait(30) == 0
    assert toy.ledger().count("Attempt #") == 1
    assert "stopped" in toy.loop("run", "--role", "engineer", "--agent", "noop").stderr
    toy.loop("stop", "--clear")


def test_stop_although_the_agent_takes_the_file_away(toy):
    own = 'd=$(dirname "$NBLOOP_RESULT")/../..'
    toy.scenario({"shell": f"{own}; while true; do rm -f $d/STOP; done"})
    loop = started(toy, "-n", "5")
    assert f"process {loop.pid} was told" in toy.loop("stop").stdout
    assert loop.wait(30) == 0
    (run,) = runs.all_runs(toy.root)
    assert {row["code"] for row in run.journal["findings"]} >= {"L7", "P8"}
    assert toy.ledger().count("Attempt #") == 1


def test_stop_signals_nobody_but_the_holder(toy):
    """The lock's file may say what it likes."""
    stranger = subprocess.Popen(["sleep", "30"])
    try:
        (toy.root / ".git/nbloop.lock").write_text(json.dumps({"pid": stranger.pid}))
        assert "no loop runs here" in toy.loop("stop").stdout
        time.sleep(0.2)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def started(toy, *argv, **more):
    """A loop whose agent is at work."""
    loop = subprocess.Popen(
        [sys.executable, "-m", "nanobrag_loop", "run", "--role", "engineer", "--agent", "fake", *argv],
        cwd=toy.root,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
    while not any(run.phase == "running" for run in runs.all_runs(toy.root)):
        assert loop.poll() is None, loop.stderr.read()
        time.sleep(0.05)
    return loop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_agent_before_the_runner(toy, number):
    """Also what the agent hid from its group and environment: the runner still knows its descent."""
    pid = toy.root.parent / "pid"
    toy.scenario({"shell": f"setsid env -i PATH=$PATH sleep 60 & echo $! > {pid}"}, {"sleep": 30})
    loop = started(toy)
    while not pid.exists() or not pid.read_text():
        time.sleep(0.05)
    loop.send_signal(number)
    _, err = loop.communicate(timeout=30)
    assert (loop.returncode, err.splitlines()[-1]) == (130, "nb-loop: interrupted")
    (run,) = runs.all_runs(toy.root)
    assert members(run.journal["pid"], run.id) == []
    assert not running(int(pid.read_text()))
    toy.loop("run", "--resume")
    assert "failed (no report: interrupted" in toy.ledger()


def test_a_closed_terminal_under_nohup(toy):
    toy.scenario({"sleep": 1}, *FIX)
    loop = started(toy, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    loop.send_signal(signal.SIGHUP)
    assert loop.wait(60) == 0, loop.stderr.read()
    assert "return a * 2" in toy.git("show", "main:src/toy.py")


@pytest.mark.parametrize(
    ("name", "text", "code", "words"),
    [
        ("docs/fix_plan.md", LEDGER.replace("- Priority: High\n", ""), 3, ["docs/fix_plan.md"]),
        ("docs/fix_plan.md", "<<<<<<< ours\n" + LEDGER, 3, ["docs/fix_plan.md:1"]),
        ("plans/gates.yaml", "schema: 1\nitems: {TOY-001: [{kind: hope}]}\n", 2, ["plans/gates.yaml:2", "hope"]),
        ("plans/loop.yaml", "schema: 1\nbrunch: main\n", 2, ["plans/loop.yaml", "brunch"]),
        ("prompts/debug.md", "{{ itme.id }}\n", 2, ["prompts/debug.md", "itme"]),
        ("prompts/debug.md", "{% include 'nowhere.md' %}\n", 2, ["nowhere.md"]),
        ("plans/steering.yaml", "schema: 7\n", 2, ["plans/steering.yaml"]),
    ],
    ids=["ledger field", "conflict marker", "gates", "config", "prompt variable", "prompt include", "steering"],
)
def test_malformed_documents(toy, name, text, code, words):
    commit(toy.root, name, text)
    toy.git("push", "-q")
    refused(toy, code, *words)
    assert not list((toy.root / ".nbloop").glob("runs/*")) if (toy.root / ".nbloop").exists() else True


def test_full_disk(toy):
    """A limit on file size stands for the full disk: the run stops, and goes on when there is room."""
    toy.scenario(*FIX)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY));"
        "import runpy; sys.argv = ['nb-loop', 'run', '--role', 'engineer', '--agent', 'fake'];"
        "runpy.run_module('nanobrag_loop', run_name='__main__')"
    )
    head = toy.head()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=toy.root, capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert done.returncode not in (0, None)
    assert toy.head() == head
    assert "Traceback" not in done.stderr
    if runs.unfinished(toy.root):
        toy.loop("run", "--resume")
    toy.loop("run", "--role", "engineer", "--agent", "fake")
    assert "return a * 2" in toy.git("show", "main:src/toy.py")


def test_nothing_left_to_do(toy):
    toy.scenario(*FIX)
    toy.loop("run", "--role", "engineer", "--agent", "fake")
    done = toy.loop("run", "--role", "engineer", "--agent", "fake")
    assert "no item can be worked on" in done.stderr


def test_dry_run_changes_nothing(toy):
    before = sh(toy.root, "sh", "-c", "find . -type f -not -path './.git/index' | sort | xargs sha256sum | sha256sum")
    done = toy.loop("run", "--dry-run")
    for word in (
        "route    debug",
        "item     TOY-001, attempt 1",
        "chosen: in_progress",
        "TOY-001#1 (criterion 1, text)",
        "# Debug: TOY-001",
    ):
        assert word in done.stdout
    assert (
        sh(toy.root, "sh", "-c", "find . -type f -not -path './.git/index' | sort | xargs sha256sum | sha256sum")
        == before
    )
