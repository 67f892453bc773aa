"""What an agent did outside its worktree, found by comparing before and after, and put back where that is safe.

A worktree is no security boundary: this detects, it does not prevent. Git's own configuration, hooks and refs are
put back; files of the main checkout are left as they are, since a person may be working there, and reported.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from nanobrag_loop import gitio, worktrees
from nanobrag_loop.worktrees import Sentinel

REMEDIES = {
    "P3": "leave out what git ignores",
    "P6": "propose files; the runner commits",
    "P7": "work in the worktree only; if a person changed this file, run again",
    "P8": "leave git's configuration, hooks and remotes and .nbloop alone",
    "L": "see limits.run in plans/loop.yaml",
}
FORGED = "nothing of this repository can be trusted before its objects are fetched again into a fresh clone"
DAMAGE_SHOWN = 5


def finding(code: str, path: str, message: str, severity: str = "E", remedy: str = "") -> dict[str, str]:
    """One finding of the runner, of the same form as those of the guard."""
    remedy = remedy or REMEDIES.get(code) or REMEDIES[code[0]]
    return {"code": code, "severity": severity, "path": path, "message": message, "remedy": remedy}


def committer(run_id: str) -> str:
    """The address that marks every commit an agent makes by itself."""
    return f"run-{run_id}@nbloop.invalid"


def escapes(
    root: Path, common: Path, before: Mapping, kept: Mapping[str, str], run_id: str, branch: str
) -> list[dict]:
    """Findings P6, P7, P8 after an agent, or a gate that runs its code; git's configuration, hooks, refs and worktrees
    are as before afterwards."""
    found = []
    for name in worktrees.put_back_git_files(common, kept, before["files"]):
        found.append(finding("P8", f".git/{name}", "the agent changed git's configuration or hooks; it was put back"))
    after = worktrees.sentinel(root, common, run_id)
    for name in differing(before["memory"], after.memory):
        worktrees.clear(root / ".nbloop" / name)
        found.append(finding("P8", f".nbloop/{name}", "the runner's memory changed while the agent ran; forgotten"))
    found += repository_findings(root, common, before, after)
    moved = moved_refs(root, before["refs"], after, run_id, branch)
    for name in moved:
        found.append(finding("P6", name, "the agent committed or moved a ref; it was put back"))
    worktrees.put_back_refs(root, before["refs"], moved)
    changed = differing(before["status"], after.status)
    for name in changed:
        found.append(finding("P7", name, "this file of the main checkout changed while the agent ran"))
    worktrees.show_hidden(root, [name for name in changed if after.status.get(name, "").startswith(worktrees.HIDDEN)])
    return found


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def repository_findings(root: Path, common: Path, before: Mapping, after: Sentinel) -> list[dict]:
    """Findings P8 on HEAD, worktrees, objects, and on the user's own configuration, which is left to the user."""
    found = []
    if after.head != before["head"]:
        back = "; it was put back" if worktrees.put_back_head(root, common, before["head"]) else ""
        text = f"HEAD of the main checkout moved from {before['head'].strip()}{back}"
        found.append(finding("P8", ".git/HEAD", text))
    for name in sorted(set(after.worktrees) - set(before["worktrees"])):
        gone = worktrees.drop_inner(root, common, name)
        text = f"a worktree was registered while the agent ran; {'it was taken out again' if gone else 'look at it'}"
        found.append(finding("P8", f".git/worktrees/{name}", text))
    found += damage_findings(sorted(set(after.damage) - set(before["damage"])))
    # The files that were looked at before: a run that is resumed may have another environment.
    for name, digest in before["user"].items():
        if worktrees.digest(Path(name)) != digest:
            found.append(finding("P8", name, "git's configuration of the user changed while the agent ran; look at it"))
    return found


def damage_findings(lines: Sequence[str]) -> list[dict]:
    """Findings P8 on what git finds wrong with its objects."""
    texts = [f"an object was forged or lost: {line}" for line in lines[:DAMAGE_SHOWN]]
    return [finding("P8", ".git/objects", text, remedy=FORGED) for text in texts]


def moved_refs(root: Path, before: Mapping[str, str], after: Sentinel, run_id: str, branch: str) -> list[str]:
    """Refs that the agent moved. The branch itself may move by a person's commits: those carry no mark of the run."""
    names = sorted(name for name in before.keys() | after.refs.keys() if before.get(name) != after.refs.get(name))
    own = f"refs/heads/{branch}"
    return [name for name in names if name != own or made_by(root, before.get(name), after.refs.get(name), run_id)]


def made_by(root: Path, old: str | None, new: str | None, run_id: str) -> bool:
    """Whether the new position loses commits or holds a commit that this run's agent made."""
    if old is None or new is None:
        return True
    if gitio.git(root, "rev-list", "--max-count=1", old, f"^{new}").strip():
        return True
    return committer(run_id) in gitio.git(root, "log", "--format=%ce", f"{old}..{new}").split()


def own_commits(root: Path, folder: Path, base: str, run_id: str) -> list[dict]:
    """A finding if HEAD of the agent's worktree is not where it was put."""
    head = gitio.git(folder, "rev-parse", "HEAD").strip()
    if head == base:
        return []
    return [finding("P6", f"commit {head[:12]}", "the agent committed by itself; only the runner commits")]


def unread_findings(unread: Mapping[str, int]) -> list[dict]:
    """A finding if files were left out of the change because they are too large: the largest and how many more."""
    if not unread:
        return []
    largest = max(unread, key=unread.__getitem__)
    more = f", and {len(unread) - 1} more files" if len(unread) > 1 else ""
    message = f"{unread[largest]} bytes{more}: too much to be read"
    return [finding("P3", largest, message, remedy="leave bulk out of the repository")]


LIMIT_CODES = {"wall": "L1", "idle": "L2", "log": "L3", "after-result": "L4", "tokens": "L5", "usd": "L6", "stop": "L7"}


def limit_findings(outcome: Mapping) -> list[dict]:
    """Findings about the agent as a process: the limit that ended it, processes that it left or that resisted."""
    found = []
    code = LIMIT_CODES.get(outcome["ended"])
    if code == "L4":
        # The result was complete by then, so this is reported and does not refuse by itself.
        found.append(finding(code, "agent", "the agent did not end after its result and was ended", severity="W"))
    elif code:
        found.append(finding(code, "agent", f"the agent was ended by the {outcome['ended']} limit"))
    if outcome["left"]:
        found.append(finding("L8", "agent", f"the agent left {len(outcome['left'])} processes behind; they were ended"))
    if outcome["ended"] == "interrupted":
        text = "the runner died: processes that the agent hid from group and environment may still run"
        found.append(finding("L8", "agent", text, severity="W", remedy="look at what runs, and end it"))
    if code and outcome["exit_code"] == -signal.SIGKILL:
        found.append(finding("L9", "agent", "the agent ignored the request to end and was killed"))
    return found
