"""Preflight: what a run needs, checked one by one, each with pass, warn or fail and what to do about it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nanobrag_loop import gates, gitio, preparation, prompts, runs, sync
from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError, LoopError
from nanobrag_loop.preparation import Base

PASS, WARN, FAIL = "pass", "warn", "fail"
FREE_BYTES = 1024 * 1024 * 1024
PACKAGES = ("git", "jinja2", "yaml", "rich")


@dataclass(frozen=True)
class Check:
    name: str
    state: str
    detail: str


def examine(root: Path, config: Config) -> list[Check]:
    """Every check; none of them changes anything."""
    return [check for group in GROUPS for check in guarded(group, root, config)]


def guarded(group: Callable[[Path, Config], Iterator[Check]], root: Path, config: Config) -> list[Check]:
    """A check that cannot be made is a failed one, not a crash."""
    found = []
    try:
        for check in group(root, config):
            found.append(check)
    except (LoopError, OSError) as error:
        found.append(Check(group.__name__, FAIL, str(error)))
    return found


def interpreter(root: Path, config: Config) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", PASS if sys.version_info >= (3, 11) else FAIL, version)
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    yield Check(
        "packages", FAIL if missing else PASS, f"missing: {', '.join(missing)}; make setup" if missing else "all there"
    )


def repository(root: Path, config: Config) -> Iterator[Check]:
    try:
        sync.preflight(root, config.branch)
        yield Check("branch", PASS, config.branch)
    except LoopError as error:
        yield Check("branch", FAIL, str(error))
    source = sync.upstream(root, config.branch)
    yield Check("upstream", PASS if source else WARN, source.remote if source else "none: nothing is pulled or pushed")
    dirty = gitio.git(root, "status", "--porcelain").splitlines()
    yield Check("checkout", WARN if dirty else PASS, f"{len(dirty)} changed files" if dirty else "clean")
    version = gitio.git(root, "version").split()[2]
    new_enough = tuple(map(int, version.split(".")[:2])) >= (2, 30)
    yield Check("git", PASS if new_enough else WARN, version)


def state(root: Path, config: Config) -> Iterator[Check]:
    left = runs.unfinished(root)
    detail = f"{left[0].id} in phase {left[0].phase}; nb-loop run --resume" if left else "none"
    yield Check("interrupted runs", WARN if left else PASS, detail)
    yield Check(
        "stop file",
        WARN if runs.stop_requested(root) else PASS,
        ".nbloop/STOP exists" if runs.stop_requested(root) else "none",
    )
    free = shutil.disk_usage(root).free
    yield Check("disk", PASS if free > FREE_BYTES else WARN, f"{free / 1e9:.1f} GB free")


def documents(root: Path, config: Config) -> Iterator[Check]:
    base = Base(root, gitio.resolve(root, f"refs/heads/{config.branch}"))
    items = preparation.ledger_items(base, config)
    yield Check("ledger", PASS, f"{len(items)} items, {sum(item.status != 'done' for item in items)} open")
    book = preparation.gate_book(base)
    bare = [item.id for item in items if item.status != "done" and not book.of(item.id)]
    yield Check(
        "gates",
        WARN if bare else PASS,
        f"no gates for {', '.join(bare)}" if bare else f"{len(book.items)} items have gates",
    )
    parity = preparation.parity_of(base, config, book)
    yield Check("parity", PASS if parity.state == "green" else WARN, f"{parity.state}: {parity.reason}")
    sources = preparation.prompt_sources(base)
    for name in sorted({Path(path).name for path in config.roles["engineer"].prompts.values()}):
        problem = prompt_problem(name, sources)
        yield Check(f"prompt {name}", FAIL if problem else PASS, problem or "all variables are known")


def prompt_problem(name: str, sources: Mapping[str, str]) -> str:
    """Why a prompt cannot be rendered; empty if it can."""
    if name not in sources:
        return "not in the repository"
    try:
        unknown = prompts.undeclared(name, sources) - set(prompts.VARIABLES)
    except ConfigError as error:
        return str(error)
    return f"unknown variables {sorted(unknown)}" if unknown else ""


def agents(root: Path, config: Config) -> Iterator[Check]:
    for name, entry in config.agents.items():
        program = entry.argv[0]
        found = shutil.which(program)
        yield Check(
            f"agent {name}",
            PASS if found else WARN,
            found or f"{program} is not installed; the built-in agents need nothing",
        )
    yield Check("agents", PASS, "built in: " + ", ".join(preparation.BUILTIN))


def programs(root: Path, config: Config) -> Iterator[Check]:
    base = Base(root, gitio.resolve(root, f"refs/heads/{config.branch}"))
    book = preparation.gate_book(base)
    every = [gate for own in book.items.values() for gate in own] + list(book.shared.values())
    for need in sorted({need for gate in every for need in gate.options["needs"]}):
        kind, _, name = need.partition(":")
        there = {
            "cuda": lambda: any(Path("/dev").glob("nvidia[0-9]*")),
            "file": lambda name=name: (root / name).exists(),
            "program": lambda name=name: shutil.which(name) is not None,
        }[kind]()
        made = any(step.makes == name for step in book.prepare)
        detail = "there" if there else "made when needed" if made else f"gates that need it are {gates.UNAVAILABLE}"
        yield Check(f"gates need {need}", PASS if there or made else WARN, detail)


GROUPS = (interpreter, repository, state, documents, agents, programs)
