"""A disk that is really full: the run stops with a line that says so, loses nothing, and goes on when there is room."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fake_agent_repo import FAST_GATES, make_toy

from nanobrag_loop import runs

FIX = [
    {"replace": {"path": "src/toy.py", "old": " + 0.5", "new": ""}},
    {"replace": {"path": "src/toy.py", "old": "a * 3", "new": "a * 2"}},
    {"result": {"result": "success"}},
]


@pytest.fixture
def disk(tmp_path):
    """A folder that is a file system of 8 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, left: int) -> Path:
    """A file that leaves `left` bytes of the file system free."""
    filler = folder / "filler"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    filler.write_bytes(b"\0" * (free - left))
    return filler


@pytest.mark.parametrize("kib", [0, 64, 140, 220, 300])
def test_no_space_left(disk, kib):
    """Space for less and less of a run: nothing, a journal, a worktree, the agent's work, the gates' checkout."""
    toy = make_toy(disk, {"plans/gates.yaml": FAST_GATES})
    toy.scenario(*FIX)
    head = toy.head()
    filler = fill(disk, kib * 1024)
    done = toy.loop("run", "--role", "engineer", "--agent", "fake", check=None)
    filler.unlink()
    assert done.returncode
    assert done.stderr.strip().splitlines()[-1].startswith("nb-loop: ")
    assert "Traceback" not in done.stderr
    toy.git("fsck", "--strict")
    toy.loop("run", "--resume", check=None)
    assert runs.unfinished(toy.root) == []
    if toy.head() == head:
        toy.loop("run", "--role", "engineer", "--agent", "fake")
    assert toy.git("status", "--porcelain") == ""
    assert toy.git("worktree", "list").count("\n") == 1
    assert toy.ledger().count("Attempt #") == 1
    assert len(list((toy.root / "reports/loop").glob("*/*.json"))) == 1
