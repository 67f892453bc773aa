"""The guards as the runner asks them: findings on two trees as plain data, and how much is protected."""

from __future__ import annotations

from pathlib import Path

from nanobrag_loop import docindex
from nanobrag_loop.config import Config
from nanobrag_loop.gitio import TreePair, listing, read_blob
from nanobrag_loop.guard.check import check


def findings(root: Path, config: Config, base: str, tree: str, role: str, route: str) -> list[dict]:
    """What is wrong with the change from `base` to `tree`, made by a role: nothing is waived for it."""
    return [finding.as_dict() for finding in check(TreePair(root, base, tree), config, role, route)]


def protected_count(root: Path, commit: str, config: Config) -> int:
    """How many paths are protected at a commit."""
    index = (read_blob(root, commit, config.protect.index) or b"").decode("utf-8", "surrogateescape")
    names = listing(root, commit).keys()
    guarded = docindex.protected(index, names, config)
    return sum(bool(guarded.why(name)) for name in names)
