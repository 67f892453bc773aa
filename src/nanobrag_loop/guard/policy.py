"""What a role may write, and what no change may bring: frozen ledger fields, big files, caches, conflict markers.

P6, P7 and P8 (an agent that commits, writes into the main checkout or changes git itself) need the repository before
and after an agent run; the runner finds them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from nanobrag_loop import gates
from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError
from nanobrag_loop.gitio import TreePair
from nanobrag_loop.guard import names
from nanobrag_loop.guard.assets import below
from nanobrag_loop.guard.findings import Finding
from nanobrag_loop.guard.testfile import collected_file
from nanobrag_loop.ledger import model
from nanobrag_loop.ledger.cst import MARKER, Document

FORBIDDEN_SUFFIXES = (
    ".pyc", ".pyo", ".pyd", ".so", ".o", ".a", ".exe", ".dll", ".dylib", ".whl", ".zip", ".gz", ".tar", ".xz", ".7z",
    ".pkl", ".pickle", ".pt", ".pth", ".db", ".sqlite", ".swp", ".orig", ".rej",
)  # fmt: skip
FORBIDDEN_FOLDERS = (
    "__pycache__", ".venv", "venv", "node_modules", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis",
    ".git", ".nbloop",
)  # fmt: skip
FROZEN_FIELDS = ("Spec/AT", "Exit Criteria", "Reproduction")


def check(pair: TreePair, config: Config, role: str | None = None) -> Iterator[Finding]:
    """role: the role that made the change; for a person (None) only markers refuse, size and type are reported."""
    if role:
        yield from outside(pair, config, role)
        yield from gate_programs(pair)
        yield from names.check(pair)
        yield from frozen_fields(pair, config, role)
    yield from added_files(pair, config, role)
    yield from markers(pair)


def outside(pair: TreePair, config: Config, role: str) -> Iterator[Finding]:
    policy = config.policy.get(role)
    allowed, denied = (policy.write, with_packages(policy.deny)) if policy else ((), [])
    for change in pair.changes:
        if below(change.path, denied):
            yield Finding("P1", change.path, f"role {role} may not write here", "leave it to the tool or a person")
        elif not below(change.path, allowed):
            listed = ", ".join(allowed) or "nothing"
            yield Finding("P1", change.path, f"role {role} may write {listed}", "leave it to a person")


def with_packages(paths: Collection[str]) -> list[str]:
    """The paths, and for each module the folder of a package that would be imported in its place."""
    return [*paths, *(f"{path.removesuffix('.py')}/" for path in paths if path.endswith(".py"))]


def gate_programs(pair: TreePair) -> Iterator[Finding]:
    """Programs that a gate of the first tree runs, with all that lies beside them and may be imported by them: whoever
    is measured does not change the measure."""
    try:
        book = gates.load(pair.old_text(gates.GATES_FILE) or "")
    except ConfigError:
        return
    every = [*book.shared.values(), *(gate for own in book.items.values() for gate in own)]
    run = {str(word): gate.id for gate in every for key in ("argv", "run") for word in gate.options.get(key) or ()}
    programs = {path: gate for path, gate in run.items() if path in pair.before and path.endswith(".py")}
    programs = {path: gate for path, gate in programs.items() if not collected_file(path)}
    folders = {f"{path.rpartition('/')[0]}/": path for path in programs if "/" in path}
    for change in pair.changes:
        beside = next((folders[folder] for folder in folders if change.path.startswith(folder)), None)
        program = next((path for path in programs if below(change.path, with_packages([path]))), None)
        if program:
            what = "is" if change.path == program else f"would be imported in place of {program},"
            message = f"{what} run by the gate {programs[program]}"
            yield Finding("P1", change.path, message, "leave it to a person")
        elif change.old and beside:
            message = f"lies beside {beside}, which the gate {programs[beside]} runs"
            yield Finding("P1", change.path, message, "leave it to a person")


def frozen_fields(pair: TreePair, config: Config, role: str) -> Iterator[Finding]:
    """Goal posts of items that the first tree has: what is to be reproduced, and when it counts as done."""
    old, new = pair.old_text(config.ledger), pair.new_text(config.ledger)
    if old is None or old == new:
        return
    after = {item.id: item for item in model.items(Document.of(new or ""))}
    for item in model.items(Document.of(old)):
        other = after.get(item.id)
        for name in FROZEN_FIELDS:
            if other is None or frozen(item, name) != frozen(other, name):
                message = f"{item.id}: role {role} may not change {name}"
                yield Finding("P2", config.ledger, message, "propose it in the result; a person edits the ledger")


def frozen(item: model.Item, name: str) -> object:
    if name == "Reproduction":
        return item.reproduction
    return [entry.text for entry in item.criteria] if name == "Exit Criteria" else item.values.get(name)


def added_files(pair: TreePair, config: Config, role: str | None) -> Iterator[Finding]:
    severity = "E" if role else "W"
    cap, total_cap = config.files.file_kib * 1024, config.files.total_kib * 1024
    total = 0
    for change in pair.changes:
        if change.new is None or (change.old and change.old.sha == change.new.sha):
            continue
        size = len(pair.read(change.new))
        total += max(0, size - (len(pair.read(change.old)) if change.old else 0))
        if change.old is None:
            reason = forbidden(change.path) or (f"{size} bytes, at most {cap}" if size > cap else "")
            if reason:
                remedy = "leave it out; evidence that is large stays in the run's folder"
                yield Finding("P3", change.path, reason, remedy, severity)
    if total > total_cap:
        message = f"the change adds {total} bytes, at most {total_cap}"
        yield Finding("P4", "the whole change", message, "leave bulk out of the repository", severity)


def forbidden(path: str) -> str:
    """Why a path may not be added whatever it holds; empty if it may."""
    pure = PurePosixPath(path)
    folder = next((part for part in pure.parts[:-1] if part in FORBIDDEN_FOLDERS), None)
    if folder:
        return f"lies in {folder}/, which is never tracked"
    return f"files of type {pure.suffix} are not tracked" if pure.suffix.lower() in FORBIDDEN_SUFFIXES else ""


def markers(pair: TreePair) -> Iterator[Finding]:
    for change in pair.changes:
        if change.new is None or change.new.mode not in ("100644", "100755"):
            continue
        data = pair.read(change.new)
        if b"<<<<<<<" not in data or b"\0" in data:
            continue
        lines = data.decode("utf-8", "replace").split("\n")
        starts = [n for n, line in enumerate(lines, 1) if MARKER.match(line) and line.startswith("<<<<<<<")]
        if starts and any(line.startswith(">>>>>>>") and MARKER.match(line) for line in lines):
            yield Finding("P5", change.path, f"conflict marker in line {starts[0]}", "finish the merge")
