"""Three-way merge of ledgers by structure: per item and field, attempts united, index rows recomputed.

As git's merge driver: `python -m nanobrag_loop.ledger.merge %O %A %B %P`. What both sides changed differently is a
conflict: both values stand in the result between markers, which lint refuses, and the words say what differs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from nanobrag_loop.ledger import edit
from nanobrag_loop.ledger.cst import FIELDS, Document, ItemNode, Kind, split_lines
from nanobrag_loop.ledger.lint import errors

STRUCTURE = ("E0", "E2")
ATTEMPTS = "Attempts History"
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """An attempt: its number and its lines."""

    number: int
    lines: tuple[str, ...]

    def renumbered(self, number: int) -> Entry:
        head = self.lines[0].replace(f"Attempt #{self.number} ", f"Attempt #{number} ", 1)
        return Entry(number, (head, *self.lines[1:]))


@dataclass(frozen=True)
class Parts:
    """An item in parts: heading, one block of lines for each field, attempts apart. done: among the completed."""

    heading: str
    blocks: Mapping[str, tuple[str, ...]]
    attempts: tuple[Entry, ...]
    done: bool

    def lines(self) -> list[str]:
        found = [self.heading]
        for name, block in self.blocks.items():
            found += block
            if name == ATTEMPTS:
                found += [line for entry in self.attempts for line in entry.lines]
        return found


@dataclass
class Merged:
    """text: the result; conflicts: what could not be decided, in words."""

    text: str = ""
    conflicts: list[str] = field(default_factory=list)

    def choose(self, what: str, base: T, ours: T, theirs: T) -> T | None:
        """The changed side of a three-way comparison; None, and a conflict, if both changed differently."""
        if ours == theirs or theirs == base:
            return ours
        if ours == base:
            return theirs
        self.conflicts.append(f"{what}: both sides changed it")
        return None


def parts(document: Document, node: ItemNode) -> Parts:
    blocks: dict[str, tuple[str, ...]] = {}
    attempts: list[Entry] = []
    for part in node.fields:
        stop = part.line + 1 if part.name == ATTEMPTS else part.stop
        blocks[part.name] = document.lines[part.line : stop]
        attempts += [Entry(entry.number, document.lines[entry.line : entry.stop]) for entry in part.attempts]
    return Parts(document.lines[node.start], blocks, tuple(attempts), node.completed)


def mergeable(document: Document) -> bool:
    return not any(entry.code.startswith(STRUCTURE) for entry in errors(document))


def merge(base: str, ours: str, theirs: str) -> Merged | None:
    """The merged ledger; None if one of the three does not follow the grammar, so there is no structure to go by."""
    documents = [Document.of(text) for text in (base, ours, theirs)]
    if not all(mergeable(document) for document in documents):
        return None
    result = Merged()
    sides = [{node.id: parts(document, node) for node in document.items} for document in documents]
    chosen = {name: item for name in order(documents[1:]) if (item := merge_item(result, name, *sides_of(name, sides)))}
    titles = merge_titles(result, documents, chosen)
    result.text = assembled(result, documents, chosen, titles)
    return result


def sides_of(name: str, sides: Sequence[Mapping[str, Parts]]) -> list[Parts | None]:
    return [side.get(name) for side in sides]


def order(documents: Sequence[Document]) -> list[str]:
    """Ours first, then what only they have: their new active items go last, their new completed ones first."""
    ours, theirs = (document.items for document in documents)
    known = {node.id for node in ours}
    done = [node.id for node in theirs if node.completed and node.id not in known]
    active = [node.id for node in theirs if not node.completed and node.id not in known]
    return [*done, *(node.id for node in ours), *active]


def merge_item(result: Merged, name: str, base: Parts | None, ours: Parts | None, theirs: Parts | None) -> Parts | None:
    if ours is None or theirs is None:
        return merge_presence(result, name, base, ours, theirs)
    before = base or Parts("", {}, (), False)
    blocks: dict[str, tuple[str, ...]] = {}
    for key in sorted({*ours.blocks, *theirs.blocks}, key=FIELDS.index):
        sides = [side.blocks.get(key, ()) for side in (before, ours, theirs)]
        block = result.choose(f"{name}: {key}", *sides)
        blocks[key] = marked(sides[1], sides[2]) if block is None else block
    heading = result.choose(f"{name}: title", before.heading, ours.heading, theirs.heading)
    done = result.choose(f"{name}: completed", before.done, ours.done, theirs.done)
    attempts = merge_attempts(result, name, before.attempts, ours.attempts, theirs.attempts)
    lines = {key: block for key, block in blocks.items() if block}
    return Parts(heading or ours.heading, lines, attempts, ours.done if done is None else done)


def merge_presence(
    result: Merged, name: str, base: Parts | None, ours: Parts | None, theirs: Parts | None
) -> Parts | None:
    """An item that one side does not have: new on the other, or removed here."""
    left = ours or theirs
    if base is None or left is None:
        return left
    if left == base:
        return None
    result.conflicts.append(f"{name}: one side removed it, the other changed it")
    return replace(left, heading="".join(marked((left.heading,), ())))


def marked(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, ...]:
    return ("<<<<<<< ours\n", *ours, "=======\n", *theirs, ">>>>>>> theirs\n")


def merge_attempts(
    result: Merged, name: str, base: Sequence[Entry], ours: Sequence[Entry], theirs: Sequence[Entry]
) -> tuple[Entry, ...]:
    """Old attempts by three-way comparison, so pruning counts; then the new ones, theirs numbered after ours."""
    old, mine, other = ({entry.number: entry for entry in side} for side in (base, ours, theirs))
    kept: list[Entry] = []
    for number, entry in old.items():
        first, second = mine.get(number), other.get(number)
        left = first or second
        if first and second:
            chosen = result.choose(f"{name}: attempt #{number}", entry, first, second)
            kept.append(chosen or Entry(number, marked(first.lines, second.lines)))
        elif left and left != entry:
            result.conflicts.append(f"{name}: attempt #{number}: one side removed it, the other changed it")
            kept.append(left)
    kept += [entry for number, entry in mine.items() if number not in old]
    same = {entry.lines for entry in kept}
    for number, entry in other.items():
        if number in old or entry.lines in same:
            continue
        last = max((entry.number for entry in kept), default=0)
        kept.append(entry if number > last else entry.renumbered(last + 1))
    return tuple(kept)


def merge_titles(result: Merged, documents: Sequence[Document], chosen: Mapping[str, Parts]) -> dict[str, str]:
    """The titles of the index rows, which may differ from those of the items."""
    sides = [{row.id: row.title for row in document.rows} for document in documents]
    titles = {}
    for name, item in chosen.items():
        base, ours, theirs = (side.get(name) for side in sides)
        first, second = ours or theirs, theirs or ours
        if not item.done and first and second:
            titles[name] = result.choose(f"{name}: title in the index", base or "", first, second) or first
    return titles


def assembled(
    result: Merged, documents: Sequence[Document], chosen: Mapping[str, Parts], titles: Mapping[str, str]
) -> str:
    """The whole document: our frame, the metadata merged, the items in their two parts."""
    ours = documents[1]
    active = [item for item in chosen.values() if not item.done]
    done = [item for item in chosen.values() if item.done]
    if done:
        ours = edit.with_completed_part(ours)
    lines = [*head(result, documents), *ours.lines[ours.lines_of(Kind.INDEX)[0] : ours.lines_of(Kind.TSEP)[0] + 1]]
    rows = [f"| [{name}](#x) | {title} | x | x |\n" for name, title in titles.items()]
    lines += [*rows, "\n", "---\n", "\n"]
    for item in active:
        lines += [*item.lines(), "\n", "---\n", "\n"]
    if ours.completed_line is not None:
        first = next((node.start for node in ours.items if node.completed), None)
        stop = first if first is not None else after_heading(ours)
        lines += ours.lines[ours.completed_line : stop]
        for item in done:
            lines += [*item.lines(), "\n"]
        if ours.archive_line is not None:
            lines += ["---\n", "\n"]
    lines += tail(result, documents)
    return edit.with_rows(Document(split_lines("".join(lines)))).text


def after_heading(document: Document) -> int:
    at = document.completed_line or 0
    return next(n for n in range(at, len(document.kinds)) if document.kinds[n] is Kind.BLANK) + 1


def head(result: Merged, documents: Sequence[Document]) -> list[str]:
    """Title and metadata. Of two new dates in `Last Updated` the later one stands."""
    base, ours, theirs = ({key: value for key, value, _ in document.metas} for document in documents)
    lines = list(documents[1].lines[: documents[1].lines_of(Kind.INDEX)[0]])
    for key, _, line in documents[1].metas:
        sides = (base.get(key, ""), ours[key], theirs.get(key, ours[key]))
        if key == "Last Updated" and len(set(sides)) == len(sides):
            sides = ("", max(sides[1:]), max(sides[1:]))
        value = result.choose(key, *sides)
        shown = [f"**{key}:** {side}\n" for side in sides[1:]]
        lines[line] = "".join(marked(shown[:1], shown[1:])) if value is None else f"**{key}:** {value}\n"
    return lines


def tail(result: Merged, documents: Sequence[Document]) -> tuple[str, ...]:
    starts = [document.archive_line for document in documents]
    found = zip(documents, starts, strict=True)
    sides: list[tuple[str, ...]] = [document.lines[start:] if start is not None else () for document, start in found]
    chosen = result.choose("the text below Archive", *sides)
    return (*sides[1][:1], *marked(sides[1][1:], sides[2][1:])) if chosen is None else chosen


def main(argv: Sequence[str], fallback: Callable[[Sequence[str]], int] | None = None) -> int:
    """The merge driver: the result replaces our file (%A); exit code 1 if a conflict is left."""
    base, ours, theirs = (Path(name) for name in argv[:3])
    shown = argv[3] if len(argv) > 3 else str(ours)
    texts = [path.read_bytes().decode("utf-8", "surrogateescape") for path in (base, ours, theirs)]
    merged = merge(*texts)
    if merged is None:
        print(f"{shown}: not a valid ledger on every side; merged as text", file=sys.stderr)
        return (fallback or as_text)(argv)
    ours.write_bytes(merged.text.encode("utf-8", "surrogateescape"))
    for words in merged.conflicts:
        print(f"{shown}: {words}", file=sys.stderr)
    return 1 if merged.conflicts else 0


def as_text(argv: Sequence[str]) -> int:
    """Git's own line-based merge."""
    from nanobrag_loop.gitio import run

    base, ours, theirs = argv[:3]
    return 1 if run(Path.cwd(), "merge-file", "--", ours, base, theirs)[0] else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
