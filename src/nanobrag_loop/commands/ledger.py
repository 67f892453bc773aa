"""`nb-loop ledger`: read, check and edit the ledger."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from nanobrag_loop import surroundings
from nanobrag_loop.config import Config
from nanobrag_loop.errors import FINDINGS, OK, LedgerError
from nanobrag_loop.ledger import edit, lint, model
from nanobrag_loop.ledger.cst import DETAILS, Document
from nanobrag_loop.runs import write_atomic

ARCHIVE = "docs/fix_plan_archive.md"
VERBATIM = "docs/archive/fix_plan"


def register(subparsers) -> None:
    parser = subparsers.add_parser("ledger", help="read, check and edit the ledger", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, handler: Callable, item: bool = False) -> argparse.ArgumentParser:
        own = verbs.add_parser(name, help=text, allow_abbrev=False)
        if item:
            own.add_argument("item", metavar="ID")
        own.set_defaults(handler=handler)
        return own

    checking = verb("lint", "check a ledger; exit 1 on errors", show_lint)
    checking.add_argument("file", nargs="?", help="another file than the repository's ledger")
    checking.add_argument("--fix", action="store_true", help="repair trailing blanks, index rows, the final newline")
    checking.add_argument("--json", action="store_true", help="machine-readable output")
    showing = verb("show", "all items, or one", show)
    showing.add_argument("item", nargs="?", metavar="ID")
    following = verb("next", "the item that would be worked on", show_next)
    following.add_argument("--explain", action="store_true", help="every item with the reason it lost")
    counting = verb("stats", "counts by status, priority and result", stats)
    for own in (showing, following, counting):
        own.add_argument("--json", action="store_true", help="machine-readable output")
    verb("set-status", "set an item's status (done: use complete)", set_status, item=True).add_argument(
        "status", choices=[word for word in model.STATUSES if word != "done"]
    )
    owning = verb("owner", "give an item to somebody, from today", set_owner, item=True)
    owning.add_argument("name", metavar="NAME")
    focusing = verb("focus", "say what the ledger is about now", set_focus)
    focusing.add_argument("text", metavar="TEXT")
    focusing.add_argument("--by", required=True, metavar="NAME", help="stands in `Last Updated`, with today")
    verb("complete", "move an item whose gates are green to the completed part", complete, item=True)
    _attempt_options(verb("attempt", "append an attempt", add_attempt, item=True))
    _item_options(verb("add", "add an item", add_item, item=True))
    archiving = verb("archive", "move a completed item to the archive, verbatim", archive, item=True)
    archiving.add_argument("--summary", required=True, metavar="TEXT", help="the sentence for the archive's list")
    pruning = verb("prune", "move old attempts of an item to its archive file, verbatim", prune, item=True)
    pruning.add_argument("--keep", type=int, required=True, metavar="N", help="attempts that stay")


def _attempt_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--result", required=True, metavar="TEXT", help=f"begins with {', '.join(model.RESULTS)}")
    for option in ("metrics", "artifacts", "observations", "next-actions"):
        parser.add_argument(f"--{option}", default="", metavar="TEXT")


def _item_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--title", required=True)
    parser.add_argument("--owner", required=True, metavar="NAME")
    parser.add_argument("--priority", choices=model.PRIORITIES, default="Medium")
    parser.add_argument("--criterion", action="append", required=True, metavar="TEXT", help="once for each criterion")
    for option in ("spec", "depends-on", "plan", "c", "pytorch", "roi", "divergence", "risks"):
        parser.add_argument(f"--{option}", default="", metavar="TEXT")


def read(root: Path, config: Config, name: str | None = None) -> tuple[Path, Document]:
    path = Path(name) if name else root / config.ledger
    try:
        return path, Document.of(path.read_bytes().decode("utf-8", "surrogateescape"))
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}") from None


def write(path: Path, before: Document, after: Document) -> None:
    """Replace the ledger as a whole, unless that would bring a new error."""
    problems = lint.new_errors(before, after)
    if problems:
        raise LedgerError(f"nothing was written: {problems[0].shown(path.name)}")
    if after.text != before.text:
        write_atomic(path, after.text)


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def show_lint(args: argparse.Namespace, root: Path, config: Config) -> int:
    path, document = read(root, config, args.file)
    if args.fix:
        repaired = lint.fixed(document)
        write(path, document, repaired)
        document = repaired
    own = args.file is None or path.resolve() == (root / config.ledger).resolve()
    found = lint.lint(document, surroundings.context(root, config) if own else None)
    if args.json:
        print(json.dumps([{**vars(entry), "severity": entry.severity} for entry in found], indent=1))
    else:
        for entry in found:
            print(entry.shown(args.file or config.ledger))
    return FINDINGS if any(entry.severity == "E" for entry in found) else OK


def show(args: argparse.Namespace, root: Path, config: Config) -> int:
    items = model.items(read(root, config)[1])
    if args.item:
        item = next((item for item in items if item.id == args.item), None)
        if item is None:
            raise LedgerError(f"{args.item}: no such item (items: {', '.join(item.id for item in items)})")
        print(json.dumps(_as_dict(item), indent=1, ensure_ascii=False) if args.json else item.text, end="")
        return OK
    if args.json:
        print(json.dumps([_as_dict(item) for item in items], indent=1, ensure_ascii=False))
        return OK
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    names = ("Title", "Priority", "Status", "Attempts", "Last result")
    table = Table(Column("ID", no_wrap=True), *names, box=None)
    for item in items:
        last = item.attempts[-1] if item.attempts else None
        words = f"{last.date} {last.word}" if last else "none"
        table.add_row(*map(escape, (item.id, item.title, item.priority, item.status, str(len(item.attempts)), words)))
    Console().print(table)
    return OK


def _as_dict(item: model.Item) -> dict:
    return {
        "id": item.id, "title": item.title, "priority": item.priority, "status": item.status, "line": item.start,
        "completed": item.completed, "spec": item.spec, "owner": "/".join(item.owner),
        "depends_on": list(item.depends_on), "plan": item.plan,
        "reproduction": item.reproduction, "first_divergence": item.first_divergence,
        "attempts": [{**vars(attempt), "word": attempt.word} for attempt in item.attempts], "risks": item.risks,
        "exit_criteria": [criterion.text for criterion in item.criteria],
    }  # fmt: skip


def show_next(args: argparse.Namespace, root: Path, config: Config) -> int:
    verdicts = surroundings.verdicts(root, config)
    chosen = next((verdict for verdict in verdicts if verdict.eligible), None)
    if args.json:
        rows = [vars(row) for row in verdicts]
        print(json.dumps({"next": chosen.item if chosen else None, "verdicts": rows}, indent=1))
        return OK
    for verdict in verdicts if args.explain else [chosen] if chosen else []:
        print(f"{verdict.item}: {verdict.reason}")
    if chosen is None:
        print("no item can be worked on")
    return OK


def stats(args: argparse.Namespace, root: Path, config: Config) -> int:
    document = read(root, config)[1]
    items = model.items(document)
    counts = {
        "items": len(items),
        "lines": len(document.lines),
        "status": Counter(item.status for item in items),
        "priority": Counter(item.priority for item in items),
        "results": Counter(attempt.word for item in items for attempt in item.attempts),
    }
    if args.json:
        print(json.dumps(counts, indent=1))
        return OK
    for name, value in counts.items():
        shown = ", ".join(f"{count} {word}" for word, count in value.items()) if isinstance(value, Counter) else value
        print(f"{name:9} {shown or 'none'}")
    return OK


def set_status(args: argparse.Namespace, root: Path, config: Config) -> int:
    path, document = read(root, config)
    completed = edit.node_of(document, args.item).completed
    change = edit.reopen if completed else edit.set_status
    write(path, document, change(document, args.item, args.status))
    return OK


def set_owner(args: argparse.Namespace, root: Path, config: Config) -> int:
    path, document = read(root, config)
    write(path, document, edit.set_owner(document, args.item, args.name, today()))
    return OK


def set_focus(args: argparse.Namespace, root: Path, config: Config) -> int:
    path, document = read(root, config)
    changed = edit.set_meta(document, "Active Focus", args.text)
    write(path, document, edit.set_meta(changed, "Last Updated", f"{today()} ({args.by})"))
    return OK


def complete(args: argparse.Namespace, root: Path, config: Config) -> int:
    """Refused unless every criterion has a passing gate on record: done is measured, not said."""
    path, document = read(root, config)
    facts = surroundings.gate_facts(root, config).get(args.item, ())
    node = edit.node_of(document, args.item)
    for criterion in model.read_item(document, node).criteria:
        own = [fact for fact in facts if fact.criterion == criterion.number]
        if not own or any(fact.state != "pass" for fact in own):
            state = ", ".join(fact.state or "never measured" for fact in own) or "no gate"
            raise LedgerError(
                f"{args.item}: criterion {criterion.number} is not shown to be met ({state})",
                remedy=f"nb-loop run --item {args.item}",
            )
    write(path, document, edit.complete(document, args.item))
    return OK


def add_attempt(args: argparse.Namespace, root: Path, config: Config) -> int:
    path, document = read(root, config)
    details = dict(zip(DETAILS, (args.metrics, args.artifacts, args.observations, args.next_actions), strict=True))
    write(path, document, edit.add_attempt(document, args.item, today(), args.result, details))
    return OK


def add_item(args: argparse.Namespace, root: Path, config: Config) -> int:
    path, document = read(root, config)
    fields = {
        "spec": args.spec, "priority": args.priority, "owner": f"{args.owner}/{today()}", "depends_on": args.depends_on,
        "plan": args.plan, "c": args.c, "pytorch": args.pytorch, "roi": args.roi, "divergence": args.divergence,
        "risks": args.risks, "criteria": args.criterion,
    }  # fmt: skip
    write(path, document, edit.add_item(document, args.item, args.title, fields))
    return OK


def archive(args: argparse.Namespace, root: Path, config: Config) -> int:
    path, document = read(root, config)
    item = model.read_item(document, edit.node_of(document, args.item))
    changed, verbatim = edit.archive_item(document, args.item)
    keep_verbatim(root, args.item, verbatim)
    listed = root / ARCHIVE
    before = listed.read_text(encoding="utf-8") if listed.exists() else "# Archive of the fix plan\n"
    write_atomic(listed, edit.archive_bullet(before, today(), item, args.summary))
    write(path, document, changed)
    return OK


def prune(args: argparse.Namespace, root: Path, config: Config) -> int:
    path, document = read(root, config)
    changed, verbatim = edit.prune_attempts(document, args.item, args.keep)
    if verbatim:
        keep_verbatim(root, args.item, verbatim)
        write(path, document, changed)
    return OK


def keep_verbatim(root: Path, item_id: str, text: str) -> None:
    """Append cut lines to the item's archive file before they leave the ledger."""
    path = root / VERBATIM / f"{item_id}.md"
    before = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else f"# {item_id}\n"
    if text not in before:
        write_atomic(path, f"{before}\n{text}")
