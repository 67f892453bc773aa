"""`nb-loop runs`: look at runs, decide on parked ones, re-hash the evidence."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

from nanobrag_loop import manifest, records, retention, runs, sync
from nanobrag_loop.accept import accept, reject
from nanobrag_loop.config import Config
from nanobrag_loop.cycle import Cycle
from nanobrag_loop.errors import ConfigError, RefusedError
from nanobrag_loop.gates import GateResult
from nanobrag_loop.gitio import common_dir, git
from nanobrag_loop.preparation import Wish
from nanobrag_loop.recovery import abort
from nanobrag_loop.session import Session, summary

VERBS = {
    "list": "runs of this checkout",
    "show": "one run: phases, gates, findings, changed files",
    "diff": "the change that a run proposed",
    "accept": "merge a parked run, after its gates have passed again",
    "reject": "close a parked run without merging",
    "resume": "bring interrupted runs to their end",
    "abort": "close an interrupted run as it is, without an entry in the ledger",
    "prune": "remove old closed runs; with --committed, move old evidence to reports/archive/",
    "verify": "re-hash everything that committed records cite",
}


def register(subparsers) -> None:
    parser = subparsers.add_parser(
        "runs", help="look at runs, decide on parked ones, verify evidence", allow_abbrev=False
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="|".join(VERBS))
    for name, text in VERBS.items():
        verb = verbs.add_parser(name, help=text, allow_abbrev=False)
        if name in ("show", "diff", "accept", "reject", "abort"):
            verb.add_argument("run", metavar="RUN", help="id, the beginning of one, or last")
        if name in ("list", "show", "verify"):
            verb.add_argument("--json", action="store_true", help="machine-readable output")
        if name == "prune":
            verb.add_argument("--keep", type=count, default=runs.KEEP_RUNS, metavar="N", help="newest runs that stay")
            verb.add_argument("--committed", action="store_true", help="instead: evidence in the repository")
            verb.add_argument("--before", type=day, metavar="DATE", help="with --committed: older than YYYY-MM-DD")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    return HANDLERS[args.verb](args, root, config)


def list_runs(args: argparse.Namespace, root: Path, config: Config) -> int:
    found = runs.all_runs(root)
    if args.json:
        print(json.dumps([run.journal for run in found], indent=1))
        return 0
    for run in found:
        journal = run.journal
        state = journal.get("result", "") + (" parked" if journal.get("parked") else "")
        print(f"{run.id}  {journal.get('role', '-'):10} {journal.get('item') or '-':28} {run.phase:9} {state}")
    return 0


def show_run(args: argparse.Namespace, root: Path, config: Config) -> int:
    run = runs.find(root, args.run)
    if args.json:
        print(json.dumps(run.journal, indent=1))
        return 0
    journal = run.journal
    print(summary(run) if journal.get("decision") else f"{run.id}: {journal.get('result', run.phase)}")
    for phase, moment in journal.get("times", {}).items():
        print(f"  {moment}  {phase}")
    for row in journal.get("gates", []):
        print(f"  {GateResult.from_dict(row).line()}")
    for row in journal.get("findings", []):
        print(f"  {row['code']} {row['path']}: {row['message']}")
    if journal.get("tree"):
        print(git(root, "diff-tree", "-r", "--stat", journal["base"], journal["tree"]), end="")
    return 0


def diff_run(args: argparse.Namespace, root: Path, config: Config) -> int:
    patch = runs.find(root, args.run).file("change.patch")
    sys.stdout.write(patch.read_text(errors="replace") if patch.exists() else "")
    return 0


def accept_run(args: argparse.Namespace, root: Path, config: Config) -> int:
    common = common_dir(root)
    with runs.lock(common / "nbloop.lock", "nb-loop runs accept"):
        sync.preflight(root, config.branch)
        print(accept(root, common, config, runs.find(root, args.run)))
    return 0


def reject_run(args: argparse.Namespace, root: Path, config: Config) -> int:
    with runs.lock(common_dir(root) / "nbloop.lock", "nb-loop runs reject"):
        print(reject(root, runs.find(root, args.run)))
    return 0


def resume_runs(args: argparse.Namespace, root: Path, config: Config) -> int:
    with runs.lock(common_dir(root) / "nbloop.lock", "nb-loop runs resume"):
        Session(root, config, Wish(), 0).resume_all()
    return 0


def abort_run(args: argparse.Namespace, root: Path, config: Config) -> int:
    common = common_dir(root)
    with runs.lock(common / "nbloop.lock", "nb-loop runs abort"):
        run = runs.find(root, args.run)
        if run.finished:
            raise RefusedError(f"run {run.id} is closed already: {run.journal.get('result', 'no result')}")
        abort(Cycle(root, common, config, run), "a person closed it")
        print(f"{run.id}: aborted; what it left is in {run.folder}")
    return 0


def count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number that is not negative, got {text!r}")
    return int(text)


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected YYYY-MM-DD, got {text!r}") from None


def prune_runs(args: argparse.Namespace, root: Path, config: Config) -> int:
    if args.committed != bool(args.before):
        raise ConfigError("prune: --committed and --before DATE belong together")
    if args.committed:
        return archive_evidence(args, root)
    gone = runs.prune(root, keep=args.keep)
    print(f"{len(gone)} runs removed")
    return 0


def archive_evidence(args: argparse.Namespace, root: Path) -> int:
    with runs.lock(common_dir(root) / "nbloop.lock", "nb-loop runs prune"):
        moves = retention.archive(root, args.before)
    for folder, goal in moves:
        print(f"{folder} -> {goal}")
    print(f"{len(moves)} folders moved{'; staged, to be committed by a person' if moves else ''}")
    return 0


def verify(args: argparse.Namespace, root: Path, config: Config) -> int:
    """Re-hash the artifacts of every committed record of the checkout."""
    known, problems = records.read_all(root)
    for record in known:
        problems += [f"{record.run}: {line}" for line in manifest.verify(record.artifacts, root)]
    if args.json:
        print(json.dumps({"records": len(known), "problems": problems}, indent=1))
    else:
        print("\n".join([*problems, f"{len(known)} records, {len(problems)} problems"]))
    return 1 if problems else 0


HANDLERS = {
    "list": list_runs,
    "show": show_run,
    "diff": diff_run,
    "accept": accept_run,
    "reject": reject_run,
    "resume": resume_runs,
    "abort": abort_run,
    "prune": prune_runs,
    "verify": verify,
}
