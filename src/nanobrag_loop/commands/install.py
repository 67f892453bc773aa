"""`nb-loop install`: register the hooks and the ledger's merge driver in this clone."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from nanobrag_loop.config import Config
from nanobrag_loop.errors import OK, RefusedError
from nanobrag_loop.gitio import common_dir, git, run
from nanobrag_loop.hooks import STAGES

HOOK_FILE = ".pre-commit-config.yaml"


def register(subparsers) -> None:
    parser = subparsers.add_parser("install", help="register hooks and merge driver in this clone", allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="only say what is registered; exit 1 if something lacks")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    if not args.check:
        register_driver(root)
        register_hooks(root)
    lacking = missing(root)
    for name in lacking:
        print(f"not registered: {name}", file=sys.stderr)
    if not lacking:
        print(f"hooks {', '.join(STAGES)} and the merge driver of {config.ledger} are registered")
    return 1 if lacking else OK


def register_driver(root: Path) -> None:
    """Git's configuration for `merge=fixplan` of .gitattributes, and the interpreter that the hooks run with."""
    command = f"{shlex.quote(sys.executable)} -m nanobrag_loop.ledger.merge %O %A %B %P"
    git(root, "config", "merge.fixplan.name", "structural merge of the ledger")
    git(root, "config", "merge.fixplan.driver", command)
    git(root, "config", "nbloop.python", sys.executable)


def register_hooks(root: Path) -> None:
    if not (root / HOOK_FILE).is_file():
        raise RefusedError(f"{HOOK_FILE} is not in this checkout: no hooks to register")
    stages = [word for stage in STAGES for word in ("--hook-type", stage)]
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "install", *stages], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split()[-40:])
        raise RefusedError(f"pre-commit install failed: {words}", remedy="pip install 'nanobrag-torch[loop]'")


def missing(root: Path) -> list[str]:
    """What is not registered in this clone."""
    folder = common_dir(root) / "hooks"
    lacking = [f"hook {stage}" for stage in STAGES if not (folder / stage).is_file()]
    if run(root, "config", "--get", "merge.fixplan.driver")[0]:
        lacking.append("merge driver fixplan")
    return lacking
