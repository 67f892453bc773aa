"""Measuring gates in a checkout.

What a command prints is never believed: pytest is read from its JUnit file, metrics from a JSON file that the
command wrote during this very run, inside this run's folder.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nanobrag_loop.agents import process
from nanobrag_loop.agents.result import clean
from nanobrag_loop.gates import ERROR, FAIL, OPERATORS, PASS, UNAVAILABLE, Gate, GateBook, GateResult
from nanobrag_loop.manifest import sha256_file
from nanobrag_loop.runs import state_folder, write_atomic
from nanobrag_loop.typed import finite
from nanobrag_loop.worktrees import blob_sha

UNAVAILABLE_EXIT = 77
SAYS_UNAVAILABLE = "the command says that it cannot run here (exit code 77)"
TIMEOUT_S = 1800.0
LOG_BYTES = 4 * 1024 * 1024
# What a gate's command writes is read up to this size: it runs an agent's code.
READ_CAP = 64 * 1024 * 1024


@dataclass(frozen=True)
class Place:
    """Where gates are measured. tree: a checkout; out: a fresh folder for what the commands write (absolute);
    started: seconds since the epoch, nothing older counts; timeout_s: bound for each command."""

    tree: Path
    out: Path
    env: Mapping[str, str]
    started: float
    marker: str = "gates"
    timeout_s: float = TIMEOUT_S


def evaluate_all(book: GateBook, gates: Iterable[Gate], place: Place) -> list[GateResult]:
    """Measure the gates in order in one place; a later metric may read a file that an earlier gate wrote."""
    place.out.mkdir(parents=True, exist_ok=True)
    results = []
    for gate in gates:
        begin = time.monotonic()
        missing = prepare_needs(book, gate, place)
        result = _result(gate, UNAVAILABLE, missing) if missing else EVALUATORS[gate.kind](gate, place)
        results.append(replace(result, seconds=time.monotonic() - begin))
    return results


def prepare_needs(book: GateBook, gate: Gate, place: Place) -> str:
    """Make what the gate needs where the book says how; the first need that is not met, in words."""
    for need in gate.options["needs"]:
        kind, _, name = need.partition(":")
        if kind == "file" and not (place.tree / name).exists():
            for step in (step for step in book.prepare if step.makes == name):
                _command(step.run, gate, place, log_name=f"prepare-{Path(name).name}.log")
        met = {
            "cuda": lambda: any(Path("/dev").glob("nvidia[0-9]*")),
            "file": lambda name=name: (place.tree / name).exists(),
            "program": lambda name=name: shutil.which(name) is not None,
        }[kind]()
        if not met:
            return f"{need} is not available here"
    return ""


def _result(gate: Gate, state: str, detail: str, **more) -> GateResult:
    options = gate.options
    detail = clean(detail)
    facts = {"unit": str(options.get("unit", "")), "noise": float(options.get("noise", 0.0)), **more}
    if gate.kind == "metric":
        facts |= {"op": options["op"], "threshold": options["value"]}
    return GateResult(gate.id, gate.kind, gate.title, state, detail, gate.criterion, **facts)


def words(argv: Sequence[str], place: Place) -> list[str]:
    """The command as it is run: `{out}` filled in, `python` is the interpreter that runs this."""
    filled = [word.replace("{out}", str(place.out)) for word in argv]
    return [sys.executable, *filled[1:]] if filled[0] in ("python", "python3") else filled


def _command(argv: Sequence[str], gate: Gate, place: Place, log_name: str) -> process.Outcome:
    env = {**place.env, **gate.options.get("env", {})}
    limit = float(gate.options.get("timeout_s", place.timeout_s))
    with (place.out / log_name).open("wb") as log:
        # A gate's command reads nothing and is not interactive; what it prints is capped, not believed.
        return process.run(
            words(argv, place),
            cwd=place.tree,
            env=env,
            marker=f"{place.marker}.gate",
            limits=process.RunLimits(wall_s=limit, log_bytes=LOG_BYTES, kill_grace_s=2.0),
            log=log,
        )


def log_name(gate: Gate, suffix: str) -> str:
    return f"gate-{gate.number}.{suffix}"


def _trouble(outcome: process.Outcome) -> tuple[str, str] | None:
    """State and reason if the command itself did not run to its end."""
    if outcome.ended == "not-started":
        return UNAVAILABLE, outcome.detail
    if outcome.ended != "exited":
        return ERROR, f"ended by the {outcome.ended} limit after {outcome.wall_s:.0f} s"
    return None


def _pytest(gate: Gate, place: Place) -> GateResult:
    options = gate.options
    report = place.out / log_name(gate, "xml")
    report.unlink(missing_ok=True)
    argv = [*options["argv"], "-p", "no:cacheprovider", "-o", "xfail_strict=true", f"--junitxml={report}"]
    if options.get("select"):
        argv += ["-k", str(options["select"])]
    outcome = _command(argv, gate, place, log_name(gate, "log"))
    command = tuple(options["argv"])
    trouble = _trouble(outcome)
    if trouble:
        return _result(gate, *trouble, command=command)
    if outcome.exit_code == UNAVAILABLE_EXIT:
        return _result(gate, UNAVAILABLE, SAYS_UNAVAILABLE, command=command)
    counts = junit_counts(report)
    if counts is None:
        return _result(gate, ERROR, f"no test report (exit code {outcome.exit_code})", command=command)
    state, detail = judge_counts(counts, outcome.exit_code, options.get("min_passed", 1), options.get("max_skipped", 0))
    return _result(gate, state, detail, counts=counts, command=command)


CASE_TAGS = (("error", "errors"), ("failure", "failed"), ("skipped", "skipped"))


def junit_counts(report: Path) -> dict[str, int] | None:
    """Outcomes by test case of a JUnit file: passed, failed, errors, skipped; None if there is no readable file."""
    if not report.is_file():
        return None
    try:
        if report.stat().st_size > READ_CAP:
            return None
        root = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    counts = {"passed": 0, "failed": 0, "errors": 0, "skipped": 0}
    for case in root.iter("testcase"):
        names = {child.tag for child in case}
        counts[next((key for tag, key in CASE_TAGS if tag in names), "passed")] += 1
    return counts


def judge_counts(
    counts: Mapping[str, int], exit_code: int | None, min_passed: int, max_skipped: int
) -> tuple[str, str]:
    """State and words for the outcomes of a test run: skipped is not passed, nothing collected is not passed."""
    text = ", ".join(f"{number} {name}" for name, number in counts.items() if number or name == "passed")
    if counts["errors"]:
        return ERROR, text
    if counts["failed"] or exit_code != 0:
        return FAIL, text if counts["failed"] else f"{text}; exit code {exit_code}"
    if counts["passed"] < max(1, min_passed):
        return FAIL, f"{text}; at least {max(1, min_passed)} must pass"
    if counts["skipped"] > max_skipped:
        return FAIL, f"{text}; at most {max_skipped} may be skipped"
    return PASS, text


def _metric(gate: Gate, place: Place) -> GateResult:
    options, command = gate.options, ()
    if "run" in options:
        command = tuple(options["run"])
        outcome = _command(options["run"], gate, place, log_name(gate, "log"))
        trouble = _trouble(outcome)
        if trouble:
            return _result(gate, *trouble, command=command)
        if outcome.exit_code == UNAVAILABLE_EXIT:
            return _result(gate, UNAVAILABLE, SAYS_UNAVAILABLE, command=command)
        if outcome.exit_code != 0:
            return _result(gate, ERROR, f"the command ended with exit code {outcome.exit_code}", command=command)
    name, _, pointer = str(options["json"]).partition("#")
    value, problem = read_number(Path(name.replace("{out}", str(place.out))), pointer, place)
    if value is None:
        return _result(gate, FAIL, problem, command=command)
    state = PASS if OPERATORS[options["op"]](value, options["value"]) else FAIL
    return _result(gate, state, "", value=value, command=command)


def read_number(path: Path, pointer: str, place: Place) -> tuple[float | None, str]:
    """The number at `pointer` (RFC 6901) of a JSON file that this run wrote; or None and the reason."""
    try:
        if not path.resolve().is_relative_to(place.out.resolve()):
            return None, f"{path.name} is not inside the run's folder"
        if path.exists() and not path.is_file():
            return None, f"{path.name} is no regular file"
        about = path.stat()
        if about.st_mtime < place.started - 1.0:
            return None, f"{path.name} is older than this run"
        if about.st_size > READ_CAP:
            return None, f"{path.name} has {about.st_size} bytes, too much to be read"
        node = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, f"{path.name} was not written"
    except (OSError, ValueError, RuntimeError) as error:
        return None, f"{path.name} is unreadable: {error}"
    for key in pointer.split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        try:
            node = node[int(key)] if isinstance(node, list) else node[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None, f"{path.name} has no {pointer}"
    value = finite(node)
    return (value, "") if value is not None else (None, f"{pointer} is {clean(repr(node), 80)}, not a finite number")


def _blob(gate: Gate, place: Place) -> GateResult:
    path = place.tree / gate.options["path"]
    if path.is_symlink() or not path.is_file():
        return _result(gate, FAIL, "missing or no regular file")
    if "git" in gate.options:
        lookup = ["git", "rev-parse", "--verify", "--quiet", gate.options["git"]]
        outcome = _command(lookup, gate, place, log_name(gate, "log"))
        if outcome.exit_code != 0:
            return _result(gate, UNAVAILABLE, f"no object {gate.options['git']} in this clone")
        wanted = (place.out / log_name(gate, "log")).read_text().strip()
        found = blob_sha(path)
        return _result(gate, PASS if found == wanted else FAIL, f"object {found[:12]}, wanted {wanted[:12]}")
    found = sha256_file(path)
    same = found == str(gate.options["sha256"])
    return _result(gate, PASS if same else FAIL, f"sha256 {found[:12]}" + ("" if same else ", differs"))


def _path(gate: Gate, place: Place) -> GateResult:
    key = next(key for key in ("exists", "absent", "non_empty") if key in gate.options)
    pattern = str(gate.options[key])
    found = sorted(place.tree.glob(pattern))
    if key == "absent":
        detail = f"{found[0].relative_to(place.tree)} is there" if found else ""
        return _result(gate, FAIL if found else PASS, detail)
    if key == "non_empty":
        found = [path for path in found if (any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0)]
    return _result(gate, PASS if found else FAIL, f"{len(found)} found" if found else f"nothing matches {pattern}")


def _text(gate: Gate, place: Place) -> GateResult:
    path = place.tree / gate.options["path"]
    try:
        if path.stat().st_size > READ_CAP:
            return _result(gate, FAIL, f"{gate.options['path']} has more than {READ_CAP} bytes")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return _result(gate, FAIL, f"{gate.options['path']}: {error.strerror}")
    if "contains" in gate.options:
        return _result(gate, PASS if str(gate.options["contains"]) in text else FAIL, "")
    return _result(gate, FAIL if str(gate.options["lacks"]) in text else PASS, "")


def _manual(gate: Gate, place: Place) -> GateResult:
    signed = gate.options.get("signed")
    if not signed:
        return _result(gate, UNAVAILABLE, "needs a person's signature in the gates file")
    return _result(gate, PASS, f"signed by {signed['by']} on {signed['date']}: {signed['reason']}")


EVALUATORS = {"pytest": _pytest, "metric": _metric, "blob": _blob, "path": _path, "text": _text, "manual": _manual}


def environment(names: Iterable[str], tree: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a measured command: an allow-list, and the checkout's own sources first on the path."""
    env = {name: os.environ[name] for name in names if name in os.environ}
    return {**env, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})}


# --- memory ---------------------------------------------------------------------------------------------------------


def remember(root: Path, key: str, results: Sequence[GateResult]) -> None:
    """Keep the results of gates on a tree, so that the same tree need not be measured as a base again."""
    rows = [result.as_dict() for result in results]
    write_atomic(state_folder(root) / "cache" / f"{key}.json", json.dumps(rows) + "\n")


def recall(root: Path, key: str) -> list[GateResult] | None:
    """What `remember` kept; None if nothing usable was."""
    try:
        rows = json.loads((root / ".nbloop" / "cache" / f"{key}.json").read_text())
        return [GateResult.from_dict(row) for row in rows]
    except (OSError, ValueError, TypeError):
        return None
