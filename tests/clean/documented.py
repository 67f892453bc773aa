"""Runs the commands of docs/differences.md, as they stand there, and reads off the quantities it quotes."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanobrag_torch.cli.main import main
from nanobrag_torch.io import read_smv

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
_SECTION = re.compile(r"^### `(?P<name>\w+)`\n(?P<text>.*?)^```\n(?P<commands>.*?)^```\n\n"
                      r"`(?P<quantity>[^`]+)`: (?P<upstream>\S+) as the canonical program, "
                      r"(?P<clean>\S+) with `-clean`",
                      re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Difference:
    """One documented fault: shell lines (the last one is the run), what is read off, and both values as printed."""

    name: str
    commands: tuple[str, ...]
    quantity: str
    upstream: str
    clean: str


def documented_differences() -> list[Difference]:
    """Every section of the page that quotes numbers."""
    return [Difference(found["name"], tuple(found["commands"].splitlines()), found["quantity"], found["upstream"],
                       found["clean"]) for found in _SECTION.finditer(PAGE.read_text())]


def measure(entry: Difference, *, clean: bool, capsys) -> tuple[str, str]:
    """The quantity after running the commands in the current folder, as the page prints it, and the messages."""
    for line in entry.commands:
        if not line.startswith("nanoBragg "):
            subprocess.run(["bash", "-c", line], check=True)
            continue
        last = line == entry.commands[-1]
        assert main([*_words(line), "-quiet", *(["-clean"] if clean and last else [])]) == 0, line
    messages = capsys.readouterr().err
    return read_off(entry.quantity, messages), messages


def run_lines(lines: tuple[str, ...], binary: Path) -> None:
    """The same lines with another program in the place of this one."""
    for line in lines:
        command = [str(binary), *_words(line)] if line.startswith("nanoBragg ") else ["bash", "-c", line]
        subprocess.run(command, check=True, capture_output=True)


def read_off(quantity: str, messages: str = "") -> str:
    """A quantity of the page from the files in the current folder, or from what the last run said."""
    kind, _, rest = quantity.partition("[")
    if kind == "warning seed":
        return "seed" if "seed 7;" in messages else "clock"
    if kind.startswith("header "):
        return f"{read_smv('intimage.img').number(kind.split()[1], exact=True):g}"
    slow, fast = map(int, rest.rstrip("]").split(","))
    if kind == "float":
        side = int(np.sqrt(Path("floatimage.bin").stat().st_size / 4))
        return f"{np.fromfile('floatimage.bin', np.float32).reshape(side, side)[slow, fast]:.8g}"
    if kind == "noise":
        return str(read_smv("noiseimage.img").data[slow, fast])
    raw = Path("image.pgm").read_bytes()
    side = int(raw.split(b"\n")[1].split()[0])
    return str(raw[-side * side:][slow * side + fast])


def _words(line: str) -> list[str]:
    return shlex.split(line)[1:]
