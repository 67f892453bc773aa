"""The agents that need no model. They are programs like any other agent and keep the same contract.

    python -m nanobrag_loop.agents.builtin noop|replay|reproduce

noop reports that it did nothing; replay applies a recorded patch and hands in the recorded result; reproduce runs
the item's reproduction commands, without a shell, and reports what came out as a diagnostic attempt.

The contract, by environment: NBLOOP_RESULT is where the result goes, NBLOOP_ARTIFACTS the folder for evidence,
NBLOOP_CONTEXT a JSON file with the item as it stands at the base commit; the working directory is a worktree.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nanobrag_loop.agents import process
from nanobrag_loop.agents.shellwords import Unrunnable, parse
from nanobrag_loop.manifest import files_below

COMMAND_LIMIT_S = 200.0
LOG_BYTES = 2 * 1024 * 1024
OUTPUT_NUMBERS = 6
NUMBER = re.compile(r"(?<![\w.])([A-Za-z_][\w./-]{0,40}?)\s*[=≈]\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w.])")


@dataclass(frozen=True)
class Task:
    """What the contract hands to an agent."""

    item: dict
    result: Path
    artifacts: Path
    tree: Path
    attempt: int
    recordings: Path | None

    @staticmethod
    def from_environment(env: Mapping[str, str]) -> Task:
        context = json.loads(Path(env["NBLOOP_CONTEXT"]).read_text(encoding="utf-8"))
        folder = env.get("NBLOOP_REPLAY")
        return Task(
            context["item"],
            Path(env["NBLOOP_RESULT"]),
            Path(env["NBLOOP_ARTIFACTS"]),
            Path.cwd(),
            int(context["attempt"]),
            Path(folder) if folder else None,
        )

    def hand_in(self, result: dict) -> None:
        """Write the result file in one step, so that it is never seen half-written."""
        partial = self.result.with_suffix(".partial")
        partial.write_text(json.dumps({"schema": 1, **result}, ensure_ascii=False, indent=1), encoding="utf-8")
        partial.replace(self.result)


@dataclass
class Findings:
    metrics: list[dict] = field(default_factory=list)
    observations: list[str] = field(default_factory=list)
    next_actions: list[str] = field(default_factory=list)
    first_divergence: str | None = None
    ran: list[str] = field(default_factory=list)

    def metric(self, name: str, value: float, unit: str = "") -> None:
        if all(row["name"] != name for row in self.metrics):
            self.metrics.append({"name": name, "value": value, "unit": unit})


def noop(task: Task) -> int:
    task.hand_in({"result": "diagnostic", "summary": "No agent was run; the item was left as it is."})
    return 0


def replay(task: Task) -> int:
    """Apply `FOLDER/ITEM/ATTEMPT/change.patch` and hand in `result.json` from beside it."""
    if task.recordings is None:
        print("replay: set NBLOOP_REPLAY to a folder with ITEM/ATTEMPT/result.json and change.patch", file=sys.stderr)
        return 2
    step = task.recordings / task.item["id"] / str(task.attempt)
    if not (step / "result.json").is_file():
        print(f"replay: no recording {step}/result.json", file=sys.stderr)
        return 2
    patch = step / "change.patch"
    if patch.is_file() and patch.stat().st_size:
        subprocess.run(["git", "apply", "--whitespace=nowarn", str(patch)], cwd=task.tree, check=True)
    if (step / "artifacts").is_dir():
        shutil.copytree(step / "artifacts", task.artifacts, dirs_exist_ok=True)
    shutil.copyfile(step / "result.json", task.result)
    return 0


def reproduce(task: Task) -> int:
    """Run what the ledger says reproduces the item, and report it as it is."""
    found = Findings()
    for label, text in task.item["reproduction"].items():
        if label in ("C", "PyTorch"):
            reproduce_one(task, label, text, found)
    collect_files(task, found)
    ran = "; ".join(found.ran) if found.ran else "no command could be run"
    task.hand_in(
        {
            "result": "diagnostic",
            "summary": f"Reproduction at the base commit: {ran}."[:400],
            "metrics": found.metrics,
            "observations": found.observations or ["The reproduction commands ran as given."],
            "next_actions": found.next_actions or ["Compare with the exit criteria; the record has the gates."],
            "first_divergence": found.first_divergence,
            "artifacts": [path.relative_to(task.artifacts).as_posix() for path in files_below(task.artifacts)],
        }
    )
    return 0


def reproduce_one(task: Task, label: str, text: str, found: Findings) -> None:
    try:
        command = parse(text)
    except Unrunnable as reason:
        found.observations.append(f"{label} reproduction not run: {reason}")
        if not reason.not_applicable:
            found.next_actions.append(f"Correct the {label} reproduction command ({reason.code}).")
        return
    name = label.lower()
    report = task.artifacts / f"{name}.xml"
    env = {**os.environ, **command.env, "PYTEST_ADDOPTS": f"-p no:cacheprovider --junitxml={report}"}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    log_path = task.artifacts / f"{name}.log"
    with log_path.open("wb") as log:
        outcome = process.run(
            located(command.argv, env["PATH"], task.tree),
            cwd=task.tree,
            env=env,
            log=log,
            marker=f"{os.environ.get(process.MARKER, 'reproduce')}.{name}",
            limits=process.RunLimits(wall_s=COMMAND_LIMIT_S, log_bytes=LOG_BYTES, kill_grace_s=2.0),
        )
    describe(label, outcome, log_path, report, found)
    report.unlink(missing_ok=True)


def located(argv: tuple[str, ...], path: str, tree: Path) -> list[str]:
    """The command with its program found: the interpreter that runs this stands for python and pytest."""
    program = argv[0]
    if program in ("python", "python3"):
        return [sys.executable, *argv[1:]]
    if program == "pytest":
        return [sys.executable, "-m", "pytest", *argv[1:]]
    if "/" in program:
        return [str(tree / program), *argv[1:]]
    return [shutil.which(program, path=path) or program, *argv[1:]]


def describe(label: str, outcome: process.Outcome, log_path: Path, report: Path, found: Findings) -> None:
    """What one command showed: its end, test outcomes, numbers in its output, the first failing test."""
    if outcome.ended == "not-started":
        found.ran.append(f"{label} could not start")
        found.observations.append(f"{label} reproduction could not start: {outcome.detail}")
        found.next_actions.append(f"Provide the program of the {label} reproduction, or mark it n/a with the reason.")
        return
    end = f"exit code {outcome.exit_code}" if outcome.ended == "exited" else f"ended by the {outcome.ended} limit"
    found.ran.append(f"{label} {end} in {outcome.wall_s:.1f} s")
    found.metric(f"{label}.exit_code", outcome.exit_code if outcome.exit_code is not None else -1)
    found.metric(f"{label}.wall", round(outcome.wall_s, 2), "s")
    if report.is_file():
        describe_tests(label, report, found)
    text = log_path.read_text(encoding="utf-8", errors="replace")[-20_000:]
    # The last numbers of an output are its results, the first ones an echo of its input.
    # A name as NB_RUN_PARALLEL is a variable of the environment, not a result.
    results = [(name, value) for name, value in NUMBER.findall(text) if not ("_" in name and name.isupper())]
    for name, value in results[-OUTPUT_NUMBERS:]:
        found.metric(f"{label}.{name}", float(value))
    if outcome.exit_code != 0:
        last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")
        found.observations.append(f"{label} reproduction: {end}; last line: {last[:200]}")


def describe_tests(label: str, report: Path, found: Findings) -> None:
    try:
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    except ElementTree.ParseError:
        return
    outcome = {"failure": "failed", "error": "errors", "skipped": "skipped"}
    counts = dict.fromkeys(("passed", *outcome.values()), 0)
    for case in cases:
        child = next((child for child in case if child.tag in outcome), None)
        counts[outcome[child.tag] if child is not None else "passed"] += 1
        if child is None or child.tag == "skipped":
            continue
        line = f"{case.get('classname')}::{case.get('name')}: {' '.join((child.get('message') or '').split())[:200]}"
        # A test that could not be set up compared nothing: it is no divergence.
        if child.tag == "failure":
            found.first_divergence = found.first_divergence or line
        elif not any("could not run" in text for text in found.observations):
            found.observations.append(f"A test could not run: {line}")
    for name, count in counts.items():
        found.metric(f"{label}.{name}", count)
    if counts["skipped"]:
        found.observations.append(f"{counts['skipped']} of {len(cases)} tests were skipped, which is no pass.")


def collect_files(task: Task, found: Findings) -> None:
    """Files that the commands left in the worktree become artifacts; changed tracked files are put back."""
    status = ["git", "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all"]
    listed = subprocess.run(status, cwd=task.tree, check=True, capture_output=True).stdout
    rows = listed.decode("utf-8", "surrogateescape")
    for row in filter(None, rows.split("\0")):
        state, name = row[:2], row[3:]
        if state == "??":
            target = task.artifacts / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(task.tree / name, target)
        else:
            subprocess.run(["git", "restore", "--staged", "--worktree", "--", name], cwd=task.tree, check=True)
            found.observations.append(f"The reproduction changed the tracked file {name}; it was put back.")


AGENTS = {"noop": noop, "replay": replay, "reproduce": reproduce}


def main(argv: list[str]) -> int:
    if len(argv) != 1 or argv[0] not in AGENTS:
        print(f"usage: python -m nanobrag_loop.agents.builtin {'|'.join(AGENTS)}", file=sys.stderr)
        return 2
    return AGENTS[argv[0]](Task.from_environment(os.environ))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
