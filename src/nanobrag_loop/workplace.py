"""An agent's private worktree: prepared, run in, collected.

What an agent leaves becomes data here: a tree, a patch, a claim, findings. Nothing outside the run's own folder and
worktree is changed, so a step that was interrupted can be done again from its beginning.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nanobrag_loop import gitio, measure, preparation, watch, worktrees
from nanobrag_loop.agents import process
from nanobrag_loop.agents.adapters import ADAPTERS
from nanobrag_loop.agents.result import BadResult, Claim, clean, read
from nanobrag_loop.config import Config
from nanobrag_loop.errors import GitError, RefusedError
from nanobrag_loop.portable import Portable, portable
from nanobrag_loop.preparation import Base
from nanobrag_loop.runs import Clock, Run, state_folder, stop_requested, utc_now, write_atomic

# A change may be so many times too large before its files are no longer even read.
READ_FACTOR = 16
SOURCE_ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Workplace:
    """The places and programs of one run. on_phase: called after every phase (progress output, tests)."""

    root: Path
    common: Path
    config: Config
    run: Run
    clock: Clock = utc_now
    on_phase: Callable[[str], object] = lambda phase: None
    mirror: Callable[[bytes], object] | None = None

    @property
    def tree_folder(self) -> Path:
        return self.root / ".nbloop" / "wt" / self.run.id

    @property
    def check_folder(self) -> Path:
        return self.root / ".nbloop" / "wt" / f"{self.run.id}-check"

    @property
    def land_folder(self) -> Path:
        return self.root / ".nbloop" / "wt" / f"{self.run.id}-land"

    @property
    def base(self) -> Base:
        return Base(self.root, self.run.journal["base"])

    @property
    def artifacts(self) -> Path:
        return self.run.file("artifacts")

    @property
    def portable(self) -> Portable:
        trees = (self.tree_folder, self.check_folder, self.land_folder)
        return portable(trees, self.run.folder, self.root)

    def remove_worktrees(self) -> None:
        for folder in (self.tree_folder, self.check_folder, self.land_folder):
            worktrees.remove(self.root, folder)

    def mark(self, phase: str, **facts: object) -> None:
        self.run.mark(phase, self.clock, **facts)
        self.on_phase(phase)

    def prepare(self) -> None:
        worktrees.add(self.root, self.tree_folder, self.run.journal["base"])
        for folder in (self.artifacts, self.run.file("gates")):
            worktrees.clear(folder)
            folder.mkdir()
        kept = worktrees.keep_git_files(self.common)
        before = worktrees.sentinel(self.root, self.common, self.run.id)
        self.check_import_origin()
        self.build()
        self.mark("prepared", git_files=kept, before=before.as_dict())

    def build(self) -> None:
        """Make the ignored programs that the item's reproduction names, as the gates file says how."""
        context = json.loads(self.run.file("context.json").read_text(encoding="utf-8", errors="surrogateescape"))
        commands = " ".join(context["item"]["reproduction"].values())
        for step in preparation.gate_book(self.base).prepare:
            if step.makes in commands:
                with self.run.file(f"build-{Path(step.makes).name}.log").open("wb") as log:
                    process.run(
                        step.run,
                        cwd=self.tree_folder,
                        env=measure.environment(self.config.env_allow, self.tree_folder),
                        marker=self.run.id,
                        limits=process.RunLimits(wall_s=300),
                        log=log,
                    )

    def check_import_origin(self) -> None:
        """The simulator must be imported from the worktree: an editable install would give the main checkout."""
        package = self.tree_folder / "src" / "nanobrag_torch"
        if not package.is_dir():
            return
        code = "import importlib.util as u; print(u.find_spec('nanobrag_torch').origin)"
        log = self.run.file("origin.txt")
        with log.open("wb") as target:
            process.run(
                [sys.executable, "-c", code],
                cwd=self.tree_folder,
                env=self.environment(),
                marker=self.run.id,
                limits=process.RunLimits(wall_s=60),
                log=target,
            )
        origin = Path(log.read_text(errors="replace").strip() or "/nowhere")
        if not origin.is_relative_to(self.tree_folder):
            raise RefusedError(f"nanobrag_torch would be imported from {origin}, not from the worktree")

    def environment(self) -> dict[str, str]:
        """What an agent sees: the allow-list, the contract, and an identity that marks commits of its own."""
        env = measure.environment(self.config.env_allow, self.tree_folder)
        mark = watch.committer(self.run.id)
        return {
            **env,
            "PYTHONPATH": f"{self.tree_folder / 'src'}:{SOURCE_ROOT}",
            "NBLOOP_RESULT": str(self.run.file("result.json")),
            "NBLOOP_ARTIFACTS": str(self.artifacts),
            "NBLOOP_CONTEXT": str(self.run.file("context.json")),
            "NBLOOP_ITEM": self.run.journal["item"],
            "NBLOOP_ROLE": self.run.journal["role"],
            "GIT_AUTHOR_NAME": "agent",
            "GIT_AUTHOR_EMAIL": mark,
            "GIT_COMMITTER_NAME": "agent",
            "GIT_COMMITTER_EMAIL": mark,
        }

    def run_or_end(self) -> None:
        """Let the agent run; if it was running already, under a runner that died, end it."""
        if self.run.phase == "running":
            self.end_interrupted()
        else:
            self.run_agent()

    def run_agent(self) -> None:
        agent, limits = self.run.journal["agent"], self.config.limits.run
        bounds = process.RunLimits(
            wall_s=limits.wall_s,
            idle_s=limits.idle_s,
            after_result_s=limits.after_result_s,
            log_bytes=int(limits.log_mib * 1024 * 1024),
            tokens=limits.tokens or None,
            usd=limits.usd or None,
            kill_grace_s=min(10.0, limits.wall_s / 4),
        )
        watcher = ADAPTERS[agent["events"]](self.run.file("result.json"))
        with self.run.file("agent.log").open("wb") as log:
            outcome = process.run(
                agent["argv"],
                cwd=self.tree_folder,
                env=self.environment(),
                marker=self.run.id,
                limits=bounds,
                log=log,
                stdin=self.run.file("prompt.md"),
                watcher=watcher,
                mirror=self.mirror,
                started=self.agent_started,
                stop=lambda: stop_requested(self.root),
            )
        self.run.note(
            outcome={
                "ended": outcome.ended,
                "exit_code": outcome.exit_code,
                "wall_s": round(outcome.wall_s, 2),
                "output_bytes": outcome.output_bytes,
                "tokens": outcome.usage.tokens,
                "usd": outcome.usage.usd,
                "left": list(outcome.left),
                "survivors": list(outcome.survivors),
                "detail": outcome.detail,
            }
        )

    def agent_started(self, who: process.Identity) -> None:
        self.mark("running", pid=who.pid, started=who.started)

    def end_interrupted(self) -> None:
        """The runner died while the agent ran: end what is left of it and let the attempt count as interrupted."""
        if "outcome" in self.run.journal:
            return
        who = process.Identity(self.run.journal["pid"], self.run.journal["started"])
        survivors = process.end_group(who.pid if who.alive() else -1, self.run.id, 2.0)
        outcome = {"ended": "interrupted", "exit_code": None, "wall_s": 0.0, "survivors": list(survivors), "left": []}
        self.run.note(outcome=outcome)

    def collect(self) -> None:
        """The agent's work as a tree and a patch, its claim as data, its escapes as findings."""
        journal = self.run.journal
        state_folder(self.root)
        found = watch.escapes(
            self.root, self.common, journal["before"], journal["git_files"], self.run.id, self.config.branch
        )
        base = journal["base"]
        try:
            found += watch.own_commits(self.root, self.tree_folder, base, self.run.id)
            cap = READ_FACTOR * self.config.files.total_kib * 1024
            tree, unread = worktrees.result_tree(self.tree_folder, base, self.run.file("index"), cap)
            found += watch.unread_findings(unread)
            found += [
                watch.finding("P3", name, "an ignored file was forced into the index")
                for name in worktrees.forced(self.tree_folder, base, tree)
            ]
            patch, paths = worktrees.patch(self.root, base, tree), worktrees.changed_paths(self.root, base, tree)
        except GitError as error:
            # The agent broke its own worktree; what lies there cannot be read as a change.
            found.append(
                watch.finding(
                    "P8", str(self.tree_folder), f"the worktree is no longer readable: {clean(str(error), 120)}"
                )
            )
            tree, patch, paths = gitio.resolve(self.root, base, "tree"), "", []
        found += watch.limit_findings(journal["outcome"])
        if journal["outcome"]["ended"] == "stop" and not (self.root / ".nbloop" / "STOP").exists():
            found.append(watch.finding("P8", ".nbloop/STOP", "the file was taken away while the agent ran"))
        write_atomic(self.run.file("change.patch"), patch)
        claim, problem = self.claim()
        self.mark(
            "collected",
            tree=tree,
            paths=paths,
            escapes=found,
            claim=claim.as_dict() if claim else None,
            claim_problem=problem,
        )

    def claim(self) -> tuple[Claim | None, str]:
        outcome = self.run.journal["outcome"]
        if outcome["ended"] == "interrupted":
            return None, "interrupted"
        if outcome["ended"] == "not-started":
            return None, clean(f"the agent could not be started: {outcome['detail']}", 200)
        if outcome["survivors"]:
            return None, f"processes {outcome['survivors']} of the agent could not be ended"
        try:
            return read(self.run.file("result.json"), self.artifacts), ""
        except BadResult as reason:
            return None, str(reason)
