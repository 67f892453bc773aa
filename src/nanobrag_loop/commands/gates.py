"""`nb-loop gates`: list and measure exit criteria."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from nanobrag_loop import gates, measure, preparation, records, routing, runs, worktrees
from nanobrag_loop.config import Config
from nanobrag_loop.errors import RefusedError
from nanobrag_loop.gitio import resolve
from nanobrag_loop.preparation import Base


def register(subparsers) -> None:
    parser = subparsers.add_parser("gates", help="list and measure exit criteria", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|run|history")
    listing = verbs.add_parser("list", help="every gate of the branch's tip", allow_abbrev=False)
    running = verbs.add_parser("run", help="measure the gates of an item, or parity", allow_abbrev=False)
    running.add_argument("item", metavar="ITEM|parity")
    running.add_argument(
        "--at", metavar="REV", help="measure this commit in a scratch worktree (default: the branch's tip)"
    )
    history = verbs.add_parser("history", help="what recorded attempts measured", allow_abbrev=False)
    history.add_argument("item", metavar="ITEM")
    for verb in (listing, running, history):
        verb.add_argument("--json", action="store_true", help="machine-readable output")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    return {"list": list_gates, "run": run_gates, "history": show_history}[args.verb](args, root, config)


def tip(root: Path, config: Config, rev: str | None = None) -> Base:
    return Base(root, resolve(root, rev or f"refs/heads/{config.branch}"))


def list_gates(args: argparse.Namespace, root: Path, config: Config) -> int:
    book = preparation.gate_book(tip(root, config))
    every = [*book.shared.values(), *(gate for own in book.items.values() for gate in own)]
    if args.json:
        print(json.dumps([{"gate": g.id, "criterion": g.criterion, "kind": g.kind, "text": g.title} for g in every]))
        return 0
    for gate in every:
        place = "shared" if gate.criterion is None else f"criterion {gate.criterion}"
        print(f"{gate.id:32} {place:12} {gate.kind:7} {gate.title}")
    return 0


def run_gates(args: argparse.Namespace, root: Path, config: Config) -> int:
    """Measure; exit 0 only if every gate passes."""
    base = tip(root, config, args.at)
    book = preparation.gate_book(base)
    name = config.parity.gate if args.item == "parity" else args.item
    own = book.of(name)
    if not own:
        known = ", ".join(["parity", *book.shared, *book.items])
        raise RefusedError(f"{name}: no gates in {gates.GATES_FILE} at {base.commit[:12]} (there are: {known})")
    results = measure_at(root, config, base, book, own)
    if name == config.parity.gate:
        key = preparation.parity_key(base, own[0])
        routing.remember_parity(root, key, results, runs.stamp(runs.utc_now()))
    show(results, args.json, base.commit)
    return 0 if gates.all_pass(results) else 1


def measure_at(
    root: Path, config: Config, base: Base, book: gates.GateBook, own: Sequence[gates.Gate]
) -> list[gates.GateResult]:
    """The gates on one commit, in a scratch worktree that is gone afterwards."""
    scratch = runs.state_folder(root) / "wt"
    scratch.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="gates-", dir=scratch))
    out = Path(tempfile.mkdtemp(prefix="gates-out-", dir=scratch))
    worktrees.add(root, folder, base.commit)
    try:
        env = measure.environment(config.env_allow, folder)
        return measure.evaluate_all(book, own, measure.Place(folder, out, env, time.time(), folder.name))
    finally:
        worktrees.remove(root, folder)
        worktrees.remove(root, out)


def show(results: Sequence[gates.GateResult], as_json: bool, commit: str) -> None:
    if as_json:
        print(json.dumps({"commit": commit, "gates": [result.as_dict() for result in results]}, indent=1))
        return
    for result in results:
        print(f"{result.line()}  [{result.seconds:.1f} s] {result.title}")
    print(
        f"{sum(result.state == gates.PASS for result in results)} of {len(results)} pass at {commit[:12]}",
        file=sys.stderr,
    )


def show_history(args: argparse.Namespace, root: Path, config: Config) -> int:
    own = [record for record in tip(root, config).records() if record.item == args.item]
    if args.json:
        print(json.dumps([{"attempt": r.attempt, "gates": [g.as_dict() for g in r.gates]} for r in own], indent=1))
        return 0
    for record in own:
        print(f"attempt {record.attempt}, {record.at}: {record.result}")
        for result in record.gates:
            print(f"  {result.line()}")
    if not own:
        print(f"no attempt of {args.item} is on record below {records.FOLDER}", file=sys.stderr)
    return 0
