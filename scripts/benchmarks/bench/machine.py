"""The machine and the versions that figures depend on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .arguments import cores

ROOT = Path(__file__).parents[3]


def describe(threads: int) -> dict[str, object]:
    """Processor, cores, memory, versions, commit and time; None for what cannot be found out."""
    commit = _first_line("git", "rev-parse", "HEAD")
    changes = commit and bool(_first_line("git", "status", "--porcelain", "--untracked-files=no"))
    return {
        "utc": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"), "cpu": _cpu(), "cores": cores(), "threads": threads,
        "memory_GiB": _memory_GiB(), "system": platform.platform(), "python": platform.python_version(),
        "torch": _version("torch"), "numpy": _version("numpy"), "compiler": _first_line("g++", "--version"),
        "commit": commit, "uncommitted_changes": changes,
    }


def load_note(when: str) -> list[str]:
    """A note where other work crowds the cores."""
    load = os.getloadavg()[0]
    if load <= cores():
        return []
    return [f"load average {load:.1f} on {cores()} cores {when}: other work was running, the timings are not fair"]


def _cpu() -> str | None:
    try:
        with open("/proc/cpuinfo") as stream:
            return next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")), None)
    except OSError:
        return platform.processor() or None


def _memory_GiB() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (OSError, ValueError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _first_line(*words: str) -> str | None:
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return next(iter(done.stdout.splitlines()), None) if done.returncode == 0 else None
