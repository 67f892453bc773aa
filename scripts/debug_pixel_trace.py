#!/usr/bin/env python3
"""Run the C program and this one on the same arguments and show the first quantity in which they differ.

    debug_pixel_trace.py --pixel SLOW FAST -- ARGUMENTS...     every intermediate of one pixel
    debug_pixel_trace.py --mode peaks -- ARGUMENTS...          the 50 strongest peaks

Exit status: 0 the programs agree, 3 they differ, 2 bad input.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from nanobrag_torch.errors import InputError
from nanobrag_torch.tools.divergence import compare_traces, divergence_report, first_divergence, parse_trace, table
from nanobrag_torch.tools.peak_table import peak_table
from nanobrag_torch.tools.runners import Run, c_binary, run_c, run_python
from nanobrag_torch.tools.staging import float_image, stage

AGREE, BAD_INPUT, DIVERGE = 0, 2, 3
PLAIN = ("-nonoise", "-nopgm", "-noprogress", "-floatfile", "float.bin", "-intfile", "int.img")
"""The same files in every run, whatever the arguments say."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def main(words: list[str] | None = None) -> int:
    """Run the command with these words (default: the process's); returns the exit status."""
    try:
        options = _options(words)
        with tempfile.TemporaryDirectory() as scratch:
            return (_peaks if options.mode == "peaks" else _trace)(options, Path(scratch))
    except InputError as error:
        print(f"debug_pixel_trace: error: {error}", file=sys.stderr)
        return BAD_INPUT


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = _Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixel", type=int, nargs=2, metavar=("SLOW", "FAST"), help="pixel to trace")
    parser.add_argument("--mode", choices=("trace", "peaks"), default="trace", help="what to compare (default trace)")
    parser.add_argument("--c-bin", help="C program (default: NB_C_BIN, else the built one)")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="of nanoBragg")
    options = parser.parse_args(words)
    if options.arguments[:1] == ["--"]:
        del options.arguments[0]
    if not options.arguments:
        parser.error("expected the arguments of nanoBragg after --, got none")
    if options.mode == "trace" and options.pixel is None:
        parser.error("--pixel: expected SLOW FAST, got nothing")
    return options


def _run_both(options: argparse.Namespace, scratch: Path, extra: list[str]) -> tuple[Run, Run]:
    binary = c_binary(options.c_bin)
    c_words, words = ([*stage(options.arguments, scratch / name), *PLAIN, *extra] for name in ("c", "python"))
    by_c = _succeeded("C", run_c(c_words, scratch / "c", binary))
    return by_c, _succeeded("Python", run_python(words, scratch / "python"))


def _succeeded(name: str, run: Run) -> Run:
    if run.status != 0:
        last = (run.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise InputError(f"the {name} program ended with status {run.status}: {last}")
    return run


def _trace(options: argparse.Namespace, scratch: Path) -> int:
    slow, fast = options.pixel
    runs = _run_both(options, scratch, ["-trace_pixel", str(slow), str(fast)])
    traces = [parse_trace(run.stdout.splitlines()) for run in runs]
    for name, run, trace in zip(("C", "Python"), runs, traces, strict=True):
        if not trace:
            raise InputError(f"{run.command[0]}: expected a {name} program that knows -trace_pixel, got no TRACE line")
    compared = compare_traces(*traces)
    print(table(compared))
    divergence = first_divergence(compared)
    print(f"pixel slow {slow} fast {fast}: {len(compared)} quantities compared")
    print("no divergence" if divergence is None else divergence_report(divergence))
    return AGREE if divergence is None else DIVERGE


def _peaks(options: argparse.Namespace, scratch: Path) -> int:
    runs = _run_both(options, scratch, [])
    text, agree = peak_table(*(float_image(run.folder) for run in runs))
    print(text)
    return AGREE if agree else DIVERGE


if __name__ == "__main__":
    sys.exit(main())
