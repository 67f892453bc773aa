"""Lock, journal and retention."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from nanobrag_loop import runs
from nanobrag_loop.errors import RefusedError

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

HOLD = """
import sys, time
from pathlib import Path
from nanobrag_loop import runs
with runs.lock(Path(sys.argv[1]), "test holder"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    path = tmp_path / "nbloop.lock"
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    yield path, child
    child.kill()
    child.wait()


def test_the_second_runner_is_refused_with_the_holders_data(holder):
    path, child = holder
    with pytest.raises(RefusedError) as caught, runs.lock(path, "second"):
        pass
    assert f"pid {child.pid}" in str(caught.value)
    assert "test holder" in str(caught.value)


def test_a_killed_holder_frees_the_lock_at_once(holder):
    path, child = holder
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with runs.lock(path, "next"):
        assert f"pid {os.getpid()}" in runs.holder(path)
    assert runs.holder(path) == "holder unknown"


def test_a_child_of_the_holder_does_not_keep_the_lock(tmp_path):
    path = tmp_path / "nbloop.lock"
    with runs.lock(path, "first"):
        child = subprocess.Popen(["sleep", "30"])
    try:
        with runs.lock(path, "second"):
            pass
    finally:
        child.kill()
        child.wait()


def test_the_journal_is_readable_after_each_phase(tmp_path):
    run = runs.open_run(tmp_path, "engineer", {"item": "TOY-001"}, lambda: NOON)
    assert run.id.startswith("20261123T120000Z-")
    run.mark("prepared", lambda: NOON + timedelta(seconds=5), prompt_sha256="x")
    again = runs.find(tmp_path, run.id)
    assert (again.phase, again.journal["item"], again.journal["prompt_sha256"]) == ("prepared", "TOY-001", "x")
    assert again.journal["times"] == {"opened": "2026-11-23T12:00:00Z", "prepared": "2026-11-23T12:00:05Z"}
    assert again.reached("opened")
    assert not again.reached("running")
    assert [found.id for found in runs.unfinished(tmp_path)] == [run.id]
    assert (tmp_path / ".nbloop" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "other", "phase": "opened"}', '{"phase": "dreaming"}'])
def test_a_damaged_journal_is_refused_and_kept(tmp_path, text):
    run = runs.open_run(tmp_path, "engineer", {})
    (run.folder / "run.json").write_text(text)
    with pytest.raises(RefusedError, match="damaged journal"):
        runs.all_runs(tmp_path)
    assert (run.folder / "run.json").read_text() == text


def test_a_full_disk_leaves_the_old_journal(tmp_path):
    run = runs.open_run(tmp_path, "engineer", {})
    before = (run.folder / "run.json").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            run.mark("prepared", long="x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (run.folder / "run.json").read_bytes() == before
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]


def closed(root, hour, **facts):
    run = runs.open_run(root, "engineer", facts, lambda: NOON + timedelta(hours=hour))
    run.mark("closed")
    return run.id


def test_pruning_takes_the_oldest_and_failed_ones_last(tmp_path):
    failed, *good = (
        closed(tmp_path, hour, result=result) for hour, result in enumerate(["failed", "partial", "success", "partial"])
    )
    parked = closed(tmp_path, -1, result="success", parked="branch")
    still_open = runs.open_run(tmp_path, "engineer", {}, lambda: NOON - timedelta(days=9)).id
    assert runs.prune(tmp_path, keep=2) == good[:2]
    assert {run.id for run in runs.all_runs(tmp_path)} == {failed, good[2], parked, still_open}
    assert runs.prune(tmp_path, keep=9, keep_bytes=0) == [good[2], failed]


def test_find_by_prefix(tmp_path):
    first = closed(tmp_path, 0)
    second = closed(tmp_path, 1)
    assert runs.find(tmp_path, first).id == first
    assert runs.find(tmp_path, "last").id == second
    with pytest.raises(RefusedError, match="ambiguous"):
        runs.find(tmp_path, "2026")
    with pytest.raises(RefusedError, match="no such run"):
        runs.find(tmp_path, "1999")


def test_runs_of_one_second_keep_their_order(tmp_path):
    opened = [closed(tmp_path, milliseconds / 3_600_000) for milliseconds in (0, 0.1, 250, 999.9)]
    assert [run.id for run in runs.all_runs(tmp_path)] == opened
    assert {run_id[:-4] for run_id in opened} == {"20261123T120000Z-"}


def test_the_journal_is_one_json_object(tmp_path):
    run = runs.open_run(tmp_path, "engineer", {"text": "é\udcff"})
    assert json.loads((run.folder / "run.json").read_text(errors="surrogateescape"))["schema"] == 1
