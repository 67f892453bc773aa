"""The facts about the repository that the ledger's lint and commands need: files, gates, records, selection."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from nanobrag_loop import gates, gitio, preparation, records, routing, select, steering
from nanobrag_loop.config import Config
from nanobrag_loop.guard.assets import folders
from nanobrag_loop.ledger.diagnostics import Context, GateFact


def tracked(root: Path) -> set[str]:
    """Every tracked file and the folders above them."""
    names = gitio.split(gitio.git(root, "ls-files", "-z"))
    return {*names, *(folder.rstrip("/") for folder in folders(names))}


def context(root: Path, config: Config) -> Context:
    """What lint may check the checkout's ledger against. Only tracked files count as existing."""
    there = tracked(root)
    known = records.read_all(root)[0]

    @cache
    def read(path: str) -> str | None:
        file = root / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None

    cited = {str(row["path"]) for record in known for row in record.artifacts if row["kept"] == "git"}
    history: dict[str, list[object]] = {}
    for record in known:
        if record.result != "diagnostic":
            shown = [(result.gate, result.state, result.value) for result in record.gates]
            history.setdefault(record.item, []).append(shown)
    return Context(
        wip_limit=config.wip_limit,
        stale_days=config.stale_days,
        stuck_attempts=config.stuck_attempts,
        exists=lambda path: path in there,
        read=read,
        manifest=frozenset({*cited, *folders(cited)}),
        gates=gate_facts(root, config, known),
        history=history,
    )


def gate_facts(
    root: Path, config: Config, known: Sequence[records.Record] | None = None
) -> dict[str, tuple[GateFact, ...]]:
    """The gates of every item with their thresholds and the state that the last record shows."""
    path = root / gates.GATES_FILE
    known = records.read_all(root)[0] if known is None else known
    book = gates.load(path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else "")
    states = {(record.item, result.gate): result.state for record in known for result in record.gates}
    found = {}
    for item, own in book.items.items():
        found[item] = tuple(
            GateFact(gate.criterion, numbers(gate), states.get((item, gate.id), ""), gate.options.get("op", ""))
            for gate in own
        )
    return found


def numbers(gate: gates.Gate) -> tuple[float, ...]:
    """The numbers that a criterion may quote."""
    threshold = gate.threshold
    if threshold is None:
        return ()
    return (float(threshold),) if isinstance(threshold, int | float) else tuple(threshold)


def verdicts(root: Path, config: Config) -> list[select.Verdict]:
    """The selection at the branch's tip, the chosen item first."""
    base = preparation.Base(root, gitio.resolve(root, f"refs/heads/{config.branch}"))
    parity = preparation.parity_of(base, config, preparation.gate_book(base))
    route = routing.route(config.routes, parity)
    items = preparation.ledger_items(base, config)
    return select.choose(items, steering.read(base.text(steering.FILE)), route.name)[1]
