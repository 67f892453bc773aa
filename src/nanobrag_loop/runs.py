"""The local memory of runs: the lock, one folder per run, and its journal, which survives a kill at any point.

`.nbloop/` lies in the main checkout and ignores itself. A run's journal is replaced atomically and synced to disk
after every phase, so what it says has happened has happened, and what it does not say can be done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nanobrag_loop.errors import RefusedError
from nanobrag_loop.manifest import files_below
from nanobrag_loop.worktrees import clear

PHASES = (
    "opened",
    "prepared",
    "running",
    "collected",
    "guarded",
    "gated",
    "decided",
    "committed",
    "merged",
    "pushed",
    "closed",
)
KEEP_RUNS = 50
KEEP_BYTES = 500 * 1024 * 1024

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def write_atomic(path: Path, text: str) -> None:
    """Replace a file as a whole and sync it; on any failure the old content stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as target:
            target.write(text)
            target.flush()
            os.fsync(target.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def state_folder(root: Path) -> Path:
    """`.nbloop/` of a checkout, made on first use; it holds a `.gitignore` of its own."""
    folder = root / ".nbloop"
    folder.mkdir(exist_ok=True)
    marker = folder / ".gitignore"
    if not marker.exists():
        marker.write_text("*\n")
    return folder


STOP_SIGNAL = signal.SIGUSR1
# Set by the signal: an agent can take the file away, but not what this process was told.
stop_told = threading.Event()


def stop_requested(root: Path) -> bool:
    return stop_told.is_set() or (root / ".nbloop" / "STOP").exists()


@contextlib.contextmanager
def lock(path: Path, purpose: str, now: Clock = utc_now) -> Iterator[None]:
    """Hold the repository's only lock; `RefusedError` names the holder. A killed holder frees it at once. Whoever holds
    it can be told to stop."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "wait for it, or end it with `nb-loop stop`"
            raise RefusedError(f"another run holds the lock: {holder(path)}", remedy=remedy) from None
        stop_told.clear()
        signal.signal(STOP_SIGNAL, lambda number, frame: stop_told.set())
        about = {"pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose, "since": stamp(now())}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(about).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def holder(path: Path) -> str:
    """Who holds the lock, in words."""
    try:
        about = json.loads(path.read_text())
        return f"pid {about['pid']} on {about['host']}, {about['purpose']}, since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "holder unknown"


def tell_to_stop(path: Path) -> int | None:
    """Send the lock's holder the signal to stop; its pid, None if nobody here holds the lock.

    The file could name any process: only one that has the very file open is meant.
    """
    try:
        pid = int(json.loads(path.read_text())["pid"])
        if not any(os.path.samefile(entry, path) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.exists()):
            return None
        os.kill(pid, STOP_SIGNAL)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_id(now: Clock = utc_now) -> str:
    """The second, and where in it (in 65536ths, hexadecimal): runs sort by their ids as they followed one another."""
    moment = now().astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{moment.microsecond * 65536 // 1_000_000:04x}"


@dataclass
class Run:
    """One run: its folder and its journal."""

    folder: Path
    journal: dict

    @property
    def id(self) -> str:
        return self.journal["run"]

    @property
    def phase(self) -> str:
        return self.journal["phase"]

    @property
    def finished(self) -> bool:
        return self.phase == "closed"

    def reached(self, phase: str) -> bool:
        """Whether the journal says that `phase` is done."""
        return PHASES.index(self.phase) >= PHASES.index(phase)

    def note(self, **facts: object) -> None:
        """Add facts to the journal without a change of phase."""
        self.journal.update(facts)
        self.save()

    def mark(self, phase: str, now: Clock = utc_now, **facts: object) -> None:
        """Record that `phase` is done, with what it found."""
        self.journal.update(facts)
        self.journal["phase"] = phase
        self.journal.setdefault("times", {})[phase] = stamp(now())
        self.save()

    def save(self) -> None:
        # ASCII alone: names that are no text are escaped and read back as they were.
        write_atomic(self.folder / "run.json", json.dumps(self.journal, indent=1) + "\n")

    def file(self, name: str) -> Path:
        return self.folder / name


def runs_folder(root: Path) -> Path:
    return state_folder(root) / "runs"


def open_run(root: Path, role: str, facts: Mapping, now: Clock = utc_now) -> Run:
    """A new run in phase "opened"."""
    run_id = new_id(now)
    folder = runs_folder(root) / run_id
    folder.mkdir(parents=True)
    run = Run(folder, {"schema": 1, "run": run_id, "role": role, **facts})
    run.mark("opened", now)
    return run


def load(folder: Path) -> Run | None:
    """The run in a folder; None if its journal was never written. A damaged journal is refused, never reset."""
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
        if journal["phase"] not in PHASES or journal["run"] != folder.name:
            raise ValueError("phase or run id does not fit")
        if not all(isinstance(journal.get(key, ""), str) for key in ("role", "item")):
            raise ValueError("role or item is no text")
    except (ValueError, KeyError, TypeError) as error:
        remedy = "look at the folder, then move it away"
        raise RefusedError(f"{path}: damaged journal: {error}", remedy=remedy) from None
    return Run(folder, journal)


def all_runs(root: Path) -> list[Run]:
    """Runs of this checkout, oldest first."""
    folders = sorted(path for path in (root / ".nbloop" / "runs").glob("*") if path.is_dir())
    return [run for run in map(load, folders) if run is not None]


def find(root: Path, run_id: str) -> Run:
    """The run whose id is or begins with `run_id`; "last" is the newest."""
    runs = all_runs(root)
    found = runs[-1:] if run_id == "last" else [run for run in runs if run.id.startswith(run_id)]
    if len(found) != 1:
        raise RefusedError(f"run {run_id!r}: {'no such run' if not found else 'ambiguous'} in {root / '.nbloop/runs'}")
    return found[0]


def unfinished(root: Path) -> list[Run]:
    return [run for run in all_runs(root) if not run.finished]


def prune(root: Path, keep: int = KEEP_RUNS, keep_bytes: int = KEEP_BYTES) -> list[str]:
    """Remove the oldest closed runs beyond the bounds, failed ones last, parked ones never; their ids are returned."""
    closed = [run for run in all_runs(root) if run.finished and not run.journal.get("parked")]
    size = {run.id: folder_bytes(run.folder) for run in closed}
    order = sorted(closed, key=lambda run: (run.journal.get("result") == "failed", run.id))
    total, gone = sum(size.values()), []
    for run in order:
        if len(closed) - len(gone) <= keep and total <= keep_bytes:
            break
        clear(run.folder)
        total -= size[run.id]
        gone.append(run.id)
    return gone


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in files_below(folder))
