"""An agent can write in a second what takes hours to read: the runner looks at sizes first."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path, PurePosixPath

import pytest
from fake_agent_repo import FAST_GATES, make_toy

from nanobrag_loop import gates, manifest, measure, worktrees

GIB = 1 << 30
KEEP = PurePosixPath("reports/x")


def sparse(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, size)
    return path


def test_evidence_is_hashed_up_to_a_cap(tmp_path):
    sparse(tmp_path / "a.bin", manifest.HASH_CAP - 10)
    sparse(tmp_path / "b.bin", manifest.HASH_CAP)
    (tmp_path / "c.txt").write_text("x")
    artifacts, copies = manifest.collect(tmp_path, KEEP)
    hashed = {Path(row.path).name: bool(row.sha256) for row in artifacts}
    assert hashed == {"a.bin": True, "b.bin": False, "c.txt": True}
    large = next(row for row in artifacts if row.path == "b.bin").as_dict()
    assert (large["bytes"], large["kept"]) == (manifest.HASH_CAP, "local")
    assert large["why"].endswith("too much to be hashed")
    assert "sha256" not in large
    assert list(copies) == [tmp_path / "c.txt"]


def test_what_is_kept_is_always_hashed(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "HASH_CAP", 1)
    (tmp_path / "a.txt").write_text("long enough")
    (artifact,), _ = manifest.collect(tmp_path, KEEP)
    assert (artifact.kept, artifact.why) == ("git", "")
    assert artifact.sha256


@pytest.mark.parametrize(
    ("sizes", "left_out"),
    [
        ({"docs/new.txt": 900}, set()),
        ({"docs/new.txt": 8 * GIB}, {"docs/new.txt"}),
        ({"src/toy.py": 8 * GIB}, {"src/toy.py"}),
        ({"src/toy.py": 0}, set()),
        ({"docs/a.txt": 600, "docs/b.txt": 700, "docs/c.txt": 300}, {"docs/b.txt"}),
        ({"src/toy.py": 8 * GIB, "docs/b.txt": 8 * GIB, "docs/c.txt": 300}, {"src/toy.py", "docs/b.txt"}),
        ({"docs/a\nb[*].txt": 8 * GIB}, {"docs/a\nb[*].txt"}),
    ],
)
def test_a_change_is_read_up_to_a_cap(tmp_path, sizes, left_out):
    toy = make_toy(tmp_path)
    before = toy.git("rev-parse", "HEAD:src/toy.py")
    for name, size in sizes.items():
        sparse(toy.root / name, size)
    tree, unread = worktrees.result_tree(toy.root, toy.head(), tmp_path / "index", 1000)
    assert unread.keys() == left_out
    there = set(worktrees.split(toy.git("ls-tree", "-r", "--name-only", "-z", tree)))
    assert (sizes.keys() - left_out) <= there
    assert there & left_out <= {"src/toy.py"}
    assert (toy.git("rev-parse", f"{tree}:src/toy.py") == before) == (sizes.get("src/toy.py") != 0)


def test_a_large_file_that_changes_is_seen_without_reading_it(tmp_path):
    path = sparse(tmp_path / "a", 64 * GIB)
    before = worktrees.digest(path)
    assert worktrees.digest(path) == before
    time.sleep(0.01)
    about = path.stat()
    with path.open("r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert worktrees.digest(path) != before


@pytest.mark.parametrize(
    ("gate", "name", "words"),
    [
        ('{criterion: 1, kind: metric, json: "{out}/m.json#/v", op: ">=", value: 1}', "out/m.json", "too much to be"),
        ("{criterion: 1, kind: text, path: a.txt, lacks: x}", "tree/a.txt", "has more than"),
    ],
)  # fmt: skip
def test_what_a_gate_reads_is_bounded(tmp_path, gate, name, words):
    sparse(tmp_path / name, 64 * GIB)
    place = measure.Place(tmp_path / "tree", tmp_path / "out", {}, time.time())
    book = gates.load(f"schema: 1\nitems:\n  A-1:\n    - {gate}\n")
    (result,) = measure.evaluate_all(book, book.of("A-1"), place)
    assert result.state == "fail"
    assert words in result.detail


def test_a_report_of_a_test_run_that_is_too_large(tmp_path):
    assert measure.junit_counts(sparse(tmp_path / "a.xml", 64 * GIB)) is None


BULK = {
    "an artifact": ("truncate -s 64G $NBLOOP_ARTIFACTS/a.bin", None),
    "a new file": ("truncate -s 64G docs/big.txt", "P3"),
    "a tracked file": ("truncate -s 64G src/toy.py", "P3"),
    "a file of the main checkout": ("truncate -s 64G $(dirname $NBLOOP_RESULT)/../../../big.txt", "P7"),
    "a hook": ("truncate -s 64G $(dirname $NBLOOP_RESULT)/../../../.git/hooks/pre-commit", "P8"),
}


@pytest.mark.parametrize(("command", "code"), BULK.values(), ids=BULK)
def test_bulk_costs_neither_time_nor_memory(tmp_path, command, code):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    toy.scenario({"shell": command}, {"result": {"result": "diagnostic"}})
    room = resource.getrlimit(resource.RLIMIT_AS)[1]
    begin = time.monotonic()
    toy.loop(
        "run", "--role", "engineer", "--agent", "fake", check=None,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * GIB, room)),
    )  # fmt: skip
    assert time.monotonic() - begin < 60
    (path,) = (toy.root / "reports/loop").glob("*/*.json")
    record = json.loads(path.read_text())
    assert {row["code"] for row in record["guard"]} == ({code} if code else set())
    assert record["result"] == ("failed" if code else "diagnostic")
