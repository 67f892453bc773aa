"""`nb-loop stop`: ask a running loop to end."""

from __future__ import annotations

import argparse
from pathlib import Path

from nanobrag_loop import runs
from nanobrag_loop.config import Config


def register(subparsers) -> None:
    parser = subparsers.add_parser("stop", help="end the loop: create .nbloop/STOP", allow_abbrev=False)
    parser.add_argument("--clear", action="store_true", help="remove the file again")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    path = runs.state_folder(root) / "STOP"
    if args.clear:
        path.unlink(missing_ok=True)
        print(f"{path} removed")
    else:
        path.touch()
        print(f"{path} created; a running agent is ended within a second, no new cycle starts")
    return 0
