"""The branch before and after a cycle: is the repository fit to work in, and is it where its upstream is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from nanobrag_loop.errors import GitError, RefusedError
from nanobrag_loop.gitio import fast_forward, git, is_ancestor

BUSY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "BISECT_LOG": "a bisection",
}


@dataclass(frozen=True)
class Upstream:
    """Where the branch is pulled from. note: what the user should know about the last pull."""

    remote: str
    ref: str
    note: str = ""


def preflight(root: Path, branch: str) -> None:
    """`RefusedError` unless HEAD is on `branch` and no other operation of git is under way."""
    folder = Path(git(root, "rev-parse", "--absolute-git-dir").strip())
    for name, what in BUSY.items():
        if (folder / name).exists():
            raise RefusedError(f"{what} is in progress in {root}", remedy="finish or abort it first")
    lock = folder / "index.lock"
    if lock.exists():
        age = time.time() - lock.stat().st_mtime
        remedy = "if no git command is running, remove it by hand"
        raise RefusedError(f"{lock} exists, {age:.0f} s old: another git command is running or died", remedy=remedy)
    head = (folder / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        raise RefusedError(f"HEAD is detached at {head[:12]}", remedy=f"git switch {branch}")
    current = head.removeprefix("ref: refs/heads/")
    if current != branch:
        raise RefusedError(
            f"the checkout is on branch {current!r}, the loop works on {branch!r}", remedy=f"git switch {branch}"
        )


def upstream(root: Path, branch: str) -> Upstream | None:
    try:
        remote = git(root, "config", "--get", f"branch.{branch}.remote").strip()
        merge = git(root, "config", "--get", f"branch.{branch}.merge").strip()
    except GitError:
        return None
    return Upstream(remote, merge)


def pull(root: Path, branch: str) -> str:
    """Fetch once and fast-forward; a sentence for the user, empty if there was nothing to say.

    A remote that cannot be reached does not stop local work. A branch that diverged does: `GitError`.
    """
    source = upstream(root, branch)
    if source is None:
        return ""
    try:
        git(root, "fetch", "--quiet", "--no-tags", source.remote, source.ref)
    except GitError as error:
        return f"not pulled: {error}"
    theirs = git(root, "rev-parse", "FETCH_HEAD").strip()
    local = f"refs/heads/{branch}"
    if is_ancestor(root, theirs, local):
        return ""
    if not is_ancestor(root, local, theirs):
        raise GitError(
            f"{branch} and {source.remote} have diverged", remedy="merge or rebase by hand; nothing was changed"
        )
    fast_forward(root, branch, theirs)
    return f"pulled to {theirs[:12]}"


def push(root: Path, branch: str) -> str:
    """Push the branch to its upstream; a rejection is `GitError` and leaves the commits for the next time."""
    source = upstream(root, branch)
    if source is None:
        raise GitError(f"branch {branch} has no upstream to push to", remedy=f"git push --set-upstream origin {branch}")
    git(root, "push", "--quiet", source.remote, f"refs/heads/{branch}:{source.ref}")
    return f"pushed to {source.remote}"
