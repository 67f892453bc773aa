"""Both programs as processes, each in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

C_BINARY_VARIABLE = "NB_C_BIN"
BUILT_BINARY = Path("golden_suite_generator") / "nanoBragg"
_PYTHON = (sys.executable, "-m", "nanobrag_torch")


@dataclass(frozen=True)
class Run:
    """One program's run: its command, exit status, seconds, output texts, and the folder with its files."""

    command: tuple[str, ...]
    status: int
    seconds: float
    stdout: str
    stderr: str
    folder: Path


def c_binary(given: str | None = None) -> Path:
    """The C program: the one given, that of NB_C_BIN, or the one built in golden_suite_generator.

    Raises `InputError` where there is none.
    """
    named = given or os.environ.get(C_BINARY_VARIABLE)
    candidates = [Path(named)] if named else [root / BUILT_BINARY for root in (Path.cwd(), *Path(__file__).parents)]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return candidate.resolve()
    raise InputError(f"{C_BINARY_VARIABLE}: expected a C build of nanoBragg, got {named or 'none'}; "
                     "`make -C golden_suite_generator` builds one")


def run_c(arguments: Sequence[str], folder: Path, binary: Path, *, threads: int = 1, timeout_s: float = 600) -> Run:
    """Run the C program in a folder."""
    return _run((str(binary), *arguments), folder, {"OMP_NUM_THREADS": str(threads)}, timeout_s)


def run_python(arguments: Sequence[str], folder: Path, *, command: Sequence[str] = _PYTHON,
               timeout_s: float = 600) -> Run:
    """Run this program (or another command) in a folder."""
    return _run((*command, *arguments), folder, {}, timeout_s)


def clean_folder(parent: Path, name: str, inputs: Path | None = None) -> Path:
    """A new folder, with links to everything in `inputs`; nothing of an earlier run is in it."""
    folder = parent / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for entry in sorted(inputs.iterdir()) if inputs else ():
        (folder / entry.name).symlink_to(entry.resolve())
    return folder


def _run(command: tuple[str, ...], folder: Path, environment: Mapping[str, str], timeout_s: float) -> Run:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True,
                          timeout=timeout_s, stdin=subprocess.DEVNULL, check=False)
    return Run(command, done.returncode, time.perf_counter() - started, done.stdout, done.stderr, folder)
