"""`nb-loop report`: the morning page."""

from __future__ import annotations

import argparse
from pathlib import Path

from nanobrag_loop import manifest, preparation, report, runs
from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError
from nanobrag_loop.gitio import resolve
from nanobrag_loop.preparation import Base


def register(subparsers) -> None:
    parser = subparsers.add_parser(
        "report", help="what was tried, measured, refused; what needs a person", allow_abbrev=False
    )
    parser.add_argument("--html", metavar="FILE", help="write one self-contained page")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    if args.html is not None and (not args.html or Path(args.html).is_dir()):
        raise ConfigError(f"--html: expected the name of a file, got {args.html!r}")
    base = Base(root, resolve(root, f"refs/heads/{config.branch}"))
    items, known = preparation.ledger_items(base, config), base.records()
    parity = preparation.parity_of(base, config, preparation.gate_book(base))
    local = runs.all_runs(root)
    waiting = [run.id for run in local if run.journal.get("parked")]
    needs = report.needs_a_person(items, known, waiting)
    needs += [
        f"Run {run.id} was interrupted in phase {run.phase}: nb-loop run --resume." for run in local if not run.finished
    ]
    if args.html is not None:
        about, now = f"{parity.state}: {parity.reason}", runs.stamp(runs.utc_now())
        paths = {str(row["path"]) for record in known for row in record.artifacts if row["kept"] == "git"}
        moved = {path: manifest.locate(path, root) for path in paths}
        morning = report.Morning(items, known, needs, base.commit, config.branch, now, about, moved)
        runs.write_atomic(Path(args.html), report.page(morning))
        print(f"{args.html}: {len(items)} items, {len(known)} attempts, {len(needs)} that need a person")
        return 0
    print_table(known[-20:], needs)
    return 0


def print_table(known, needs) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table("when", "item", "#", "agent", "claimed", "recorded", "why", title="Last attempts")
    for record in known:
        cells = (
            record.at,
            record.item,
            str(record.attempt),
            record.agent,
            record.claim or "nothing",
            record.result,
            record.reason,
        )
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    for line in needs:
        console.print(Text(f"needs a person: {line}"))
