"""Both programs under one set of words.

Words are those of the command line; `files` are small text inputs by name, written beside the run.
"""

from __future__ import annotations

import io
import itertools
import shlex
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanobrag_torch.cli.main import main
from nanobrag_torch.tools.runners import clean_folder, run_c

Words = str | Sequence[str]
Files = Mapping[str, str]
NO_FILES: Files = {}
FLOAT_IMAGE, INTEGER_IMAGE = "float.bin", "int.img"


@dataclass(frozen=True)
class Outcome:
    """What a program left: exit status, both streams, and a folder."""

    status: int
    stdout: str
    stderr: str
    folder: Path

    def image(self) -> np.ndarray:
        """The float image, (slow, fast) float32, photons/pixel."""
        header = (self.folder / INTEGER_IMAGE).read_bytes()[:512].decode("latin-1")
        sizes = {key: int(value) for key, _, value in
                 (entry.partition("=") for entry in header.replace("\n", "").split(";")) if key in ("SIZE1", "SIZE2")}
        return np.fromfile(self.folder / FLOAT_IMAGE, "<f4").reshape(sizes["SIZE2"], sizes["SIZE1"])


def split(words: Words) -> list[str]:
    return shlex.split(words) if isinstance(words, str) else list(words)


def with_outputs(words: Words) -> list[str]:
    """The words with float and integer image under fixed names; no noise image or grey map unless asked for."""
    given = split(words)
    quiet = [flag for flag, wanted in (("-nonoise", "-noisefile"), ("-nopgm", "-pgmfile")) if wanted not in given]
    return [*given, "-floatfile", FLOAT_IMAGE, "-intfile", INTEGER_IMAGE, "-noprogress", *quiet]


def run_c_program(words: Words, folder: Path, binary: Path, files: Files = NO_FILES, *, threads: int = 1) -> Outcome:
    """The C program in a new folder."""
    place = _fresh(folder, files)
    run = run_c(with_outputs(words), place, binary, threads=threads)
    return Outcome(run.status, run.stdout, run.stderr, place)


def run_this_program(words: Words, folder: Path, files: Files = NO_FILES) -> Outcome:
    """This program's command, in this process, in a new folder."""
    place = _fresh(folder, files)
    stdout, stderr = io.StringIO(), io.StringIO()
    with chdir(place), redirect_stdout(stdout), redirect_stderr(stderr):
        status = main(with_outputs(words))
    return Outcome(status, stdout.getvalue(), stderr.getvalue(), place)


def reflection_block(extent: int) -> str:
    """A reflection list of all indices up to ±extent, its structure factors uneven."""
    indices = itertools.product(range(-extent, extent + 1), repeat=3)
    return "".join(f"{h} {k} {m} {50 + (7 * h + 11 * k + 13 * m) % 23}\n" for h, k, m in indices)


def _fresh(folder: Path, files: Files) -> Path:
    write_files(clean_folder(folder.parent, folder.name), files)
    return folder


def write_files(folder: Path, files: Files) -> None:
    """Text files by name into a folder."""
    for name, text in files.items():
        (folder / name).write_text(text)
