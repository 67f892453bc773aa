"""From a decision to history: code, ledger entry, record and evidence, in at most two commits, then the merge.

Everything is built in a fresh worktree at the tip of the branch and reaches the branch by one fast-forward. Doing
it again after an interruption starts from nothing, so a run has one attempt entry or none, never two.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from nanobrag_loop import book, gates, gitio, manifest, worktrees
from nanobrag_loop.config import Config
from nanobrag_loop.decide import Decision
from nanobrag_loop.errors import LoopError
from nanobrag_loop.records import Record

METRIC_CAP = 560
MEASURED = "gates"


@dataclass(frozen=True)
class Parcel:
    """What is to be landed. paths: changed code paths, taken from `tree` if the decision merges them; accepted: a
    person merges a run that has its attempt entry already."""

    run: str
    item: str
    record: Record
    decision: Decision
    tree: str
    paths: Sequence[str]
    artifacts: Path
    gate_files: Path
    entry: Mapping[str, str]
    trailers: Mapping[str, str]
    block: str = ""
    accepted: bool = False


def land(root: Path, config: Config, folder: Path, tip: str, parcel: Parcel) -> tuple[str, Record]:
    """Build the commits on `tip` in the worktree `folder`; the new tip and the record as committed.

    An item that a person took out of the ledger meanwhile has its record, and no entry.
    """
    worktrees.add(root, folder, tip)
    text = (folder / config.ledger).read_text(encoding="utf-8", errors="surrogateescape")
    if parcel.run in text and not parcel.accepted:
        raise LoopError(f"{config.ledger}: run {parcel.run} has an attempt entry already")
    if parcel.decision.merge and parcel.paths:
        worktrees.take_paths(folder, parcel.tree, parcel.paths)
        subject = f"{parcel.item}: {parcel.record.summary or 'change of attempt ' + str(parcel.record.attempt)}"
        gitio.commit(folder, subject[:100], parcel.trailers, config)
    known = book.knows(text, parcel.item)
    number = book.next_attempt(text, parcel.item) if known else parcel.record.attempt
    merged = parcel.decision.merge and bool(parcel.paths)
    record, kept = evidence(folder, replace(parcel.record, attempt=number, merged=merged), parcel)
    target = folder / record.path
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name that is no text becomes an escape of JSON.
    target.write_text(record.text(), encoding="utf-8", errors="backslashreplace")
    updated = ledger_text(text, parcel, record, number) if known else text
    (folder / config.ledger).write_text(updated, encoding="utf-8", errors="surrogateescape")
    problems = book.new_errors(text, updated, config.ledger)
    if problems:
        raise LoopError(f"the attempt entry would make the ledger invalid: {problems[0]}")
    stage(folder, [*kept, str(record.path), *changed_ledger_files(folder)])
    gitio.commit(folder, f"{parcel.item}: attempt {number}, {record.result}", parcel.trailers, config)
    return gitio.git(folder, "rev-parse", "HEAD").strip(), record


def evidence(folder: Path, record: Record, parcel: Parcel) -> tuple[Record, list[str]]:
    """Copy what is kept of the artifacts into the worktree; the record with its manifest, and the copied paths."""
    home = PurePosixPath("reports") / f"{record.at[:10]}-{parcel.item}" / f"attempt-{record.attempt}"
    artifacts, copies = manifest.collect(parcel.artifacts, home, reserved=MEASURED)
    more, gate_copies = manifest.collect(parcel.gate_files, home / MEASURED, suffixes=frozenset({".json"}))
    for source, name in {**copies, **gate_copies}.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    names = [str(name) for name in {**copies, **gate_copies}.values()]
    kept = set(worktrees.not_ignored(folder, names))
    listed = [
        artifact if artifact.kept == "local" or artifact.path in kept else artifact.left_out("ignored by git")
        for artifact in [*artifacts, *more]
    ]
    return replace(record, artifacts=tuple(artifact.as_dict() for artifact in listed)), sorted(kept)


def ledger_text(text: str, parcel: Parcel, record: Record, number: int) -> str:
    """The ledger with one attempt more, and the status that the decision allows."""
    folders = {f"{Path(str(row['path'])).parent}/" for row in record.artifacts if row["kept"] == "git"}
    cited = [str(record.path), *sorted(folders)]
    entry = {**parcel.entry, "Artifacts": ", ".join(f"`{name}`" for name in cited[:4])}
    divergence = record.first_divergence if parcel.decision.result != "failed" else None
    changes = book.Changes(divergence or "", parcel.decision.close, "blocked" if parcel.block else "")
    return book.with_attempt(text, parcel.item, number, entry, changes)


def entry_of(
    record: Record, decision: Decision, metrics: Sequence[Mapping], observations: Sequence[str], block: str
) -> dict[str, str]:
    """The lines of an attempt entry, every one from data that was measured or cleaned."""
    note = f" ({decision.reason.replace('(', '[').replace(')', ']')})" if decision.reason else ""
    measured = [result.line() for result in record.gates]
    claimed = [f"{row['name']}={row['value']:.6g}{row['unit']}" for row in metrics]
    parts = [*measured, *(["claimed: " + ", ".join(claimed)] if claimed else [])]
    waiting = record.extra.get("blocked_on")
    follow = [
        *([f"blocked by the runner: {block}"] if block else []),
        *([f"waiting for: {waiting}"] if waiting else []),
        *record.next_actions,
    ]
    if decision.result == "diagnostic":
        follow = for_a_person(record) or follow
    return {
        "date": record.at[:10],
        "result": f"{decision.result}{note[:260]}. {record.summary or 'No summary was given.'}",
        "Metrics": clip("; ".join(parts)) or "n/a",
        "Observations/Hypotheses": clip(" ".join(observations)) or "none",
        "Next Actions": clip(" ".join(follow)) or "none",
    }


def for_a_person(record: Record) -> list[str]:
    """What is left to do if everything that can be measured passes: to sign, to close. Else nothing."""
    if not all(result.state == gates.PASS for result in record.gates if result.kind != "manual") or not record.gates:
        return []
    unsigned = sorted({str(result.criterion) for result in record.gates if result.state != gates.PASS})
    if unsigned:
        return [f"Every other gate passes: a person has to sign criterion {', '.join(unsigned)} in plans/gates.yaml."]
    return [f"Every gate passes: a person may close the item with `nb-loop ledger complete {record.item}`."]


def clip(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= METRIC_CAP else line[: METRIC_CAP - 1].rstrip() + "…"


def changed_ledger_files(folder: Path) -> list[str]:
    """Files that the ledger's operations wrote: the ledger itself, its archive."""
    status = gitio.git(folder, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", "docs/")
    rows = gitio.split(status)
    return [row[3:] for row in rows]


def stage(folder: Path, names: Sequence[str]) -> None:
    """Add exactly these paths; an ignored one is an error, it is never forced."""
    for start in range(0, len(names), 200):
        gitio.git(folder, "add", "--", *(f":(literal){name}" for name in names[start : start + 200]))


def merge(root: Path, branch: str, head: str) -> None:
    """Fast-forward the main checkout to `head`; done already is fine."""
    if gitio.is_ancestor(root, head, f"refs/heads/{branch}"):
        return
    gitio.fast_forward(root, branch, head)


def gate_note(results: Sequence[gates.GateResult]) -> str:
    """For a commit's trailer: how many gates are in which state."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.state] = counts.get(result.state, 0) + 1
    return ", ".join(f"{number} {state}" for state, number in counts.items()) or "none"
