"""`nb-loop`: the argument tree and exit codes; no logic.

Each command is a module of `nanobrag_loop.commands` that offers `register(subparsers)` and sets a handler, called with
the arguments, the checkout's root and its settings. Only the module of the command asked for is imported.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nanobrag_loop.errors import INTERRUPTED, LoopError

COMMANDS = (
    "doctor", "install", "ledger", "plan", "assets", "guard", "gates", "prompt", "run", "runs", "report", "stop",
)  # fmt: skip


def parser(wanted: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser("nb-loop", description=__doc__.splitlines()[0], allow_abbrev=False)
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in wanted:
        importlib.import_module(f"nanobrag_loop.commands.{name}").register(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is that of `nanobrag_loop.errors`."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser((words[0],) if words and words[0] in COMMANDS else COMMANDS).parse_args(words)
    try:
        return dispatch(args)
    except LoopError as error:
        print(f"nb-loop: {error.line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("nb-loop: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def dispatch(args: argparse.Namespace) -> int:
    from nanobrag_loop import config, gitio

    args.index_file = gitio.clean_environment()
    root = gitio.top_level(Path.cwd())
    return args.handler(args, root, config.load(root))
