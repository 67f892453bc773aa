"""Lint of the ledger's form: text, grammar, index, the fields of an item."""

from __future__ import annotations

from nanobrag_loop.ledger import model
from nanobrag_loop.ledger.cst import (
    DETAILS,
    FIELDS,
    META_KEYS,
    OPTIONAL_FIELDS,
    REPRODUCTION,
    Document,
    FieldNode,
    ItemNode,
    Kind,
    RowNode,
    bare,
)
from nanobrag_loop.ledger.diagnostics import Context, Diagnostic, Found
from nanobrag_loop.ledger.grammar import misplaced
from nanobrag_loop.ledger.model import Item

MAX_LINES, MAX_BYTES, MAX_WIDTH = 1000, 128 * 1024, 600


def text_rules(document: Document, context: Context) -> Found:
    for n, line in enumerate(document.lines, 1):
        content = line.rstrip("\n")
        if "\r" in line:
            yield Diagnostic(n, "E101", "carriage return")
            content = content.rstrip("\r")
        if content != content.rstrip(" \t"):
            yield Diagnostic(n, "W110", "trailing blanks")
        if len(content) > MAX_WIDTH:
            yield Diagnostic(n, "E410", f"line of {len(content)} characters, at most {MAX_WIDTH}")
        if any("\ud800" <= char <= "\udfff" for char in line):
            yield Diagnostic(n, "E002", "bytes that are no UTF-8")
    if document.lines and not document.lines[-1].endswith("\n"):
        yield Diagnostic(len(document.lines), "E101", "no newline at the end of the file")
    for n in document.lines_of(Kind.CONFLICT):
        yield Diagnostic(n + 1, "E001", "conflict marker")


def size_rules(document: Document, context: Context) -> Found:
    size = len(document.text.encode("utf-8", "surrogateescape"))
    if len(document.lines) > MAX_LINES:
        yield Diagnostic(1, "E410", f"{len(document.lines)} lines, at most {MAX_LINES}: archive items, prune attempts")
    if size > MAX_BYTES:
        yield Diagnostic(1, "E410", f"{size} bytes, at most {MAX_BYTES}: archive items, prune attempts")


def grammar_rules(document: Document, context: Context) -> Found:
    for line, words in misplaced(document):
        yield Diagnostic(line + 1, "E200", words)


def meta_rules(document: Document, context: Context) -> Found:
    seen: set[str] = set()
    for key, _, line in document.metas:
        if key not in META_KEYS:
            yield Diagnostic(line + 1, "E200", f"unknown metadata {key!r} (known: {', '.join(META_KEYS)})")
        elif key in seen:
            yield Diagnostic(line + 1, "E203", f"{key} given twice")
        seen.add(key)
    for key in META_KEYS:
        if key not in seen:
            yield Diagnostic(1, "E202", f"metadata {key!r} is missing")


def index_rules(document: Document, context: Context) -> Found:
    active = {item.id: item for item in reversed(model.items(document)) if not item.completed}
    seen: set[str] = set()
    for row in document.rows:
        line, item = row.line + 1, active.get(row.id)
        if row.id in seen:
            yield Diagnostic(line, "E301", "has another row", row.id)
        elif item is None:
            yield Diagnostic(line, "E302", "row without an active item", row.id)
        else:
            yield from row_rules(line, row, item)
        seen.add(row.id)
    for item in reversed(active.values()):
        if item.id not in seen:
            yield Diagnostic(item.start, "E307", "has no index row", item.id)
    order = [row.id for row in document.rows if row.id in active]
    if len(set(order)) == len(order) and order != [name for name in reversed(active) if name in set(order)]:
        yield Diagnostic(document.rows[0].line + 1, "W308", "the rows stand in another order than the items")


def row_rules(line: int, row: RowNode, item: Item) -> Found:
    wanted = model.anchor(item.id, item.title)
    if row.anchor != wanted:
        yield Diagnostic(line, "E303", f"anchor: expected #{wanted}", row.id)
    if row.priority != item.priority:
        yield Diagnostic(line, "E304", f"priority {row.priority!r}, the item has {item.priority!r}", row.id)
    if row.status != item.status:
        yield Diagnostic(line, "E305", f"status {row.status!r}, the item has {item.status!r}", row.id)
    if row.title != item.title:
        yield Diagnostic(line, "I306", f"title {row.title!r}, the item has {item.title!r}", row.id)


