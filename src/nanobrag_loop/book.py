"""The ledger as the runner uses it: text in, frozen items or changed text out, nothing written.

A ledger with an error is not worked on: `LedgerError` names file, line and code. An edit touches only the lines of
its operation, and one that would bring a new error is refused by `new_errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nanobrag_loop.errors import LedgerError
from nanobrag_loop.items import FrozenItem, PastAttempt
from nanobrag_loop.ledger import edit, lint, model
from nanobrag_loop.ledger.cst import Document
from nanobrag_loop.manifest import sha256_text


@dataclass(frozen=True)
class Changes:
    """What an attempt changes besides its entry. close: the item is done; status: else the new status, if any."""

    first_divergence: str = ""
    close: bool = False
    status: str = ""


BLOCKING = ("E0", "E1", "E2", "E3")


def read(text: str, where: str) -> list[FrozenItem]:
    """Every item; `LedgerError` if the document does not follow the grammar."""
    document = Document.of(text)
    for entry in lint.errors(document):
        if entry.code.startswith(BLOCKING):
            raise LedgerError(entry.shown(where), remedy="mend the line; nb-loop ledger lint shows all")
    return [frozen(item) for item in model.items(document)]


def frozen(item: model.Item) -> FrozenItem:
    attempts = tuple(
        PastAttempt(
            past.number, past.date, past.result, past.metrics, past.artifacts, past.observations, past.next_actions
        )
        for past in item.attempts
    )
    return FrozenItem(
        id=item.id,
        title=item.title,
        priority=item.priority,
        status=item.status,
        spec=item.spec,
        owner="/".join(item.owner),
        depends_on=item.depends_on,
        plan=item.plan,
        reproduction=item.reproduction,
        first_divergence=item.first_divergence,
        attempts=attempts,
        risks=item.risks,
        exit_criteria=tuple(criterion.text for criterion in item.criteria),
        sha256=sha256_text(item.text),
    )


def knows(text: str, item_id: str) -> bool:
    return Document.of(text).item(item_id) is not None


def next_attempt(text: str, item_id: str) -> int:
    return edit.next_attempt(Document.of(text), item_id)


def new_errors(before: str, after: str, where: str) -> list[str]:
    """What is wrong with the changed text that was not wrong before."""
    return [entry.shown(where) for entry in lint.new_errors(Document.of(before), Document.of(after))]


def with_attempt(text: str, item_id: str, number: int, entry: Mapping[str, str], changes: Changes) -> str:
    """The ledger with one attempt more and what follows from it.

    entry: date and result, and the four details of an attempt by their names in the ledger.
    """
    document = edit.add_attempt(Document.of(text), item_id, entry["date"], entry["result"], entry, number)
    if changes.first_divergence:
        document = edit.set_first_divergence(document, item_id, changes.first_divergence)
    if changes.close:
        completed = edit.node_of(document, item_id).completed
        return (document if completed else edit.complete(document, item_id)).text
    return (edit.set_status(document, item_id, changes.status) if changes.status else document).text


def set_status(text: str, item_id: str, status: str) -> str:
    return edit.set_status(Document.of(text), item_id, status).text


def add_item(text: str, item_id: str, title: str, fields: Mapping[str, object]) -> str:
    return edit.add_item(Document.of(text), item_id, title, fields).text
