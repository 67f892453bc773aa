"""The branch before and after a cycle: is the repository fit to work in, and is it where its upstream is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from nanobrag_loop import worktrees
from nanobrag_loop.config import Config
from nanobrag_loop.errors import GitError, RefusedError
from nanobrag_loop.gitio import commit, fast_forward, git, identity, is_ancestor, read_blob, resolve, run
from nanobrag_loop.ledger import merge
from nanobrag_loop.routing import NOT_MEASURED

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


def push(root: Path, config: Config) -> str:
    """Push the branch to its upstream. If it moved there, and one side holds nothing that gates measure, the sides are
    merged first. Any other rejection is `GitError` and leaves the commits for the next time."""
    branch = config.branch
    source = upstream(root, branch)
    if source is None:
        raise GitError(f"branch {branch} has no upstream to push to", remedy=f"git push --set-upstream origin {branch}")
    command = ("push", "--quiet", source.remote, f"refs/heads/{branch}:{source.ref}")
    try:
        git(root, *command)
    except GitError:
        git(root, "fetch", "--quiet", "--no-tags", source.remote, source.ref)
        theirs = git(root, "rev-parse", "FETCH_HEAD").strip()
        if is_ancestor(root, theirs, f"refs/heads/{branch}"):
            raise
        join(root, config, theirs)
        git(root, *command)
    return f"pushed to {source.remote}"


def push_left_over(root: Path, config: Config) -> str:
    """Push what a rejected push left behind, if pushing is configured; a sentence for the user, or nothing."""
    if config.push != "after-cycle":
        return ""
    try:
        ahead = git(root, "rev-list", "--count", f"{config.branch}@{{upstream}}..{config.branch}").strip()
    except GitError:
        return ""
    return push(root, config) if ahead != "0" else ""


def join(root: Path, config: Config, theirs: str) -> None:
    """Merge `theirs` into the branch, the ledger by its structure; the attempts that are published keep their numbers.

    `GitError` if both sides hold more than ledger and evidence, or if the sides contradict each other.
    """
    ours = resolve(root, f"refs/heads/{config.branch}")
    base = git(root, "merge-base", ours, theirs).strip()
    remedy = "merge or rebase by hand; nothing was changed"
    if not any(only_books(root, config, base, side) for side in (ours, theirs)):
        raise GitError(f"{config.branch} and its upstream have diverged", remedy=remedy)
    blobs = [read_blob(root, side, config.ledger) or b"" for side in (base, theirs, ours)]
    merged = merge.merge(*(blob.decode("utf-8", "surrogateescape") for blob in blobs))
    if merged is None or merged.conflicts:
        words = "; ".join(merged.conflicts) if merged else "no valid ledger on every side"
        raise GitError(f"{config.branch} and its upstream have diverged: {config.ledger}: {words}", remedy=remedy)
    folder = root / ".nbloop" / "wt" / "join"
    worktrees.add(root, folder, ours)
    try:
        # The ledger is a conflict of lines for git; what else contradicts is refused by the commit.
        run(folder, "merge", "--no-commit", "--no-ff", "--quiet", theirs, env=identity(config))
        git(folder, "rev-parse", "--verify", "--quiet", "MERGE_HEAD")
        (folder / config.ledger).write_text(merged.text, encoding="utf-8", errors="surrogateescape")
        git(folder, "add", "--", f":(literal){config.ledger}")
        commit(folder, f"Merge {theirs[:12]} into {config.branch}", {}, config)
        fast_forward(root, config.branch, git(folder, "rev-parse", "HEAD").strip())
    finally:
        worktrees.remove(root, folder)


def only_books(root: Path, config: Config, base: str, side: str) -> bool:
    """Whether nothing but ledger and evidence changed from `base`: nothing that a gate measures."""
    changed = worktrees.changed_paths(root, base, side)
    return all(name == config.ledger or name.startswith(NOT_MEASURED) for name in changed)
