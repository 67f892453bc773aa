"""Run one program under limits, in its own process group, with one merged output stream.

The reader is a single loop over one pipe (stdout and stderr together), so no second pipe can fill up and block
the program. The prompt is a file given as stdin: the program reads it to its end, whatever its size.
Every program that the run leaves behind is found by its process group, by a marker in its environment, *and* by its
descent: on Linux this process becomes the parent of every orphan below it, so a grandchild that opened a session of
its own and cleared its environment is ended too. If this process is killed, the kernel kills the program with it; what
that started is found by group and marker later.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Loaded once: between fork and exec nothing may be imported.
LIBRARY = ctypes.CDLL(None)
TICK_S = 0.1
DRAIN_S = 1.0
CHUNK = 1 << 16
LINE_CAP = 1 << 20
MARKER = "NBLOOP_RUN"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class RunLimits:
    """When a program is ended. `None` means no limit.

    wall_s: seconds since the start; idle_s: seconds without a byte of output; after_result_s: seconds granted
    after the program reported its result; log_bytes: bytes of output; kill_grace_s: seconds from TERM to KILL.
    """

    wall_s: float | None = None
    idle_s: float | None = None
    after_result_s: float | None = None
    log_bytes: int | None = None
    tokens: int | None = None
    usd: float | None = None
    kill_grace_s: float = 10.0


@dataclass
class Usage:
    """What a program says that it used; every figure may be unknown."""

    tokens: int | None = None
    usd: float | None = None


@dataclass(frozen=True)
class Identity:
    """A process for later: the pid alone may be given to another program, pid and start time may not."""

    pid: int
    started: int | None

    def alive(self) -> bool:
        stat = _stat(self.pid)
        return stat is not None and self.started is not None and stat.started == self.started


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    ended: "exited", or the limit that ended it: "wall", "idle", "after-result", "log", "tokens", "usd", "stop",
    or "not-started". exit_code: as `subprocess` gives it (negative: signal). left: processes that had to be ended
    after the program itself was gone. survivors: processes that could not be ended.
    """

    ended: str
    exit_code: int | None
    wall_s: float
    output_bytes: int
    usage: Usage
    left: tuple[int, ...] = ()
    survivors: tuple[int, ...] = ()
    detail: str = ""


class Watcher:
    """Reads the output line by line; the plain one learns nothing from it."""

    def __init__(self, result_file: Path | None = None) -> None:
        self.usage = Usage()
        self.ended = False
        self.result_file = result_file

    def feed(self, line: str) -> None:
        """Take one line of output (decoded with replacement, without its line end)."""

    def finished(self) -> bool:
        """Whether the program has reported its result, in its output or as its result file."""
        return self.ended or (self.result_file is not None and self.result_file.exists())


@dataclass(frozen=True)
class _Stat:
    parent: int
    pgid: int
    started: int
    state: str


def _stat(pid: int) -> _Stat | None:
    """Parent, group, start time (clock ticks since boot) and state of a process, from /proc; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Stat(parent=int(fields[1]), pgid=int(fields[2]), started=int(fields[19]), state=fields[0])


def identity(pid: int) -> Identity:
    stat = _stat(pid)
    return Identity(pid, stat.started if stat else None)


def prctl(option: int, value: int) -> None:
    """Ask the kernel for something, wherever the system can."""
    with contextlib.suppress(OSError, AttributeError):
        LIBRARY.prctl(option, value, 0, 0, 0)


def adopt_orphans() -> None:
    """Let processes below this one that lose their parent become its own children."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """In a new process, before its program starts: be killed when the parent is gone, also when that was killed."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def processes() -> dict[int, _Stat]:
    """Every process of the machine that can be seen."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return {pid: stat for pid in pids if (stat := _stat(pid)) is not None}


def descendants(every: Mapping[int, _Stat], older: Set[int] = frozenset()) -> set[int]:
    """The processes below this one, without those in `older` and what is below them."""
    children: dict[int, list[int]] = {}
    for pid, stat in every.items():
        children.setdefault(stat.parent, []).append(pid)
    found: set[int] = set()
    ahead = [os.getpid()]
    while ahead:
        new = [pid for pid in children.get(ahead.pop(), []) if pid not in older]
        found.update(new)
        ahead += new
    return found


def members(pgid: int, marker: str, older: Set[int] | None = None) -> list[int]:
    """Living processes of the group `pgid`, and any whose environment says `NBLOOP_RUN=marker` or `marker.part`.

    older: what ran below this process before the program was started; everything else below it belongs to the
    program. None: descent says nothing.
    """
    needle = f"{MARKER}={marker}".encode()
    every = processes()
    below = set() if older is None else descendants(every, older)
    return [
        pid
        for pid, stat in every.items()
        if pid != os.getpid()
        and stat.state != "Z"
        and (stat.pgid == pgid or pid in below or _carries(Path("/proc", str(pid)), needle))
    ]


def reap_orphans(older: Set[int], child: int) -> None:
    """Let adopted processes that have ended disappear; the program itself is left to its own `Popen`."""
    every = processes()
    for pid in descendants(every, older) - {child}:
        if every[pid].state == "Z":
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)


def _carries(entry: Path, needle: bytes) -> bool:
    try:
        words = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word == needle or word.startswith(needle + b".") for word in words)


def end_group(
    pgid: int,
    marker: str,
    grace_s: float,
    reap: Callable[[], object] = lambda: None,
    older: Set[int] | None = None,
) -> tuple[int, ...]:
    """TERM to every member, `grace_s` seconds, KILL; the members that still live are returned."""
    for sig, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        alive = members(pgid, marker, older)
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, sig)
        end = time.monotonic() + wait_s
        while alive and time.monotonic() < end:
            reap()
            alive = members(pgid, marker, older)
            if alive:
                time.sleep(TICK_S / 2)
    reap()
    return tuple(members(pgid, marker, older))


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    marker: str,
    limits: RunLimits,
    log: BinaryIO,
    stdin: Path | None = None,
    watcher: Watcher | None = None,
    mirror: Callable[[bytes], object] | None = None,
    started: Callable[[Identity], object] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run `argv` to its end or to a limit and return how it ended; no process of its own outlives the call.

    `stop` is asked about once a second; `started` learns the identity before any output is read.
    """
    watcher = watcher or Watcher()
    adopt_orphans()
    older = descendants(processes())
    begin = time.monotonic()
    try:
        with open(stdin or os.devnull, "rb") as source:
            child = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env={**env, MARKER: marker},
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                bufsize=0,
                preexec_fn=functools.partial(die_with, os.getpid()),
            )
    except OSError as error:
        reason = f"{argv[0]}: {error.strerror or error}"
        return Outcome("not-started", None, 0.0, 0, watcher.usage, detail=reason)
    reader = _Reader(child, log, watcher, mirror)
    try:
        if started:
            started(identity(child.pid))
        ended = reader.follow(limits, begin, stop)
    except BaseException:
        end_group(child.pid, marker, 0.5, child.poll, older)
        raise
    left = tuple(pid for pid in members(child.pid, marker, older) if pid != child.pid) if ended == "exited" else ()
    survivors = end_group(child.pid, marker, limits.kill_grace_s, child.poll, older)
    reap_orphans(older, child.pid)
    reader.drain(limits)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=5)
    wall = time.monotonic() - begin
    return Outcome(ended, child.returncode, wall, reader.seen, watcher.usage, left, survivors)


