"""Options that the benchmarks share; whatever is wrong is said in one line that names the option."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from nanobrag_torch.errors import InputError
from nanobrag_torch.io.atomic import check_writable
from nanobrag_torch.tools.runners import c_binary

BAD_INPUT, INTERRUPTED = 2, 130
PRECISIONS = ("float64", "mixed", "float32")
REPORTS = Path(__file__).parents[3] / "reports" / "benchmarks"


class Parser(argparse.ArgumentParser):
    """Parser of one benchmark, with `--threads`, `--json`, `--reports`, and `--c-bin` if asked; raises `InputError`."""

    def __init__(self, description: str, *, with_c: bool = False) -> None:
        super().__init__(description=description, allow_abbrev=False)
        self.add_argument("--threads", type=count, default=cores(), help="of both programs (default: all cores)")
        self.add_argument("--json", metavar="FILE", help="a further copy of the figures")
        self.add_argument("--reports", type=Path, default=REPORTS, metavar="FOLDER",
                          help="where <UTC>-<name>/summary.json and summary.md go (default: reports/benchmarks)")
        self.with_c = with_c
        if with_c:
            self.add_argument("--c-bin", help="C program (default: $NB_C_BIN, else the built one)")

    def error(self, message: str) -> NoReturn:
        raise InputError(message.removeprefix("argument "))

    def parse_args(self, words: list[str] | None = None) -> argparse.Namespace:
        """Options of these words; programs and places to write to are there."""
        options = super().parse_args(words)
        if self.with_c:
            options.c_bin = _c_program(options.c_bin)
        if options.json is not None:
            check_writable({"--json": options.json})
        there = next(folder for folder in (options.reports, *options.reports.absolute().parents) if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK)):
            self.error(f"--reports: expected a folder that can be written to, got {options.reports}")
        return options


def command(name: str, main: Callable[[], None]) -> int:
    """Run a benchmark; its exit status."""
    try:
        main()
    except InputError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{name}: interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    return 0


def _c_program(given: str | None) -> Path:
    try:
        return c_binary(given)
    except InputError:
        if given is None:
            raise
        raise InputError(f"--c-bin: expected a C build of nanoBragg, got {given}") from None


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count(text: str) -> int:
    """A whole number, 1 or above; 1e9 is one."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (1 <= value < 2**53 and value == int(value)):
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or above, got {text!r}")
    return int(value)


def counts(text: str) -> list[int]:
    """Whole numbers, parted by commas."""
    return [count(part) for part in text.split(",")]


def among(*known: str) -> Callable[[str], list[str]]:
    """Words of a list, parted by commas."""
    def words(text: str) -> list[str]:
        chosen = text.split(",")
        for word in chosen:
            if word not in known:
                raise argparse.ArgumentTypeError(f"expected some of {','.join(known)}, got {word!r}")
        return list(dict.fromkeys(chosen))

    return words
