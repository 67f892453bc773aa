"""Operations on a ledger: pure functions from document to document that touch only the lines they name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nanobrag_loop.errors import LedgerError
from nanobrag_loop.ledger.cst import DETAILS, Document, FieldNode, ItemNode, Kind, bare
from nanobrag_loop.ledger.model import STATUSES, Item, anchor, items, read_item


def node_of(document: Document, item_id: str) -> ItemNode:
    """The item; `LedgerError` if the ledger has none or two of that id."""
    found = [node for node in document.items if node.id == item_id]
    if len(found) == 1:
        return found[0]
    known = ", ".join(node.id for node in document.items)
    raise LedgerError(f"{item_id}: the ledger has {len(found)} items of this id (items: {known})")


def field_of(item: ItemNode, name: str) -> FieldNode:
    part = item.field(name)
    if part is None:
        raise LedgerError(f"{item.id}: the item has no field {name!r}", remedy="nb-loop ledger lint")
    return part


def one_line(text: str, what: str) -> str:
    """A value that fits in one line; `LedgerError` if it is empty."""
    line = " ".join(text.split())
    if not line:
        raise LedgerError(f"{what}: expected a text, got none")
    return line


def set_field(document: Document, item_id: str, name: str, value: str) -> Document:
    """Replace the value of a one-line field; its hint stays."""
    part = field_of(node_of(document, item_id), name)
    hint = f" ({part.hint})" if part.hint is not None else ""
    line = f"- {name}{hint}: {one_line(value, name)}\n"
    return document.replaced(part.line, part.line + 1, [line])


def set_status(document: Document, item_id: str, status: str) -> Document:
    """The item's status line, and its index row if it is active."""
    if status not in STATUSES:
        raise LedgerError(f"status: expected one of {', '.join(STATUSES)}, got {status!r}")
    changed = set_field(document, item_id, "Status", status)
    return refresh_row(changed, item_id)


def set_first_divergence(document: Document, item_id: str, text: str) -> Document:
    return set_field(document, item_id, "First Divergence", text)


def set_owner(document: Document, item_id: str, owner: str, day: str) -> Document:
    return set_field(document, item_id, "Owner/Date", f"{owner}/{day}")


def set_meta(document: Document, key: str, text: str) -> Document:
    """Replace a line of metadata, such as `Last Updated`."""
    found = [line for name, _, line in document.metas if name == key]
    if not found:
        raise LedgerError(f"the ledger has no metadata {key!r}")
    return document.replaced(found[0], found[0] + 1, [f"**{key}:** {one_line(text, key)}\n"])


def next_attempt(document: Document, item_id: str) -> int:
    attempts = field_of(node_of(document, item_id), "Attempts History").attempts
    return max((attempt.number for attempt in attempts), default=0) + 1


def add_attempt(
    document: Document, item_id: str, day: str, result: str, details: Mapping[str, str], number: int | None = None
) -> Document:
    """Five new lines at the end of the attempts. details: by the names of `cst.DETAILS`; what lacks is "n/a"."""
    part = field_of(node_of(document, item_id), "Attempts History")
    number = number or next_attempt(document, item_id)
    lines = [f"  * [{day}] Attempt #{number} — Result: {one_line(result, 'result')}\n"]
    lines += [f"    {key}: {' '.join(details.get(key, '').split()) or 'n/a'}\n" for key in DETAILS]
    return document.replaced(part.stop, part.stop, lines)


def complete(document: Document, item_id: str) -> Document:
    """Set an active item to done and move it, first, to the completed part; its index row goes."""
    if node_of(document, item_id).completed:
        raise LedgerError(f"{item_id}: the item is completed already")
    document = set_status(document, item_id, "done")
    node = node_of(document, item_id)
    body = list(document.lines[node.start : node.stop])
    document = with_completed_part(cut_item(document, node))
    at = document.lines_of(Kind.COMPLETED)[0] + 1
    while document.kinds[at] in (Kind.NOTE, Kind.BLANK):
        at += 1
        if document.kinds[at - 1] is Kind.BLANK:
            break
    return document.replaced(at, at, [*body, "\n"])


def reopen(document: Document, item_id: str, status: str = "in_progress") -> Document:
    """Move a completed item back to the end of the active part, with a row, and give it an open status."""
    node = node_of(document, item_id)
    if not node.completed:
        raise LedgerError(f"{item_id}: the item is not completed")
    body = list(document.lines[node.start : node.stop])
    return set_status(insert_active(cut_item(document, node), item_id, node.title, body), item_id, status)


def cut_item(document: Document, node: ItemNode) -> Document:
    """Without the item, the blank line and rule that separate it from the next, and its row."""
    stop = node.stop
    for kind in (Kind.BLANK,) if node.completed else (Kind.BLANK, Kind.RULE, Kind.BLANK):
        if stop < len(document.kinds) and document.kinds[stop] is kind:
            stop += 1
    document = document.replaced(node.start, stop, [])
    row = next((row for row in document.rows if row.id == node.id), None)
    return document.replaced(row.line, row.line + 1, []) if row and not node.completed else document


def with_completed_part(document: Document) -> Document:
    """A document that has a heading for completed items."""
    if document.completed_line is not None:
        return document
    head = ["### Completed Items\n", "\n"]
    if document.archive_line is None:
        return document.replaced(len(document.lines), len(document.lines), head)
    return document.replaced(document.archive_line, document.archive_line, [*head, "---\n", "\n"])


