"""`nb-loop ledger`, `plan` and `assets` as a person types them, in a real checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from trees import SEED, WHO, sh

from nanobrag_loop import cli
from nanobrag_loop.commands import ledger
from nanobrag_loop.ledger import edit, model
from nanobrag_loop.ledger.cst import Document

PERF, ROUTING = "PERF-PYTORCH-004", "ROUTING-LOOP-001"
PLAN = """\
| ID | Task Description | State | How/Why & Guidance |
| --- | --- | --- | --- |
| A1 | First | [ ] | run it |
"""
GATES = """\
schema: 1
items:
  ROUTING-LOOP-001:
    - {criterion: 1, kind: path, exists: CLAUDE.md}
"""
TODAY = "2026-02-03"


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("commands")
    sh(root, "git", "init", "-q", "-b", "main", ".")
    toy = {"owner": "me/2026-01-01", "criteria": ["x"], "plan": "`plans/active/toy/plan.md`", "priority": "Low"}
    plan = edit.add_item(Document.of(SEED), "TOY-1", "A toy", toy)
    files = {
        "docs/fix_plan.md": plan.text, "docs/index.md": "- [rules](../CLAUDE.md)\n",
        "CLAUDE.md": "# Rules\n", "plans/gates.yaml": GATES, "plans/active/toy/plan.md": PLAN,
    }  # fmt: skip
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    sh(root, "git", "add", "-A")
    sh(root, "git", "commit", "-q", "-m", "x")
    return root


@pytest.fixture
def here(origin, monkeypatch) -> Path:
    sh(origin, "git", "checkout", "-q", "-f", "main")
    sh(origin, "git", "clean", "-q", "-f", "-d")
    monkeypatch.chdir(origin)
    return origin


@pytest.fixture
def run(here, capsys, monkeypatch):
    monkeypatch.setattr(ledger, "today", lambda: TODAY)  # a suite that runs over midnight sees one day

    def call(*argv: str) -> tuple[int, str, str]:
        code = cli.main(argv)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def item(here: Path, name: str) -> model.Item:
    document = Document.of((here / "docs/fix_plan.md").read_bytes().decode())
    return model.read_item(document, document.item(name))


def changed(here: Path) -> list[str]:
    shown = sh(here, "git", "status", "--porcelain", "--untracked-files=all").stdout.decode()
    return [line[3:] for line in shown.splitlines()]


def test_lint(here, run):
    code, out, err = run("ledger", "lint")
    assert (code, err) == (1, "")
    assert {line.split(" ")[1] for line in out.splitlines() if " E" in line} == {"E420"}, "nothing was measured here"
    assert "W211 AT-PARALLEL-012-PEAKMATCH" in out
    assert "W402" in out, "the evidence of the seed is not in this repository"
    code, out, _ = run("ledger", "lint", "--json")
    assert {entry["code"] for entry in json.loads(out)} >= {"W211", "I306", "W401", "W403"}


def test_lint_of_a_broken_ledger_and_its_repair(here, run):
    path = here / "docs/fix_plan.md"
    good = path.read_text(encoding="utf-8")
    path.write_text(good.replace("| High | in_progress |\n", "| High | done |  \n", 1), encoding="utf-8")
    code, out, _ = run("ledger", "lint", "docs/fix_plan.md")
    assert code == 1
    assert "E305" in out
    assert "E305" not in run("ledger", "lint", "--fix")[1]
    assert path.read_text(encoding="utf-8") == good


def test_lint_of_another_file(here, run, tmp_path):
    other = tmp_path / "plan.md"
    other.write_bytes(SEED.encode())
    code, out, _ = run("ledger", "lint", str(other))
    assert code == 0
    assert f"{other}:99: W211" in out
    code, _, err = run("ledger", "lint", "nowhere.md")
    assert (code, err) == (3, "nb-loop: nowhere.md: No such file or directory\n")


def test_show_and_stats(run):
    _, out, _ = run("ledger", "show", PERF)
    assert out == model.read_item(Document.of(SEED), Document.of(SEED).item(PERF)).text
    rows = json.loads(run("ledger", "show", "--json")[1])
    assert [row["id"] for row in rows][4:6] == ["TOY-1", ROUTING]
    assert "AT-PARALLEL-012-PEAKMATCH" in run("ledger", "show")[1]
    assert json.loads(run("ledger", "show", PERF, "--json")[1])["attempts"][0]["word"] == "success"
    assert json.loads(run("ledger", "stats", "--json")[1])["results"]["success"] == 5
    assert run("ledger", "show", "NONE-1")[0] == 3


def test_next(run):
    _, out, _ = run("ledger", "next", "--explain")
    assert len(out.splitlines()) == 9
    assert f"{ROUTING}: done" in out
    assert json.loads(run("ledger", "next", "--json")[1])["next"] == PERF


def test_an_edit_is_dated_by_the_day_in_utc():
    before = datetime.now(UTC).date().isoformat()
    assert before <= ledger.today() <= datetime.now(UTC).date().isoformat()


def test_edits(here, run):
    assert run("ledger", "set-status", PERF, "blocked")[0] == 0
    assert item(here, PERF).status == "blocked"
    words = ["--result", "partial. x", "--metrics", "corr=1", "--next-actions", "go on"]
    assert run("ledger", "attempt", PERF, *words)[0] == 0
    last = item(here, PERF).attempts[-1]
    assert (last.number, last.date, last.metrics, last.artifacts) == (6, TODAY, "corr=1", "n/a")
    added = ["--title", "New", "--owner", "me", "--criterion", "a", "--criterion", "b"]
    assert run("ledger", "add", "NEW-1", *added)[0] == 0
    assert [criterion.text for criterion in item(here, "NEW-1").criteria] == ["a", "b"]
    assert item(here, "NEW-1").owner == ("me", TODAY)
    assert run("ledger", "owner", PERF, "you")[0] == run("ledger", "focus", "Sleep.", "--by", "you")[0] == 0
    assert item(here, PERF).owner == ("you", TODAY)
    assert f"**Last Updated:** {TODAY} (you)\n**Active Focus:** Sleep.\n" in (here / "docs/fix_plan.md").read_text()
    assert run("ledger", "set-status", ROUTING, "in_progress")[0] == 0
    assert not item(here, ROUTING).completed
    assert changed(here) == ["docs/fix_plan.md"]


def test_done_is_measured_not_said(here, run):
    before = (here / "docs/fix_plan.md").read_bytes()
    code, _, err = run("ledger", "complete", "TOY-1")
    assert code == 3
    assert "criterion 1 is not shown to be met (no gate)" in err
    with pytest.raises(SystemExit):
        run("ledger", "set-status", "TOY-1", "done")
    assert run("ledger", "set-status", ROUTING, "in_progress")[0] == 0
    assert "never measured" in run("ledger", "complete", ROUTING)[2]
    assert run("ledger", "attempt", "TOY-1", "--result", "perfect. x")[0] == 3, "lint refuses it"
    assert item(here, "TOY-1").text.encode() in before


def test_archive_and_prune_keep_the_text(here, run):
    text = item(here, ROUTING).text
    assert run("ledger", "archive", ROUTING, "--summary", "guarded")[0] == 0
    assert text in (here / f"docs/archive/fix_plan/{ROUTING}.md").read_text(encoding="utf-8")
    assert f"## {TODAY}\n- **[{ROUTING}] loop.sh routing guard** — guarded\n" in (
        here / "docs/fix_plan_archive.md").read_text(encoding="utf-8")  # fmt: skip
    assert run("ledger", "prune", PERF, "--keep", "1")[0] == 0
    assert "Attempt #4" in (here / f"docs/archive/fix_plan/{PERF}.md").read_text(encoding="utf-8")
    assert [attempt.number for attempt in item(here, PERF).attempts] == [5]
    assert run("ledger", "archive", PERF, "--summary", "x")[0] == 3


def test_plan(here, run):
    assert run("plan", "lint") == (0, "", "")
    assert "[ ] A1: First" in run("plan", "show", "TOY-1")[1]
    assert run("plan", "mark", "TOY-1", "A1", "done")[0] == 3
    assert run("plan", "mark", "TOY-1", "A1", "done", "--evidence", "r1")[0] == 0
    assert "| A1 | First | [X] | run it (evidence: r1) |" in (here / "plans/active/toy/plan.md").read_text()
    assert run("plan", "show", PERF)[0] == 3, "no plan"
    (here / "plans/active/toy/plan.md").write_text(PLAN.replace("[ ]", "[?]"))
    assert run("plan", "lint")[0] == 1


def test_assets(run):
    code, out, _ = run("assets", "why", "CLAUDE.md")
    assert (code, out) == (0, "docs/index.md:1\n")
    assert run("assets", "why", "src/a.py")[:2] == (1, "src/a.py is not protected\n")
    listed = json.loads(run("assets", "list", "--json")[1])
    assert listed["CLAUDE.md"] == "docs/index.md:1"
    assert listed["loop.sh"] == "protect.extra in plans/loop.yaml"


def test_outside_a_repository(tmp_path):
    env = {**os.environ, **WHO, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    words = [sys.executable, "-m", "nanobrag_loop", "ledger", "lint"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("nb-loop: ")
    assert done.stderr.count("\n") == 1
    assert "not a git repository" in done.stderr
