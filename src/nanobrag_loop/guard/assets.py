"""Protected files between two trees: deleted, emptied, replaced, stripped of their mode, dropped from the index."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from nanobrag_loop import docindex
from nanobrag_loop.config import Config
from nanobrag_loop.docindex import Protected
from nanobrag_loop.gitio import Change, TreePair
from nanobrag_loop.guard.findings import Finding
from nanobrag_loop.ledger.extract import artifact_paths

SHRUNK_TO, LINES_LOST = 0.4, 20
KINDS = {"100644": "a file", "100755": "a file", "120000": "a symbolic link", "160000": "a submodule"}
WAIVER = "a person may sign a waiver for it in docs/waivers.yaml, in the same change"
RESTORE = f"restore it; {WAIVER}"


def check(pair: TreePair, config: Config, role: str | None = None) -> Iterator[Finding]:
    """Every finding on protected files. Protection is read from the first tree, so a change cannot lift its own.

    role: the role that made the change; None for a person.
    """
    guarded = docindex.protected(pair.old_text(config.protect.index) or "", pair.before.keys(), config)
    moved = {change.new.sha: change.path for change in pair.changes if change.new and change.old is None}
    lower = {change.path.casefold(): change.path for change in pair.changes if change.old is None}
    above = folders(pair.after)
    for change in pair.changes:
        reason = guarded.why(change.path) if change.old else ""
        if reason and change.new is None:
            yield from deletion(change, pair, config, guarded, reason, moved, lower, above)
        elif reason:
            yield from alteration(change, pair, reason)
        if role and below(change.path, config.harness):
            yield Finding("A10", change.path, f"role {role} may not change the harness", "leave it to a person")
    yield from lost_entries(pair, config)
    yield from dead_references(pair, config, above)


def below(path: str, prefixes: Collection[str]) -> bool:
    return any(path == prefix or (prefix.endswith("/") and path.startswith(prefix)) for prefix in prefixes)


def folders(paths: Collection[str]) -> set[str]:
    """Every folder above the paths, with a slash at the end."""
    return {path[: n + 1] for path in paths for n, char in enumerate(path) if char == "/"}


def deletion(
    change: Change, pair: TreePair, config: Config, guarded: Protected, reason: str, moved: dict[str, str],
    lower: dict[str, str], above: set[str],
) -> Iterator[Finding]:  # fmt: skip
    assert change.old
    path = change.path
    parts = path.split("/")
    swallowed = next((up for n in range(1, len(parts)) if (up := "/".join(parts[:n])) in pair.after), None)
    goal = moved.get(change.old.sha, "")
    if path.casefold() in lower:
        yield Finding("A9", path, f"renamed to {lower[path.casefold()]}; protected by {reason}", RESTORE)
    elif f"{path}/" in above:
        yield Finding("A3", path, f"a folder took its place; protected by {reason}", RESTORE)
    elif swallowed:
        kind = KINDS.get(pair.after[swallowed].mode, "something else")
        yield Finding("A3", path, f"its folder {swallowed} became {kind}; protected by {reason}", RESTORE)
    elif guarded.alone(path):
        yield Finding("A1", path, f"deleted{f', moved to {goal}' if goal else ''}; protected by {reason}", RESTORE)
    elif plan := archived_plan(path, pair, config):
        yield from content(path, pair.read(change.old), pair.read(pair.after[plan]), reason)
    elif not goal.startswith(config.protect.relocate_to):
        allowed = " or ".join(config.protect.relocate_to)
        remedy = f"restore it, or move it unchanged below {allowed}; {WAIVER}"
        yield Finding("A6", path, f"deleted; protected by {reason}", remedy)


def archived_plan(path: str, pair: TreePair, config: Config) -> str:
    """Where a plan lies now that was marked and then archived: like any document it may be edited, evidence may not."""
    parts = path.split("/", 2)
    if len(parts) < 3 or not path.endswith("/plan.md"):
        return ""
    goals = (f"{prefix}{parts[2]}" for prefix in config.protect.relocate_to if prefix.startswith(f"{parts[0]}/"))
    return next((goal for goal in goals if goal in pair.after and goal not in pair.before), "")


def alteration(change: Change, pair: TreePair, reason: str) -> Iterator[Finding]:
    old, new = change.old, change.new
    assert old and new
    if KINDS.get(old.mode) != KINDS.get(new.mode):
        kinds = f"{KINDS.get(old.mode, old.mode)} became {KINDS.get(new.mode, new.mode)}"
        yield Finding("A3", change.path, f"{kinds}; protected by {reason}", RESTORE)
        return
    if old.mode == "100755" and new.mode == "100644":
        yield Finding("A4", change.path, f"no longer executable; protected by {reason}", f"chmod +x; {WAIVER}")
    if old.sha != new.sha and KINDS.get(old.mode) == "a file":
        yield from content(change.path, pair.read(old), pair.read(new), reason)


def content(path: str, old: bytes, new: bytes, reason: str) -> Iterator[Finding]:
    if old.strip() and not new.strip():
        yield Finding("A2", path, f"emptied; protected by {reason}", RESTORE)
    elif b"\0" in new and b"\0" not in old:
        yield Finding("A5", path, f"its text became binary; protected by {reason}", RESTORE)
    else:
        before, after = old.count(b"\n"), new.count(b"\n")
        if before - after > LINES_LOST and after < SHRUNK_TO * before:
            yield Finding("A2", path, f"shrunk from {before} to {after} lines; protected by {reason}", RESTORE)


def lost_entries(pair: TreePair, config: Config) -> Iterator[Finding]:
    home = config.protect.index
    old, new = pair.old_text(home), pair.new_text(home)
    if old is None or old == new:
        return
    kept = {link.target for link in docindex.links(new or "", home)}
    for link in {link.target: link for link in docindex.links(old, home)}.values():
        if link.target not in kept:
            message = f"no longer listed (was line {link.line} of {home})"
            yield Finding("A7", link.target, message, f"put the entry back; {WAIVER}")


def dead_references(pair: TreePair, config: Config, above: set[str]) -> Iterator[Finding]:
    """References of the index, CLAUDE.md and the prompts that this change broke or brought in broken."""
    there = pair.after.keys() | above | {folder.rstrip("/") for folder in above}
    before_folders = folders(pair.before)
    removed = any(change.new is None for change in pair.changes)
    for document in pair.after:
        if document not in (config.protect.index, "CLAUDE.md") and not document.startswith("prompts/"):
            continue
        if not removed and pair.before.get(document) == pair.after[document]:
            continue
        known = references(document, pair.old_text(document) or "") if document in pair.before else set()
        for path in sorted(references(document, pair.new_text(document) or "") - there):
            was_there = path in pair.before or path.rstrip("/") + "/" in before_folders
            if path not in known or was_there:
                message = f"refers to {path}, which is not tracked here"
                yield Finding("A8", document, message, "add the file with `git add`, or correct the reference")


def references(document: str, text: str) -> set[str]:
    """The paths that a document refers to: its links, and paths in code spans."""
    linked = {link.target for link in docindex.links(text, document)}
    return linked | {path for path in artifact_paths(text) if "/" in path and not path.startswith("reports/")}
