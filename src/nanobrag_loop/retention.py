"""Retention of committed evidence: old folders move, unchanged, below `reports/archive/`.

Records stay where they are. They keep the hash of every file, so that what moved can be verified where it lies now,
and what is missing but accounted for differs from what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from nanobrag_loop.errors import RefusedError
from nanobrag_loop.gitio import git, split
from nanobrag_loop.manifest import archived

EVIDENCE = re.compile(r"(reports/(\d{4}-\d{2}-\d{2})-[^/]+)/")


def old_folders(paths: Iterable[str], before: date) -> list[str]:
    """The evidence folders `reports/YYYY-MM-DD-ITEM` among tracked `paths` that are older than `before`."""
    found = {(match[1], match[2]) for path in paths if (match := EVIDENCE.match(path))}
    return sorted(folder for folder, day in found if day < before.isoformat())


def archive(root: Path, before: date) -> list[tuple[str, str]]:
    """Move old evidence in the checkout and stage that; (from, to) of every folder. A person commits it.

    `RefusedError`, with nothing moved, if a goal is taken.
    """
    moves = [(folder, archived(folder)) for folder in old_folders(split(git(root, "ls-files", "-z")), before)]
    for _, goal in moves:
        if (root / goal).exists():
            raise RefusedError(f"{goal}: is there already", remedy="look at both folders; nothing was moved")
    for folder, goal in moves:
        (root / goal).parent.mkdir(parents=True, exist_ok=True)
        git(root, "mv", "--", folder, goal)
    return moves
