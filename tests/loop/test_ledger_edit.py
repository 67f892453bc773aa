"""Edits touch only the lines of their operation, and what they write passes lint."""

from __future__ import annotations

import difflib
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import SEED

from nanobrag_loop.errors import LedgerError
from nanobrag_loop.ledger import edit, lint, model
from nanobrag_loop.ledger.cst import DETAILS, Document
from nanobrag_loop.ledger.diagnostics import Context

DOCUMENT = Document.of(SEED)
IDS = [node.id for node in DOCUMENT.items]
ACTIVE = [node.id for node in DOCUMENT.items if not node.completed]
TODAY = Context(today=date(2025, 10, 2))
TEXTS = st.text(min_size=1, max_size=80).filter(lambda text: " ".join(text.split()) != "")
DETAIL_TEXTS = dict.fromkeys(DETAILS, "x")


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that left and lines that came."""
    rows = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [row[2:] for row in rows if row[:2] == "- "], [row[2:] for row in rows if row[:2] == "+ "]


@pytest.mark.parametrize("item_id", IDS)
def test_status(item_id):
    gone, came = changed_lines(SEED, edit.set_status(DOCUMENT, item_id, "blocked").text)
    active = item_id in ACTIVE
    assert [line for line in came if line == "- Status: blocked"] == ["- Status: blocked"]
    assert len(gone) == len(came) == (2 if active else 1)
    assert not active or (came[0].startswith(f"| [{item_id}](") and came[0].endswith("| blocked |"))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(IDS), TEXTS, TEXTS)
def test_attempt(item_id, summary, metrics):
    result = f"partial. {' '.join(summary.split())}"
    number = edit.next_attempt(DOCUMENT, item_id)
    after = edit.add_attempt(DOCUMENT, item_id, "2025-10-02", result, {"Metrics": metrics})
    gone, came = changed_lines(SEED, after.text)
    assert gone == []
    assert len(after.lines) == len(DOCUMENT.lines) + 5
    attempt = model.read_item(after, after.item(item_id)).attempts[-1]
    assert (attempt.number, attempt.result, attempt.artifacts) == (number, result.rstrip(" \t"), "n/a")
    assert attempt.metrics == " ".join(metrics.split())
    assert [e for e in lint.new_errors(DOCUMENT, after, TODAY) if e.code not in ("E002", "E101", "E410")] == []


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(IDS), TEXTS)
def test_first_divergence(item_id, text):
    after = edit.set_first_divergence(DOCUMENT, item_id, text)
    differing = [n for n, pair in enumerate(zip(DOCUMENT.lines, after.lines, strict=True)) if pair[0] != pair[1]]
    assert len(differing) <= 1
    assert after.item(item_id).field("First Divergence").hint == "if known"
    assert model.read_item(after, after.item(item_id)).first_divergence == " ".join(text.split()).rstrip(" \t")


def test_owner_and_metadata():
    gone, came = changed_lines(SEED, edit.set_owner(DOCUMENT, "PERF-PYTORCH-004", "me", "2025-10-02").text)
    assert (gone, came) == (["- Owner/Date: galph/2025-09-30"], ["- Owner/Date: me/2025-10-02"])
    after = edit.set_meta(DOCUMENT, "Active Focus", "Sleep.")
    assert after.lines[3] == "**Active Focus:** Sleep.\n"
    assert after.lines[:3] + after.lines[4:] == DOCUMENT.lines[:3] + DOCUMENT.lines[4:]


@pytest.mark.parametrize("item_id", ACTIVE)
def test_complete(item_id):
    after = edit.complete(DOCUMENT, item_id)
    item = DOCUMENT.item(item_id)
    moved = "".join(DOCUMENT.lines[item.start : item.stop]).replace("- Status: in_progress", "- Status: done")
    assert [node.id for node in after.items if node.completed] == [item_id, *(i for i in IDS if i not in ACTIVE)]
    assert model.read_item(after, after.item(item_id)).text == moved
    assert item_id not in [row.id for row in after.rows]
    assert len(after.lines) == len(DOCUMENT.lines) - 1 - 3 + 1, "a row and a separator less, a blank line more"
    assert lint.new_errors(DOCUMENT, after, TODAY) == []
    again = edit.reopen(after, item_id)
    assert lint.new_errors(DOCUMENT, again, TODAY) == []
    assert sorted(again.lines) == sorted(
        line.replace("Protect docs/index.md assets", "docs/index.md safeguard") if item_id == ACTIVE[0] else line
        for line in DOCUMENT.lines
    )


def test_complete_every_item_of_a_ledger_without_a_completed_part():
    start = SEED.index("### Completed Items")
    document = Document.of(SEED[:start] + SEED[SEED.index("### Archive") :])
    for item_id in ACTIVE:
        document = edit.complete(document, item_id)
        assert lint.errors(document, TODAY) == []
    assert document.rows == []
    assert [node.id for node in document.items] == ACTIVE[::-1]


@settings(deadline=None, max_examples=40)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3, unique_by=lambda text: " ".join(text.split())))
def test_add_item(title, criteria):
    fields = {"owner": "me/2025-10-02", "criteria": criteria, "c": "n/a (none)", "depends_on": "PERF-PYTORCH-004"}
    after = edit.add_item(DOCUMENT, "NEW-1", title, fields)
    gone, came = changed_lines(SEED, after.text)
    assert gone == []
    item = model.read_item(after, after.item("NEW-1"))
    assert after.items[len(ACTIVE)].id == "NEW-1", "last of the active part"
    assert after.rows[-1].id == "NEW-1"
    assert len(item.criteria) == len(criteria)
    assert item.depends_on == ("PERF-PYTORCH-004",)
    assert [e for e in lint.new_errors(DOCUMENT, after, TODAY) if e.code not in ("E002", "E101")] == []


def test_prune_and_archive_keep_the_text():
    after, cut = edit.prune_attempts(DOCUMENT, "PERF-PYTORCH-004", 1)
    assert cut == "".join(DOCUMENT.lines[74:79])
    assert cut.startswith("  * [2025-10-01] Attempt #4")
    assert lint.new_errors(DOCUMENT, after, TODAY) == []
    assert edit.prune_attempts(DOCUMENT, "PERF-PYTORCH-004", 5) == (DOCUMENT, "")
    after, cut = edit.archive_item(DOCUMENT, "ROUTING-LOOP-001")
    assert cut == model.read_item(DOCUMENT, DOCUMENT.item("ROUTING-LOOP-001")).text
    assert lint.new_errors(DOCUMENT, after, TODAY) == []
    assert len(cut.splitlines()) + 1 == len(DOCUMENT.lines) - len(after.lines)


def test_archive_list():
    item = model.items(DOCUMENT)[0]
    before = "# Archive\n\n## 2025-09-01\n- old\n\n## 2025-10-02\n- **[X-1] x** — y\n"
    text = edit.archive_bullet(before, "2025-10-02", item, "done")
    assert text.endswith("- **[X-1] x** — y\n- **[PROTECTED-ASSETS-001] docs/index.md safeguard** — done\n")
    text = edit.archive_bullet("# Archive", "2025-10-03", item, "done")
    assert text == "# Archive\n\n## 2025-10-03\n- **[PROTECTED-ASSETS-001] docs/index.md safeguard** — done\n"


@pytest.mark.parametrize(
    "operation",
    [
        lambda d: edit.set_status(d, "NONE-1", "done"),
        lambda d: edit.set_status(d, "PERF-PYTORCH-004", "finished"),
        lambda d: edit.set_first_divergence(d, "PERF-PYTORCH-004", " \n "),
        lambda d: edit.complete(d, "ROUTING-LOOP-001"),
        lambda d: edit.reopen(d, "PERF-PYTORCH-004"),
        lambda d: edit.archive_item(d, "PERF-PYTORCH-004"),
        lambda d: edit.add_item(d, "PERF-PYTORCH-004", "again", {"criteria": ["x"]}),
        lambda d: edit.set_meta(d, "Mood", "fine"),
        lambda d: edit.prune_attempts(d, "PERF-PYTORCH-004", 0),
    ],
)
def test_refusals(operation):
    with pytest.raises(LedgerError) as refusal:
        operation(DOCUMENT)
    assert refusal.value.exit_code == 3


STEPS = st.tuples(st.sampled_from(ACTIVE), st.sampled_from(["attempt", "status", "complete", "reopen", "prune"]))


@settings(deadline=None, max_examples=25)
@given(st.lists(STEPS, max_size=8))
def test_any_sequence_of_edits_keeps_the_ledger_valid(steps):
    document = DOCUMENT
    for item_id, step in steps:
        try:
            if step == "attempt":
                document = edit.add_attempt(document, item_id, "2025-10-02", "failed. x", DETAIL_TEXTS)
            elif step == "status":
                done = document.item(item_id).completed
                document = document if done else edit.set_status(document, item_id, "pending")
            elif step == "prune":
                document = edit.prune_attempts(document, item_id, 1)[0]
            else:
                document = {"complete": edit.complete, "reopen": edit.reopen}[step](document, item_id)
        except LedgerError:
            continue
    assert lint.new_errors(DOCUMENT, document, TODAY) == []
