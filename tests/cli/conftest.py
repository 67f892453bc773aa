"""A folder to run the command in."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from nanobrag_torch.cli.main import main


@dataclass(frozen=True)
class Result:
    """What a command returned and printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def notes(self) -> list[str]:
        """Names of the faults that the command said change its run."""
        return [line.split(": ")[1] for line in self.stderr.splitlines() if re.match(r"note: \w+: ", line)]


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
