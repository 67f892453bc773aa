"""Lint of a ledger: all rules together, what an edit made worse, and the few repairs that are safe.

Each rule is a generator of diagnostics. E blocks a commit, W is reported, I informs.
"""

from __future__ import annotations

from collections import Counter

from nanobrag_loop.ledger import edit, model, sense, shape
from nanobrag_loop.ledger.cst import Document, split_lines
from nanobrag_loop.ledger.diagnostics import Context, Diagnostic


def lint(document: Document, context: Context | None = None) -> list[Diagnostic]:
    """Every diagnostic, by line."""
    around = context or Context()
    rules = (*shape.DOCUMENT_RULES, *sense.DOCUMENT_RULES)
    found = [diagnostic for rule in rules for diagnostic in rule(document, around)]
    for node, item in zip(document.items, model.items(document), strict=True):
        found += [diagnostic for rule in shape.ITEM_RULES for diagnostic in rule(document, node, item)]
        found += [diagnostic for rule in sense.ITEM_RULES for diagnostic in rule(item, around)]
    return sorted(found)


def errors(document: Document, context: Context | None = None) -> list[Diagnostic]:
    return [diagnostic for diagnostic in lint(document, context) if diagnostic.severity == "E"]


def new_errors(before: Document, after: Document, context: Context | None = None) -> list[Diagnostic]:
    """Errors of `after` that `before` has not, lines aside."""
    known = Counter((entry.code, entry.item, entry.message) for entry in errors(before, context))
    found = []
    for entry in errors(after, context):
        key = (entry.code, entry.item, entry.message)
        if known[key]:
            known[key] -= 1
        else:
            found.append(entry)
    return found


def fixed(document: Document) -> Document:
    """The document with trailing blanks, the final newline and the index rows repaired; nothing else changes."""
    lines = [line.rstrip("\n").rstrip(" \t") + "\n" for line in document.lines]
    return edit.with_rows(Document(split_lines("".join(lines))))
