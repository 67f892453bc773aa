"""`nb-loop plan`: check, show and mark the plans of items."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nanobrag_loop import plans
from nanobrag_loop.commands.ledger import read
from nanobrag_loop.config import Config
from nanobrag_loop.errors import FINDINGS, OK, LedgerError
from nanobrag_loop.ledger import model
from nanobrag_loop.runs import write_atomic


def register(subparsers) -> None:
    parser = subparsers.add_parser("plan", help="check, show and mark the plans of items", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="lint|show|mark")
    checking = verbs.add_parser("lint", help="check every plan, or the named files", allow_abbrev=False)
    checking.add_argument("files", nargs="*", metavar="FILE")
    checking.set_defaults(handler=show_lint)
    showing = verbs.add_parser("show", help="the tasks of an item", allow_abbrev=False)
    showing.add_argument("item", metavar="ID")
    showing.add_argument("--json", action="store_true", help="machine-readable output")
    showing.set_defaults(handler=show)
    marking = verbs.add_parser("mark", help="set the state of a task", allow_abbrev=False)
    marking.add_argument("item", metavar="ID")
    marking.add_argument("task", metavar="TASK")
    marking.add_argument("state", metavar="STATE", help=" | ".join(plans.WORDS))
    marking.add_argument("--evidence", default="", metavar="RUN", help="a run id or a path; needed for done")
    marking.set_defaults(handler=mark)


def plan_of(root: Path, config: Config, item_id: str) -> Path:
    """The plan that an item's Plan field names."""
    items = {item.id: item for item in model.items(read(root, config)[1])}
    if item_id not in items:
        raise LedgerError(f"{item_id}: no such item (items: {', '.join(items)})")
    path = items[item_id].plan
    if not path or not (root / path).is_file():
        raise LedgerError(f"{item_id}: {f'its plan {path} does not exist' if path else 'the item has no plan'}")
    return root / path


def show_lint(args: argparse.Namespace, root: Path, config: Config) -> int:
    files = [Path(name) for name in args.files] or sorted((root / "plans").glob("*/*/plan.md"))
    failed = False
    for path in files:
        if not path.is_file():
            raise LedgerError(f"{path}: no such file")
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        for entry in plans.lint(path.read_text(encoding="utf-8", errors="surrogateescape")):
            print(entry.shown(str(shown)))
            failed = failed or entry.severity == "E"
    return FINDINGS if failed else OK


def show(args: argparse.Namespace, root: Path, config: Config) -> int:
    found = plans.tasks(plan_of(root, config, args.item).read_text(encoding="utf-8", errors="surrogateescape"))
    if args.json:
        print(json.dumps([vars(task) for task in found], indent=1, ensure_ascii=False))
        return OK
    phase = None
    for task in found:
        if task.phase != phase:
            phase = task.phase
            print(phase)
        print(f"  {task.state} {task.id}: {task.text}")
    return OK


def mark(args: argparse.Namespace, root: Path, config: Config) -> int:
    path = plan_of(root, config, args.item)
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    write_atomic(path, plans.mark(text, args.task, args.state, args.evidence))
    return OK
