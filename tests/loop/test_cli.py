"""What a person can mistype: one line that names it, the exit code of the documentation, and nothing else happens."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fake_agent_repo import FAST_GATES, make_toy

MISTAKES = [
    (["run", "-n", "0"], 2, "-n: expected a positive whole number, got '0'"),
    (["run", "-n", "two"], 2, "-n: expected a positive whole number, got 'two'"),
    (["run", "--agnt", "x"], 2, "unrecognized arguments: --agnt x"),
    (["run", "--item", "NOPE", "--dry-run"], 2, "no item 'NOPE' in the ledger (items: TOY-001)"),
    (["run", "--item", "", "--role", "engineer"], 2, "no item ''"),
    (["run", "--agent", "nope"], 2, "agent 'nope' is not known"),
    (["run", "--route", "main"], 4, "prompt 'main' is not allowed now"),
    (["run", "--role", "supervisor", "--dry-run"], 2, "not for a supervisor turn"),
    (["run", "--override-route", "why"], 4, "for a person at a terminal"),
    ([], 2, "required: COMMAND"),
    (["runs"], 2, "list|show|diff"),
    (["runs", "show", "nope"], 4, "no such run"),
    (["runs", "prune", "--keep", "-1"], 2, "--keep: expected a whole number that is not negative, got '-1'"),
    (["runs", "prune", "--committed", "--before", "soon"], 2, "expected YYYY-MM-DD, got 'soon'"),
    (["report", "--html", ""], 2, "--html: expected the name of a file"),
    (["report", "--html", "docs"], 2, "--html: expected the name of a file, got 'docs'"),
    (["report", "--html", "/proc/x.html"], 2, "No such file or directory"),
    (["guard", "--range", "foo"], 2, "--range: expected A..B, got 'foo'"),
    (["guard", "--range", "HEAD..nope"], 2, "'nope' names no commit"),
    (["guard", "--role", "nobody"], 2, "--role: expected one of engineer, supervisor, got 'nobody'"),
    (["gates", "run", "TOY-001", "--at", "nope"], 2, "'nope' names no commit"),
    (["gates", "run", "NOPE"], 4, "NOPE: no gates"),
    (["ledger", "show", "NOPE"], 3, "NOPE: no such item"),
    (["ledger", "lint", "docs"], 3, "docs: Is a directory"),
    (["prompt", "render", "--item", "NOPE"], 2, "no item 'NOPE'"),
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("cli"), {"plans/gates.yaml": FAST_GATES})


@pytest.mark.parametrize(("argv", "code", "words"), MISTAKES, ids=[" ".join(row[0]) or "nothing" for row in MISTAKES])
def test_a_mistake_is_one_line(toy, argv, code, words):
    head = toy.head()
    done = toy.loop(*argv, check=code, stdin=subprocess.DEVNULL)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert (toy.head(), toy.git("status", "--porcelain")) == (head, "")


@pytest.mark.parametrize(("redirection", "code"), [("> /dev/full", 2), (">&-", 0), ("| head -c 1", 0)])
def test_output_that_cannot_be_written(toy, redirection, code):
    command = f"set -o pipefail; {sys.executable} -m nanobrag_loop ledger show --json {redirection}"
    done = subprocess.run(["bash", "-c", command], cwd=toy.root, capture_output=True, text=True)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1
