"""Both programs as processes: their time and their peak resident memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nanobrag_torch.errors import InputError

HERE = Path(__file__).parent


class Measured(NamedTuple):
    """Seconds from start to end, peak resident bytes, and what a Python child reported."""

    seconds: float
    peak_bytes: int
    report: Any = None


def run_c(binary: Path, words: Sequence[str], folder: Path, threads: int) -> Measured:
    """The C program in a folder; `InputError` where it fails."""
    return _measured([str(binary), *words, "-noprogress"], folder, {"OMP_NUM_THREADS": str(threads)})


def run_child(module: str, job: Mapping[str, Any], folder: Path,
              environment: Mapping[str, str] | None = None) -> Measured:
    """A module of this package in a process of its own: it gets a job as JSON and prints what it measured."""
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return _measured([sys.executable, "-m", f"{__package__}.{module}", json.dumps(job)], folder,
                     {"PYTHONPATH": os.pathsep.join(paths)} | dict(environment or {}), reports=True)


def _measured(command: list[str], folder: Path, environment: Mapping[str, str], *, reports: bool = False) -> Measured:
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(HERE / "launch.py"), result.name, *command], cwd=folder, check=False,
            env=os.environ | environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        text = Path(result.name).read_text()
    figures = json.loads(text) if text else {"status": done.returncode}
    if figures["status"] != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise InputError(f"{' '.join(command[:3])}: expected a run that succeeds, got exit status "
                         f"{figures['status']}: {words}")
    report = json.loads(done.stdout.splitlines()[-1]) if reports else None
    return Measured(figures["seconds"], figures["peak_bytes"], report)
