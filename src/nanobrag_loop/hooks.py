"""What git runs: `python -m nanobrag_loop.hooks pre-commit | pre-merge-commit | pre-push`.

A hook is fast feedback and can be bypassed; the same checks run on the range in CI, and after every agent run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nanobrag_loop import config as configuration
from nanobrag_loop import gitio, plans
from nanobrag_loop.config import Config
from nanobrag_loop.errors import FINDINGS, OK, USAGE, ConfigError, LoopError
from nanobrag_loop.gitio import EMPTY_TREE, TreePair
from nanobrag_loop.guard import check as guards
from nanobrag_loop.guard.findings import Finding
from nanobrag_loop.ledger import lint
from nanobrag_loop.ledger.cst import Document

STAGES = ("pre-commit", "pre-merge-commit", "pre-push")


def staged_findings(
    root: Path, config: Config, index: str | None = None, role: str | None = None, route: str = ""
) -> list[Finding]:
    """Findings on what is staged, the ledger and the plans among it."""
    pair = TreePair(root, gitio.head_tree(root), gitio.index_tree(root, index))
    return [*guards.check(pair, config, role, route, committed=False), *document_findings(pair, config)]


def range_findings(
    root: Path, config: Config, span: str, role: str | None = None, route: str = ""
) -> list[Finding]:
    """Findings between the two ends of `A..B`; trailers of the commits between may sign for loosened tests."""
    old, dots, new = span.partition("..")
    if not dots or not old or not new or new.startswith("."):
        raise ConfigError(f"--range: expected A..B, got {span!r}")
    first, last = gitio.resolve(root, old), gitio.resolve(root, new)
    commits = gitio.git(root, "rev-list", f"{first}..{last}").split()
    return between(root, config, gitio.resolve(root, first, "tree"), last, commits, role, route)


def between(
    root: Path, config: Config, base: str, last: str, commits: Sequence[str], role: str | None = None, route: str = ""
) -> list[Finding]:
    pair = TreePair(root, base, gitio.resolve(root, last, "tree"))
    signed = list(gitio.trailers(root, commits, guards.TRAILER))
    return [*guards.check(pair, config, role, route, signed), *document_findings(pair, config)]


def push_findings(root: Path, config: Config, last: str, remote: str) -> list[Finding]:
    """Findings on the commits that the remote does not have yet.

    What git tells the hook can be empty (a new branch, a first root), so the new commits are walked here.
    """
    listed = gitio.git(root, "rev-list", "--boundary", last, "--not", f"--remotes={remote}").split()
    commits = [name for name in listed if not name.startswith("-")]
    known = [name[1:] for name in listed if name.startswith("-")]
    if not commits:
        return []
    start = gitio.resolve(root, known[0], "tree") if known else EMPTY_TREE
    return between(root, config, start, last, commits)


def document_findings(pair: TreePair, config: Config) -> list[Finding]:
    """Errors that a change brings into the ledger or a plan; a person sees the line and the rule."""
    found = []
    changed = {change.path for change in pair.changes if change.new}
    if config.ledger in changed:
        before = Document.of(pair.old_text(config.ledger) or "")
        after = Document.of(pair.new_text(config.ledger) or "")
        problems = lint.new_errors(before, after) if before.lines else lint.errors(after)
        found += [Finding(entry.code, f"{config.ledger}:{entry.line}", entry.message) for entry in problems]
    for path in sorted(path for path in changed if path.startswith("plans/") and path.endswith("/plan.md")):
        problems = [entry for entry in plans.lint(pair.new_text(path) or "") if entry.severity == "E"]
        found += [Finding(entry.code, f"{path}:{entry.line}", entry.message) for entry in problems]
    return found


def report(findings: Sequence[Finding]) -> None:
    """Errors to standard error, warnings marked as such; nothing if there is nothing to say."""
    for finding in findings:
        mark = "" if finding.severity == "E" else "warning: "
        print(f"{mark}{finding.line}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) != 1 or words[0] not in STAGES:
        print(f"usage: python -m nanobrag_loop.hooks {'|'.join(STAGES)}", file=sys.stderr)
        return USAGE
    try:
        index = gitio.clean_environment()
        root = gitio.top_level(Path.cwd())
        config = configuration.load(root)
        if words[0] == "pre-push":
            last = os.environ.get("PRE_COMMIT_TO_REF") or "HEAD"
            found = push_findings(root, config, last, os.environ.get("PRE_COMMIT_REMOTE_NAME") or "origin")
        else:
            found = staged_findings(root, config, index)
    except LoopError as error:
        print(f"nb-loop: {error.line}", file=sys.stderr)
        return error.exit_code
    report(found)
    return FINDINGS if any(finding.severity == "E" for finding in found) else OK


if __name__ == "__main__":
    raise SystemExit(main())
