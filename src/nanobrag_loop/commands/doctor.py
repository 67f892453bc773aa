"""`nb-loop doctor`: is everything there that a run needs?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nanobrag_loop import doctor
from nanobrag_loop.config import Config


def register(subparsers) -> None:
    parser = subparsers.add_parser("doctor", help="check what a run needs", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    checks = doctor.examine(root, config)
    if args.json:
        print(json.dumps([vars(check) for check in checks], indent=1))
    else:
        for check in checks:
            print(f"{check.state:5} {check.name:22} {check.detail}")
    return 1 if any(check.state == doctor.FAIL for check in checks) else 0
