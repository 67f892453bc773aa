#!/usr/bin/env python3
"""Draw random command lines, run the C program and this one on each, and report every disagreement.

Disagreements and totals go to stdout; progress goes to stderr, on one line of a terminal, else after every 50 cases.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from pathlib import Path

from nanobrag_torch.errors import InputError
from nanobrag_torch.tools.fuzz import Verdict, fuzz
from nanobrag_torch.tools.runners import c_binary

PROGRESS_EVERY = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--cases", type=int, default=300, help="command lines to draw (default 300)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default 1)")
    parser.add_argument("--c-bin", help="C program (default: NB_C_BIN, else the built one)")
    parser.add_argument("--keep", type=Path, help="folder to keep all files in")
    options = parser.parse_args()
    try:
        binary = c_binary(options.c_bin)
    except InputError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as scratch:
        return report(options, options.keep or Path(scratch), binary)


def report(options: argparse.Namespace, folder: Path, binary: Path) -> int:
    """Print disagreements and totals; 0 where there are none, else 3."""
    verdicts: list[Verdict] = []
    start = time.monotonic()
    for number, verdict in enumerate(fuzz(options.cases, options.seed, folder, binary)):
        verdicts.append(verdict)
        if not verdict.agrees:
            print(f"case {number}: {'; '.join(verdict.differences)}\n  {shlex.join(verdict.words)}", flush=True)
        show_progress(len(verdicts), options.cases, time.monotonic() - start)
    failed = sum(not verdict.agrees for verdict in verdicts)
    refused = sum(verdict.pixels == 0 and verdict.agrees for verdict in verdicts)
    pixels, equal = sum(v.pixels for v in verdicts), sum(v.equal for v in verdicts)
    worst = max((verdict.worst for verdict in verdicts), default=0.0)
    spent = time.monotonic() - start
    print(f"{len(verdicts)} cases (seed {options.seed}) in {spent:.0f} s, {failed} disagree, {refused} "
          f"refused by both; {equal} of {pixels} pixels bit-equal; worst relative difference {worst:.3g}")
    return 3 if failed else 0


def show_progress(done: int, cases: int, elapsed_s: float) -> None:
    """Cases done and time spent."""
    text = f"{done} of {cases} cases, {elapsed_s:.0f} s"
    if sys.stderr.isatty():
        print(text, end="\n" if done == cases else "\r", file=sys.stderr, flush=True)
    elif done % PROGRESS_EVERY == 0 or done == cases:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
