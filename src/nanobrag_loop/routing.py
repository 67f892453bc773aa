"""Which prompt may run: measured parity decides, and what was not measured counts as red."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanobrag_loop.errors import ConfigError, RefusedError
from nanobrag_loop.gates import FAIL, PASS, Gate, GateResult
from nanobrag_loop.runs import state_folder, write_atomic

PARITY_FILE = "parity.json"
GREEN, RED, UNKNOWN = "green", "red", "unknown"
NOT_MEASURED = ("docs/fix_plan.md", "docs/fix_plan_archive.md", "docs/archive/", "reports/", "plans/steering.yaml")


@dataclass(frozen=True)
class Parity:
    """The state of the parity gate on one tree. at: when it was measured, empty if never."""

    state: str
    reason: str
    at: str = ""


@dataclass(frozen=True)
class Route:
    """The prompt that may run, and why. overridden: the reason that a person gave, if one did."""

    name: str
    reason: str
    allowed: tuple[str, ...]
    overridden: str = ""


def tree_key(listing: Iterable[str], definition: object) -> str:
    """A name for what a gate measures: the tracked files without the ledger and its evidence, and the gate itself.

    listing: lines of `git ls-tree -r` (mode, type, object, tab, path).
    """
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True, default=str).encode())
    for line in listing:
        if not line.partition("\t")[2].startswith(NOT_MEASURED):
            digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def remember_parity(root: Path, key: str, results: Sequence[GateResult], at: str) -> None:
    record = {"schema": 1, "tree": key, "at": at, "gates": [result.as_dict() for result in results]}
    write_atomic(state_folder(root) / PARITY_FILE, json.dumps(record, indent=1) + "\n")


def read_parity(root: Path, key: str, gate: Gate | None) -> Parity:
    """The state of parity for the tree named `key`: green only if it was measured on this very tree and passed."""
    if gate is None:
        return Parity(UNKNOWN, "no parity gate is defined")
    try:
        record = json.loads((root / ".nbloop" / PARITY_FILE).read_text())
        results = [GateResult.from_dict(row) for row in record["gates"]]
        tree, at = record["tree"], record["at"]
    except FileNotFoundError:
        return Parity(UNKNOWN, "never measured in this checkout; `nb-loop gates run parity` measures it")
    except (ValueError, KeyError, TypeError):
        return Parity(UNKNOWN, "the stored measurement is unreadable")
    if tree != key:
        return Parity(UNKNOWN, f"measured at {at} on another tree; `nb-loop gates run parity` measures this one", at)
    worst = next((result for result in results if result.state != PASS), None)
    if worst is None and results:
        return Parity(GREEN, f"all passed at {at}: {results[0].detail}", at)
    if worst is not None and worst.state == FAIL:
        return Parity(RED, f"{worst.gate}: {worst.detail or worst.title} (measured {at})", at)
    return Parity(UNKNOWN, f"{worst.gate} is {worst.state}: {worst.detail}" if worst else "nothing measured", at)


def allowed(routes: Sequence[Mapping], parity: Parity) -> tuple[str, ...]:
    """The prompts that the first fitting rule allows."""
    for rule in routes:
        if holds(rule["when"], parity):
            return tuple(rule["allow"])
    return ()


def holds(condition: str, parity: Parity) -> bool:
    words = condition.split()
    if words == ["always"]:
        return True
    if len(words) == 3 and words[0] == "parity" and words[1] in ("==", "!=") and words[2] in (GREEN, RED, UNKNOWN):
        return (parity.state == words[2]) == (words[1] == "==")
    raise ConfigError(f"routes: when: expected `always` or `parity == green`, got {condition!r}")


def route(routes: Sequence[Mapping], parity: Parity, wanted: str | None = None, override: str = "") -> Route:
    """The route of this cycle. Asking for a prompt that is not allowed is refused, not reported and done anyway."""
    names = allowed(routes, parity)
    state = f"Parity is {parity.state}: {parity.reason}."
    if not names:
        raise RefusedError(f"no rule of plans/loop.yaml allows any prompt. {state}")
    if wanted is None or wanted in names:
        name = wanted or (names[-1] if parity.state == GREEN else names[0])
        return Route(name, f"{state} Allowed: {', '.join(names)}.", names)
    if override:
        return Route(wanted, f"{state} A person overrode the rule: {override}.", names, override)
    remedy = 'a person may pass --override-route "reason"'
    raise RefusedError(f"prompt {wanted!r} is not allowed now (allowed: {', '.join(names)}). {state}", remedy=remedy)
