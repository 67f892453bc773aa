"""A folder to run the command in, and small input files."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nanobrag_torch.cli.main import main

RUN = "-cell 70 80 90 -default_F 100 -N 3 -distance 60 -detpixels 8 -pixel 0.05 -oversample 1 -seed 1"
"""A complete command of 8 x 8 pixels that neither warns nor notes anything but what is added to it."""


@dataclass(frozen=True)
class Result:
    """What a command returned and printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def notes(self) -> list[str]:
        """Names of the faults that the command said change its run."""
        return [line.split(": ")[1] for line in self.stderr.splitlines() if line.startswith("note: ")]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder, made the working one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(folder, capsys):
    """Run the command in the folder: words in one string to a `Result`."""

    def run(words: str) -> Result:
        capsys.readouterr()
        status = main(shlex.split(words))
        return Result(status, *capsys.readouterr())

    return run


def smv(data: np.ndarray, order: str = "little_endian", header_bytes: int = 512, **keys: object) -> bytes:
    """An SMV file: counts (slow, fast), and header keys beyond the sizes; a key of None is left out."""
    slow, fast = data.shape
    entries = {"BYTE_ORDER": order, "TYPE": "unsigned_short", "SIZE1": fast, "SIZE2": slow} | keys
    lines = ["{", f"HEADER_BYTES={header_bytes};"]
    lines += [f"{key}={value};" for key, value in entries.items() if value is not None]
    text = "\n".join([*lines, "}\f"]).encode().ljust(header_bytes)
    return text + data.astype("<u2" if order == "little_endian" else ">u2").tobytes()
