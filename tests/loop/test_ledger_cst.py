"""The ledger's text is kept to the byte, and every line of the seed is of exactly one kind."""

from __future__ import annotations

import hashlib
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from trees import SEED

from nanobrag_loop.ledger import model
from nanobrag_loop.ledger.cst import Document, Kind, bare

ODD = ["", "<<<<<<< a", "\t", "- Status: done ", "  * bullet", "\u2028", "\x85x", "## [A-1] t", "\r"]
LINES = [*SEED.split("\n"), *ODD]


def test_seed_is_the_seed():
    data = SEED.encode()
    assert (len(data), SEED.count("\n")) == (14_727, 204)
    assert hashlib.sha256(data).hexdigest().startswith("6c04a89c")


def test_seed_has_the_line_kinds_of_its_grammar():
    assert Counter(Document.of(SEED).kinds) == {
        Kind.TITLE: 1, Kind.META: 2, Kind.INDEX: 1, Kind.THEAD: 1, Kind.TSEP: 1, Kind.ROW: 4, Kind.RULE: 6,
        Kind.ITEM: 8, Kind.FIELD: 72, Kind.BULLET: 36, Kind.ATTEMPT: 10, Kind.CONT: 40, Kind.COMPLETED: 1,
        Kind.NOTE: 1, Kind.ARCHIVE: 1, Kind.TEXT: 1, Kind.BLANK: 18,
    }  # fmt: skip


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_round_trips(text):
    document = Document.of(text)
    assert document.text == text
    assert len(document.kinds) == len(document.lines)
    assert all(line.count("\n") <= 1 for line in document.lines)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_round_trip(data):
    text = data.decode("utf-8", "surrogateescape")
    assert Document.of(text).text.encode("utf-8", "surrogateescape") == data


@settings(deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=40), st.sampled_from(["\n", "\r\n"]))
def test_any_mixture_of_ledger_lines_is_read_without_failing(lines, end):
    text = end.join(lines)
    document = Document.of(text)
    assert document.text == text
    covered = [n for node in document.items for n in range(node.start, node.stop)]
    assert len(covered) == len(set(covered)), "items do not overlap"
    for item in model.items(document):
        assert item.text == "".join(document.lines[item.start - 1 : item.stop])


def test_nodes_are_the_lines_they_stand_for():
    document = Document.of(SEED)
    item = document.item("PERF-PYTORCH-004")
    assert [node.id for node in document.items][2:4] == ["PERF-PYTORCH-004", "AT-PARALLEL-012-PEAKMATCH"]
    assert (item.start + 1, item.stop, item.completed, item.title) == (64, 89, False, "Fuse physics kernels")
    history = item.field("Attempts History")
    assert [(entry.number, entry.date, entry.stop - entry.line) for entry in history.attempts] == [
        (4, "2025-10-01", 5), (5, "2025-10-02", 5)]  # fmt: skip
    assert item.field("Reproduction").hint == "C & PyTorch"
    assert [document.item(name).completed for name in ("AT-PARALLEL-012-PEAKMATCH", "AT-PARALLEL-012")] == [False, True]
    assert bare(document.lines[document.completed_line]) == "### Completed Items — Key Reference"


def test_typed_view_of_the_seed():
    items = {item.id: item for item in model.items(Document.of(SEED))}
    assert list(items) == [
        "PROTECTED-ASSETS-001", "REPO-HYGIENE-002", "PERF-PYTORCH-004", "AT-PARALLEL-012-PEAKMATCH", "ROUTING-LOOP-001",
        "AT-PARALLEL-024-REGRESSION", "PERF-PYTORCH-004-PHASE2", "AT-PARALLEL-012",
    ]  # fmt: skip
    words = Counter(attempt.word for item in items.values() for attempt in item.attempts)
    assert words == {"success": 5, "partial": 3, "failed": 1, "diagnostic": 1}
    perf = items["PERF-PYTORCH-004"]
    assert perf.owner == ("galph", "2025-09-30")
    assert perf.attempts[1].result.startswith("partial diagnostic. Multi-source")
    assert perf.attempts[0].metrics.endswith("warm setup <50\u202fms.")
    assert [criterion.claimed for criterion in items["PROTECTED-ASSETS-001"].criteria] == [True, False, False]
    assert [len(item.criteria) for item in items.values()] == [3, 3, 3, 3, 1, 1, 1, 1]
    assert items["AT-PARALLEL-012"].reproduction["C"].startswith("`NB_C_BIN=./golden_suite_generator/nanoBragg -lambda")


def test_anchors_follow_the_headings():
    document = Document.of(SEED)
    for row in document.rows:
        assert row.anchor == model.anchor(row.id, document.item(row.id).title)
    assert model.slug("[AT-1] docs/index.md 95% λ_x") == "at-1-docsindexmd-95-λ_x"
