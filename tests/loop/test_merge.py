"""Ledgers merge by structure, in the function and through git itself."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import pytest
from trees import SEED, sh

from nanobrag_loop.ledger import edit, lint, merge, model
from nanobrag_loop.ledger.cst import Document
from nanobrag_loop.ledger.diagnostics import Context

ROOT = Path(__file__).resolve().parents[2]
BASE = Document.of(SEED)
PERF, PEAK, HYGIENE = "PERF-PYTORCH-004", "AT-PARALLEL-012-PEAKMATCH", "REPO-HYGIENE-002"
TODAY = Context(today=date(2025, 10, 5))


def attempt(document, summary, item=PERF, day="2025-10-03"):
    return edit.add_attempt(document, item, day, f"failed. {summary}", {"Next Actions": summary})


def merged(ours, theirs, base=BASE):
    result = merge.merge(base.text, ours.text, theirs.text)
    return result, Document.of(result.text)


def item(document, name=PERF):
    return model.read_item(document, document.item(name))


def clean(result, document):
    assert result.conflicts == []
    assert lint.new_errors(BASE, document, TODAY) == []


def test_nothing_changed_nothing_changes():
    result, document = merged(BASE, BASE)
    assert document == BASE
    assert result.conflicts == []


@pytest.mark.parametrize("swap", [False, True])
def test_a_change_on_one_side_is_taken_to_the_byte(swap):
    changed = attempt(edit.set_status(BASE, PEAK, "blocked"), "x")
    changed = edit.set_meta(edit.complete(changed, HYGIENE), "Last Updated", "2025-10-04 (x)")
    sides = (changed, BASE) if swap else (BASE, changed)
    assert merged(*sides)[1] == changed


def test_both_append():
    result, document = merged(attempt(BASE, "ours"), attempt(attempt(BASE, "theirs"), "more"))
    clean(result, document)
    added = [(entry.number, entry.next_actions) for entry in item(document).attempts[2:]]
    assert added == [(6, "ours"), (7, "theirs"), (8, "more")]


def test_the_same_attempt_on_both_sides_stands_once():
    result, document = merged(attempt(BASE, "same"), attempt(BASE, "same"))
    clean(result, document)
    assert len(item(document).attempts) == 3


def test_both_change_the_status_differently():
    result, document = merged(edit.set_status(BASE, PERF, "blocked"), edit.set_status(BASE, PERF, "pending"))
    assert result.conflicts == [f"{PERF}: Status: both sides changed it"]
    assert "<<<<<<< ours\n- Status: blocked\n=======\n- Status: pending\n>>>>>>> theirs\n" in document.text
    assert "E001" in {entry.code for entry in lint.errors(document)}, "it cannot be committed like this"


def test_both_change_the_status_alike():
    sides = (edit.set_status(document, PERF, "blocked") for document in (BASE, attempt(BASE, "x")))
    result, document = merged(*sides)
    clean(result, document)
    assert item(document).status == "blocked"
    assert len(item(document).attempts) == 3


@pytest.mark.parametrize("swap", [False, True])
def test_one_completes_while_the_other_appends(swap):
    sides = [edit.complete(BASE, PERF), attempt(BASE, "late")]
    result, document = merged(*sides[:: -1 if swap else 1])
    clean(result, document)
    assert item(document).completed
    assert item(document).status == "done"
    assert item(document).attempts[-1].next_actions == "late"
    assert [node.id for node in document.items if node.completed][0] == PERF
    assert PERF not in [row.id for row in document.rows]


@pytest.mark.parametrize("swap", [False, True])
def test_one_prunes_while_the_other_appends(swap):
    sides = [edit.prune_attempts(BASE, PERF, 1)[0], attempt(BASE, "late")]
    result, document = merged(*sides[:: -1 if swap else 1])
    clean(result, document)
    assert [a.number for a in item(document).attempts] == [5, 6]


def test_new_items_of_both_sides():
    fields = {"owner": "me/2025-10-03", "criteria": ["x"]}
    sides = (edit.add_item(BASE, name, "new", fields) for name in ("OUR-1", "THEIR-1"))
    result, document = merged(*sides)
    clean(result, document)
    assert [row.id for row in document.rows][4:] == ["OUR-1", "THEIR-1"]
    assert [node.id for node in document.items][4:6] == ["OUR-1", "THEIR-1"]


def test_an_archived_item_stays_away_unless_the_other_side_worked_on_it():
    gone = edit.archive_item(BASE, "ROUTING-LOOP-001")[0]
    result, document = merged(gone, attempt(BASE, "x"))
    clean(result, document)
    assert document.item("ROUTING-LOOP-001") is None
    result, document = merged(gone, attempt(BASE, "x", "ROUTING-LOOP-001"))
    assert result.conflicts == ["ROUTING-LOOP-001: one side removed it, the other changed it"]
    assert "<<<<<<< ours" in document.text


def test_of_two_dates_the_later_one_stands():
    later, earlier = (edit.set_meta(BASE, "Last Updated", f"2025-10-0{day} (x)") for day in (5, 4))
    for sides in ((later, earlier), (earlier, later)):
        result, document = merged(*sides)
        assert document == later
        assert result.conflicts == []


def test_an_edited_attempt_against_another_edit():
    ours, theirs = (Document.of(SEED.replace("37.09×; CPU float32 1485.90×;", f"{n}×;")) for n in (1, 2))
    result, document = merged(ours, theirs)
    assert result.conflicts == [f"{PERF}: attempt #4: both sides changed it"]
    assert merged(ours, BASE)[1] == ours


def test_without_structure_there_is_no_structural_merge():
    assert merge.merge(SEED, SEED.replace("## Index\n", "## Contents\n"), SEED) is None


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    root = tmp_path_factory.mktemp("merge")
    sh(root, "git", "init", "-q", "-b", "main", ".")
    driver = f'"{sys.executable}" -m nanobrag_loop.ledger.merge %O %A %B %P'
    sh(root, "git", "config", "merge.fixplan.driver", driver)
    (root / ".gitattributes").write_text("fix_plan.md merge=fixplan\n")
    commit(root, SEED, "base")
    return root


def commit(root, text, message):
    (root / "fix_plan.md").write_bytes(text.encode())
    sh(root, "git", "add", "-A")
    sh(root, "git", "commit", "-q", "-m", message)


def branches(root, ours, theirs):
    sh(root, "git", "checkout", "-q", "-B", "theirs", "main")
    commit(root, theirs.text, "theirs")
    sh(root, "git", "checkout", "-q", "-B", "ours", "main")
    commit(root, ours.text, "ours")


@pytest.mark.parametrize("command", ["merge", "rebase"])
def test_through_git(repository, command):
    branches(repository, attempt(BASE, "ours"), attempt(edit.complete(BASE, PERF), "theirs"))
    argv = ["merge", "-q", "--no-edit", "theirs"] if command == "merge" else ["rebase", "-q", "theirs"]
    sh(repository, "git", *argv)
    document = Document.of((repository / "fix_plan.md").read_bytes().decode())
    assert lint.new_errors(BASE, document, TODAY) == []
    assert item(document).completed
    assert {a.next_actions for a in item(document).attempts[-2:]} == {"ours", "theirs"}
    assert [a.number for a in item(document).attempts] == [4, 5, 6, 7]


def test_a_conflict_through_git_is_said_in_words(repository):
    branches(repository, edit.set_status(BASE, PERF, "blocked"), edit.set_status(BASE, PERF, "pending"))
    done = sh(repository, "git", "merge", "theirs", check=False)
    assert done.returncode == 1
    assert f"fix_plan.md: {PERF}: Status: both sides changed it" in done.stderr.decode()
    assert "UU fix_plan.md" in sh(repository, "git", "status", "--porcelain").stdout.decode()
    sh(repository, "git", "merge", "--abort")


def test_a_damaged_side_is_merged_as_text_through_git(repository):
    damaged = Document.of(SEED.replace("## Index\n", "## Contents\n"))
    branches(repository, damaged, attempt(BASE, "theirs"))
    done = sh(repository, "git", "merge", "-q", "--no-edit", "theirs")
    assert "merged as text" in done.stderr.decode()
    text = (repository / "fix_plan.md").read_bytes().decode()
    assert text == attempt(BASE, "theirs").text.replace("## Index\n", "## Contents\n")
