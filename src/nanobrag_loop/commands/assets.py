"""`nb-loop assets`: what is protected, and why."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nanobrag_loop import docindex
from nanobrag_loop.config import Config
from nanobrag_loop.errors import FINDINGS, OK
from nanobrag_loop.gitio import index_tree, listing, read_blob


def register(subparsers) -> None:
    parser = subparsers.add_parser("assets", help="the protected files and the reason for each", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|why")
    listed = verbs.add_parser("list", help="everything that is protected", allow_abbrev=False)
    asked = verbs.add_parser("why", help="what protects a path; exit 1 if nothing does", allow_abbrev=False)
    asked.add_argument("path", metavar="PATH")
    for verb in (listed, asked):
        verb.add_argument("--json", action="store_true", help="machine-readable output")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    tree = index_tree(root, args.index_file)
    index = (read_blob(root, tree, config.protect.index) or b"").decode("utf-8", "surrogateescape")
    guarded = docindex.protected(index, listing(root, tree).keys(), config)
    if args.verb == "why":
        reason = guarded.why(args.path)
        words = reason or f"{args.path} is not protected"
        print(json.dumps({"path": args.path, "why": reason}) if args.json else words)
        return OK if reason else FINDINGS
    every = {**guarded.files, **guarded.folders, **guarded.patterns}
    if args.json:
        print(json.dumps(every, indent=1))
        return OK
    for path in sorted(every):
        print(f"{path:48} {every[path]}")
    return OK
