"""Which line may follow which: the ledger's grammar as a table of states over line kinds."""

from __future__ import annotations

from collections.abc import Iterator

from nanobrag_loop.ledger.cst import Document, Kind

BODY = dict.fromkeys((Kind.FIELD, Kind.BULLET, Kind.ATTEMPT, Kind.CONT), "item")
DONE_BODY = dict.fromkeys(BODY, "done item")
FOLLOWS: dict[str, dict[Kind, str]] = {
    "start": {Kind.TITLE: "title"},
    "title": {Kind.BLANK: "before metadata"},
    "before metadata": {Kind.META: "metadata"},
    "metadata": {Kind.META: "metadata", Kind.BLANK: "before index"},
    "before index": {Kind.INDEX: "index"},
    "index": {Kind.THEAD: "table head"},
    "table head": {Kind.TSEP: "table"},
    "table": {Kind.ROW: "table", Kind.BLANK: "after table"},
    "after table": {Kind.RULE: "rule"},
    "rule": {Kind.BLANK: "active part"},
    "active part": {
        Kind.ITEM: "item",
        Kind.COMPLETED: "completed heading",
        Kind.ARCHIVE: "archive",
        Kind.RULE: "last rule",
    },
    "item": {**BODY, Kind.BLANK: "after item"},
    "after item": {Kind.RULE: "rule"},
    "completed heading": {Kind.NOTE: "note", Kind.BLANK: "completed part"},
    "note": {Kind.BLANK: "completed part"},
    "completed part": {Kind.ITEM: "done item", Kind.RULE: "last rule"},
    "done item": {**DONE_BODY, Kind.BLANK: "completed part"},
    "last rule": {Kind.BLANK: "before archive"},
    "before archive": {Kind.ARCHIVE: "archive"},
    "archive": {Kind.TEXT: "archive text"},
    "archive text": {Kind.TEXT: "archive text"},
}
ENDS = {"active part", "completed part", "done item", "archive text"}
# Where reading goes on after a line that was not expected, so one slip gives one diagnostic.
RECOVERY = {
    Kind.TITLE: "title", Kind.META: "metadata", Kind.INDEX: "index", Kind.THEAD: "table head", Kind.TSEP: "table",
    Kind.ROW: "table", Kind.RULE: "rule", Kind.COMPLETED: "completed heading", Kind.ARCHIVE: "archive",
}  # fmt: skip


def misplaced(document: Document) -> Iterator[tuple[int, str]]:
    """Line and words for every line that the grammar does not allow where it stands."""
    state, completed = "start", False
    for line, kind in enumerate(document.kinds):
        if kind is Kind.CONFLICT:
            continue
        following = FOLLOWS[state].get(kind)
        if following is None:
            expected = " or ".join(FOLLOWS[state])
            yield line, f"{kind} not expected here ({state}: expected {expected})"
            following = recover(state, kind, completed)
        state, completed = following, completed or kind is Kind.COMPLETED
    if state not in ENDS:
        expected = " or ".join(FOLLOWS[state])
        yield max(len(document.lines) - 1, 0), f"the document ends in the {state}: expected {expected}"


def recover(state: str, kind: Kind, completed: bool) -> str:
    if kind is Kind.ITEM or kind in BODY:
        return "done item" if completed else "item"
    if kind is Kind.RULE and completed:
        return "last rule"
    return RECOVERY.get(kind, state)
