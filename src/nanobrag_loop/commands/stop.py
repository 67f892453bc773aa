"""`nb-loop stop`: ask a running loop to end, by a file for whoever starts one and by a signal to the one that runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from nanobrag_loop import runs
from nanobrag_loop.config import Config
from nanobrag_loop.gitio import common_dir


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
        pid = runs.tell_to_stop(common_dir(root) / "nbloop.lock")
        told = f"process {pid} was told: its agent is ended within a second or so" if pid else "no loop runs here"
        print(f"{path} created, no new cycle starts; {told}")
    return 0
