"""What an agent did outside its worktree, found by comparing before and after, and put back where that is safe.

A worktree is no security boundary: this detects, it does not prevent. Git's own configuration, hooks and refs are
put back; files of the main checkout are left as they are, since a person may be working there, and reported.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
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


def finding(code: str, path: str, message: str, severity: str = "E") -> dict[str, str]:
    """One finding of the runner, of the same form as those of the guard."""
    remedy = REMEDIES.get(code) or REMEDIES[code[0]]
    return {"code": code, "severity": severity, "path": path, "message": message, "remedy": remedy}


def committer(run_id: str) -> str:
    """The address that marks every commit an agent makes by itself."""
    return f"run-{run_id}@nbloop.invalid"


def escapes(
    root: Path, common: Path, before: Mapping, kept: Mapping[str, str], run_id: str, branch: str
) -> list[dict]:
    """Findings P6, P7, P8 after an agent run; git's configuration, hooks and refs are as before afterwards."""
    found = []
    for name in worktrees.put_back_git_files(common, kept, before["files"]):
        found.append(finding("P8", f".git/{name}", "the agent changed git's configuration or hooks; it was put back"))
    after = worktrees.sentinel(root, common)
    for name in sorted(after.memory.keys() | before["memory"].keys()):
        if after.memory.get(name) != before["memory"].get(name):
            (root / ".nbloop" / name).unlink(missing_ok=True)
            found.append(finding("P8", f".nbloop/{name}", "a stored measurement changed while the agent ran; removed"))
    if after.head != before["head"]:
        found.append(finding("P8", ".git/HEAD", f"HEAD of the main checkout moved from {before['head'].strip()}"))
    moved = moved_refs(root, before["refs"], after, run_id, branch)
    for name in moved:
        found.append(finding("P6", name, "the agent committed or moved a ref; it was put back"))
    worktrees.put_back_refs(root, before["refs"], moved)
    for name in sorted(after.status.keys() | before["status"].keys()):
        if after.status.get(name) != before["status"].get(name):
            found.append(finding("P7", name, "this file of the main checkout changed while the agent ran"))
    return found


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
    if code and outcome["exit_code"] == -signal.SIGKILL:
        found.append(finding("L9", "agent", "the agent ignored the request to end and was killed"))
    return found