def add_item(document: Document, item_id: str, title: str, fields: Mapping[str, object]) -> Document:
    """A new item at the end of the active part, and its row at the end of the index.

    fields: `spec`, `priority`, `status`, `owner` (name/date), `depends_on`, `plan`, `c`, `pytorch`, `roi`,
    `divergence`, `risks` as texts, `criteria` as a list; what lacks is "n/a".
    """
    if any(node.id == item_id for node in document.items):
        raise LedgerError(f"{item_id}: the ledger has an item of this id")
    get = {key: one_line(str(value), key) for key, value in fields.items() if key != "criteria" and value}
    listed = fields.get("criteria")
    criteria = [str(text) for text in listed] if isinstance(listed, list | tuple) else []
    names = {"depends_on": "Depends On", "plan": "Plan"}
    optional = [f"- {name}: {get[key]}\n" for key, name in names.items() if key in get]
    body = [
        f"## [{item_id}] {one_line(title, 'title')}\n",
        f"- Spec/AT: {get.get('spec', 'n/a')}\n",
        f"- Priority: {get.get('priority', 'Medium')}\n",
        f"- Status: {get.get('status', 'pending')}\n",
        f"- Owner/Date: {get.get('owner', 'n/a')}\n",
        *optional,
        "- Reproduction (C & PyTorch):\n",
        f"  * C: {get.get('c', 'n/a')}\n",
        f"  * PyTorch: {get.get('pytorch', 'n/a')}\n",
        f"  * Shapes/ROI: {get.get('roi', 'n/a')}\n",
        f"- First Divergence (if known): {get.get('divergence', 'n/a')}\n",
        "- Attempts History:\n",
        f"- Risks/Assumptions: {get.get('risks', 'n/a')}\n",
        "- Exit Criteria (quote thresholds from spec):\n",
        *(f"  * {one_line(text, 'criterion')}\n" for text in criteria),
    ]
    return insert_active(document, item_id, one_line(title, "title"), body)


def insert_active(document: Document, item_id: str, title: str, body: list[str]) -> Document:
    """Put the lines of an item last in the active part, with a row."""
    heads = (document.completed_line, document.archive_line)
    at = next((line for line in heads if line is not None), len(document.lines))
    if at and document.kinds[at - 1] is not Kind.BLANK:
        body = ["\n", *body]
    document = document.replaced(at, at, [*body, "\n", "---\n", "\n"])
    rows = document.lines_of(Kind.ROW) or document.lines_of(Kind.TSEP)
    if not rows:
        raise LedgerError("the ledger has no index table", remedy="nb-loop ledger lint")
    item = read_item(document, node_of(document, item_id))
    return document.replaced(rows[-1] + 1, rows[-1] + 1, [row_line(item, title)])


def row_line(item: Item, title: str) -> str:
    """A row of the index; a bar in the title would begin another cell."""
    shown = title.replace("|", "/")
    return f"| [{item.id}](#{anchor(item.id, item.title)}) | {shown} | {item.priority} | {item.status} |\n"


def refresh_row(document: Document, item_id: str) -> Document:
    """The row of an active item, with the item's priority, status and anchor; the row keeps its own title."""
    node = node_of(document, item_id)
    row = next((row for row in document.rows if row.id == item_id), None)
    if node.completed or row is None:
        return document
    return document.replaced(row.line, row.line + 1, [row_line(read_item(document, node), row.title)])


def with_rows(document: Document) -> Document:
    """The document with its index rows recomputed from the active items; rows keep their own titles."""
    heads = document.lines_of(Kind.TSEP)
    if not heads:
        return document
    titles = {row.id: row.title for row in reversed(document.rows)}
    start = heads[0] + 1
    stop = start + sum(1 for line in document.lines_of(Kind.ROW) if line >= start)
    active = {item.id: item for item in reversed(items(document)) if not item.completed}
    rows = [row_line(item, titles.get(item.id, item.title)) for item in reversed(active.values())]
    return document.replaced(start, stop, rows) if list(document.lines[start:stop]) != rows else document


def prune_attempts(document: Document, item_id: str, keep: int) -> tuple[Document, str]:
    """Cut all but the last `keep` attempts of an item; the document and the cut lines, verbatim."""
    part = field_of(node_of(document, item_id), "Attempts History")
    if keep < 1:
        raise LedgerError(f"keep: expected at least 1 attempt, got {keep}")
    cut = part.attempts[:-keep]
    if not cut:
        return document, ""
    start, stop = cut[0].line, cut[-1].stop
    return document.replaced(start, stop, []), "".join(document.lines[start:stop])


def archive_item(document: Document, item_id: str) -> tuple[Document, str]:
    """Cut a completed item; the document and the item's lines, verbatim."""
    node = node_of(document, item_id)
    if not node.completed:
        raise LedgerError(f"{item_id}: only completed items are archived", remedy=f"nb-loop ledger complete {item_id}")
    return cut_item(document, node), "".join(document.lines[node.start : node.stop])


def archive_bullet(archive: str, day: str, item: Item, text: str) -> str:
    """The archive file with one bullet more, below the heading of `day`; new days come last."""
    bullet = f"- **[{item.id}] {item.title}** — {one_line(text, 'summary')}\n"
    lines = archive.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    heads = [n for n, line in enumerate(lines) if re.fullmatch(rf"## {day}", bare(line))]
    if not heads:
        return "".join([*lines, "\n", f"## {day}\n", bullet])
    at = heads[-1] + 1
    while at < len(lines) and lines[at].startswith("- "):
        at += 1
    return "".join([*lines[:at], bullet, *lines[at:]])
