"""`nb-loop prompt`: render a prompt as the next cycle would, and list its variables."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nanobrag_loop import preparation, prompts
from nanobrag_loop.config import Config
from nanobrag_loop.errors import RefusedError
from nanobrag_loop.gitio import resolve
from nanobrag_loop.preparation import Base, NothingToDo, Wish


def register(subparsers) -> None:
    parser = subparsers.add_parser("prompt", help="render a prompt, list its variables", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="render|vars")
    render = verbs.add_parser("render", help="print the prompt of the next cycle", allow_abbrev=False)
    render.add_argument("--item", metavar="ID")
    render.add_argument("--route", metavar="R")
    names = verbs.add_parser("vars", help="the variables that a template may use", allow_abbrev=False)
    names.add_argument("--json", action="store_true", help="machine-readable output")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    if args.verb == "vars":
        if args.json:
            print(json.dumps(dict(prompts.VARIABLES), indent=1))
        else:
            print("\n".join(f"{name:16} {meaning}" for name, meaning in prompts.VARIABLES.items()))
        return 0
    base = Base(root, resolve(root, f"refs/heads/{config.branch}"))
    try:
        print(preparation.prepare(base, config, Wish(item=args.item, route=args.route)).prompt, end="")
    except NothingToDo as reason:
        raise RefusedError(str(reason)) from None
    return 0