class _Reader:
    """The pipe of one program: counts, logs, mirrors, and hands whole lines to the watcher."""

    def __init__(self, child: subprocess.Popen, log: BinaryIO, watcher: Watcher, mirror) -> None:
        self.child, self.log, self.watcher, self.mirror = child, log, watcher, mirror
        self.seen = 0
        self.open = True
        self.partial = b""
        self.last_byte = time.monotonic()
        self.selector = selectors.DefaultSelector()
        self.selector.register(child.stdout, selectors.EVENT_READ)

    def follow(self, limits: RunLimits, begin: float, stop: Callable[[], bool]) -> str:
        """Read until the program is gone or a limit is passed; say which."""
        result_at: float | None = None
        gone_at: float | None = None
        next_stop = begin
        while True:
            self.read_some(limits.log_bytes)
            now = time.monotonic()
            if self.child.poll() is not None:
                gone_at = gone_at or now
                # A grandchild may hold the pipe for ever: after a moment the rest is no longer waited for.
                if not self.open or now - gone_at > DRAIN_S:
                    return "exited"
            if result_at is None and self.watcher.finished():
                result_at = now
            if now >= next_stop:
                next_stop = now + 1.0
                if stop():
                    return "stop"
            passed = self.passed(limits, begin, result_at, now)
            if passed and self.child.poll() is None:
                return passed

    def passed(self, limits: RunLimits, begin: float, result_at: float | None, now: float) -> str | None:
        usage = self.watcher.usage
        checks = (
            ("log", self.seen, limits.log_bytes),
            ("tokens", usage.tokens, limits.tokens),
            ("usd", usage.usd, limits.usd),
            ("after-result", None if result_at is None else now - result_at, limits.after_result_s),
            ("wall", now - begin, limits.wall_s),
            ("idle", now - self.last_byte, limits.idle_s),
        )
        known = ((name, value, cap) for name, value, cap in checks if value is not None and cap is not None)
        return next((name for name, value, cap in known if value > cap), None)

    def read_some(self, cap: int | None) -> None:
        if not self.open:
            time.sleep(TICK_S)
            return
        if not self.selector.select(TICK_S):
            return
        data = os.read(self.child.stdout.fileno(), CHUNK)
        if not data:
            self.open = False
            self.selector.unregister(self.child.stdout)
            self.lines(b"\n" if self.partial else b"")
            return
        self.last_byte = time.monotonic()
        room = len(data) if cap is None else max(0, cap - self.seen)
        self.seen += len(data)
        self.log.write(data[:room])
        self.log.flush()
        if self.mirror:
            self.mirror(data[:room])
        self.lines(data)

    def lines(self, data: bytes) -> None:
        *whole, self.partial = (self.partial + data).split(b"\n")
        self.partial = self.partial[-LINE_CAP:]
        for line in whole:
            self.watcher.feed(line.decode("utf-8", "replace").rstrip("\r"))

    def drain(self, limits: RunLimits) -> None:
        """What the pipe still holds once every writer is gone."""
        end = time.monotonic() + DRAIN_S
        while self.open and time.monotonic() < end:
            self.read_some(limits.log_bytes)
        self.selector.close()
        self.child.stdout.close()
