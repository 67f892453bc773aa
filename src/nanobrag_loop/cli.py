"""`nb-loop`: the argument tree and exit codes; no logic.

Each command is a module of `nanobrag_loop.commands` that offers `register(subparsers)` and sets a handler, called with
the arguments, the checkout's root and its settings. Only the module of the command asked for is imported.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from nanobrag_loop.errors import INTERRUPTED, OK, USAGE, LoopError

COMMANDS = (
    "doctor", "install", "ledger", "plan", "assets", "guard", "gates", "prompt", "run", "runs", "report", "stop",
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the command line; subparsers are of the same class."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(USAGE)


def parser(wanted: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    top = Parser("nb-loop", description=__doc__.splitlines()[0], allow_abbrev=False)
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in wanted:
        importlib.import_module(f"nanobrag_loop.commands.{name}").register(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is that of `nanobrag_loop.errors`."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser((words[0],) if words and words[0] in COMMANDS else COMMANDS).parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may be no text; it is shown, not stumbled over.
        sys.stdout.reconfigure(errors="backslashreplace")
    end_like_ctrl_c()
    try:
        return dispatch(args)
    except LoopError as error:
        print(f"nb-loop: {error.line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("nb-loop: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        drop_output()
        return OK
    except OSError as error:
        drop_output()
        print(f"nb-loop: {error.filename2 or error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return USAGE


def end_like_ctrl_c() -> None:
    """A request to end, or a terminal that is closed, is Ctrl-C: a running agent is ended before this process is.
    What is ignored already, as under `nohup`, stays ignored."""

    def interrupt(number: int, frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)


def drop_output() -> None:
    """Nobody reads on, or nothing more can be written: what is left in the buffer is not tried again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def dispatch(args: argparse.Namespace) -> int:
    from nanobrag_loop import config, gitio

    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text, as on stderr
    args.index_file = gitio.clean_environment()
    root = gitio.top_level(Path.cwd())
    code = args.handler(args, root, config.load(root))
    if sys.stdout is not None:
        sys.stdout.flush()
    return code
