"""`nb-loop guard`: the guards on what is staged, on a range of commits, or on two trees."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nanobrag_loop import hooks
from nanobrag_loop.config import Config
from nanobrag_loop.errors import FINDINGS, OK, ConfigError
from nanobrag_loop.gitio import TreePair, resolve
from nanobrag_loop.guard.check import check
from nanobrag_loop.guard.findings import RULES, Finding


def register(subparsers) -> None:
    parser = subparsers.add_parser("guard", help="check a change against the guards", allow_abbrev=False)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--staged", action="store_true", help="what is staged (the default)")
    what.add_argument("--range", metavar="A..B", help="from commit A to commit B")
    what.add_argument("--trees", nargs=2, metavar=("A", "B"), help="two trees or commits")
    parser.add_argument("--role", metavar="R", help="as if this role of plans/loop.yaml had made the change")
    parser.add_argument("--route", default="", metavar="R", help="the route that the role worked in")
    parser.add_argument(
        "--warn", choices=("A", "T", "P"), action="append", default=[], help="report this class, do not refuse for it"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    if args.role and args.role not in config.policy:
        raise ConfigError(f"--role: expected one of {', '.join(config.policy)}, got {args.role!r}")
    if args.range:
        found = hooks.range_findings(root, config, args.range, args.role, args.route)
    elif args.trees:
        base, result = (resolve(root, rev, "tree") for rev in args.trees)
        pair = TreePair(root, base, result)
        found = check(pair, config, args.role, args.route)
    else:
        found = hooks.staged_findings(root, config, args.index_file, args.role, args.route)
    found = [softened(finding, args.warn) for finding in found]
    if args.json:
        print(json.dumps([finding.as_dict() for finding in found], indent=1))
    else:
        hooks.report(found)
    return FINDINGS if any(finding.severity == "E" for finding in found) else OK


def softened(finding: Finding, classes: Sequence[str]) -> Finding:
    """The finding, as a warning if its class is one of those that are only to be reported."""
    soft = finding.code in RULES and finding.code[0] in classes
    return replace(finding, severity="W") if soft else finding