def field_rules(document: Document, node: ItemNode, item: Item) -> Found:
    seen: list[str] = []
    for part in node.fields:
        if part.name not in FIELDS:
            yield Diagnostic(part.line + 1, "E200", f"unknown field {part.name!r}", node.id)
        elif part.name in seen:
            yield Diagnostic(part.line + 1, "E203", f"{part.name} given twice", node.id)
        else:
            seen.append(part.name)
            yield from value_rules(part, node.id)
    for name in FIELDS:
        if name not in seen and name not in OPTIONAL_FIELDS:
            code, words = ("E217", "no exit criterion") if name == "Exit Criteria" else ("E202", f"{name} is missing")
            yield Diagnostic(node.start + 1, code, words, node.id)
    if seen != [name for name in FIELDS if name in seen]:
        expected = ", ".join(name for name in FIELDS if name in seen)
        yield Diagnostic(node.start + 1, "W204", f"order of fields: expected {expected}", node.id)
    for line in node.stray:
        if document.kinds[line] not in (Kind.CONFLICT, Kind.OPAQUE, Kind.BLANK):
            yield Diagnostic(line + 1, "E200", f"{document.kinds[line]} belongs to no field here", node.id)


def value_rules(part: FieldNode, item_id: str) -> Found:
    if part.name in ("Reproduction", "Attempts History"):
        if part.value is not None:
            yield Diagnostic(part.line + 1, "E200", f"{part.name} opens a block and has no value of its own", item_id)
    elif part.name == "Exit Criteria":
        if part.value is None and not part.bullets:
            yield Diagnostic(part.line + 1, "E217", "no exit criterion", item_id)
        if part.value is not None and part.bullets:
            yield Diagnostic(part.line + 1, "E200", "either one criterion in the line or bullets below it", item_id)
    elif part.value is None:
        yield Diagnostic(part.line + 1, "E202", f"{part.name} has no value", item_id)


def reproduction_rules(document: Document, node: ItemNode, item: Item) -> Found:
    part = node.field("Reproduction")
    if part is None:
        return
    labels = []
    for line in part.bullets:
        label, _ = model.split_label(model.bullet_text(document, line))
        if label not in REPRODUCTION:
            shown = label or bare(document.lines[line]).strip()
            yield Diagnostic(line + 1, "E205", f"expected one of {', '.join(REPRODUCTION)}, got {shown!r}", node.id)
        labels.append(label)
    if sorted(labels) != sorted(REPRODUCTION):
        expected = ", ".join(REPRODUCTION)
        yield Diagnostic(part.line + 1, "E209", f"expected the bullets {expected}, once each", node.id)
    elif labels != list(REPRODUCTION):
        yield Diagnostic(part.line + 1, "W204", f"order of bullets: expected {', '.join(REPRODUCTION)}", node.id)


def detail_rules(document: Document, node: ItemNode, item: Item) -> Found:
    part = node.field("Attempts History")
    for attempt in part.attempts if part else []:
        keys = [key for key, _ in attempt.details]
        for key, line in attempt.details:
            if key not in DETAILS:
                yield Diagnostic(line + 1, "E216", f"unknown detail {key!r}", node.id)
        for key in {key for key in keys if keys.count(key) > 1}:
            yield Diagnostic(attempt.line + 1, "E214", f"attempt #{attempt.number}: {key} given twice", node.id)
        missing = [key for key in DETAILS if key not in keys]
        if missing:
            words = f"attempt #{attempt.number} lacks {', '.join(missing)}"
            yield Diagnostic(attempt.line + 1, "E216", words, node.id)
        elif len(keys) == len(DETAILS) and keys != list(DETAILS):
            words = f"attempt #{attempt.number}: order of details: expected {', '.join(DETAILS)}"
            yield Diagnostic(attempt.line + 1, "W204", words, node.id)


def criterion_rules(document: Document, node: ItemNode, item: Item) -> Found:
    seen: set[str] = set()
    for criterion in item.criteria:
        if criterion.text in seen:
            yield Diagnostic(criterion.line, "E203", "exit criterion given twice", node.id)
        seen.add(criterion.text)


DOCUMENT_RULES = (text_rules, size_rules, grammar_rules, meta_rules, index_rules)
ITEM_RULES = (field_rules, reproduction_rules, detail_rules, criterion_rules)
