"""What acceptance tests share: tables of the specification, and runs of the command within the process."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanobrag_torch.cli.main import main
from nanobrag_torch.cli.parse import parse
from nanobrag_torch.cli.prepare import prepare
from nanobrag_torch.cli.resolve import resolve
from nanobrag_torch.simulator import Simulator
from nanobrag_torch.trace import trace_pixel

SPECS = Path(__file__).parents[1] / "specs"
HEADING = re.compile(r"^#{2,3} (\d+(?:\.\d+[a-z]?)?)\.? ")

ABBREVIATIONS = {
    "$D": "-lambda 1.5 -distance 100 -detpixels 64 -pixel 0.5 -nonoise -nopgm -noprogress",
    "$CUB": "-cell 100 100 100 90 90 90 -default_F 100 -N 5",
    "$TRI": "-cell 70 80 90 75 85 95 -misset 15 20.5 30.25 -default_F 100 -N 5",
    "$ROT": "-detector_rotx 5 -detector_roty 3 -detector_rotz 2 -twotheta 12",
}
"""Of the worked examples, spec-a-core § 10."""

TRACE_MATRIX = "0.012 0.003 -0.004\n-0.002 0.015 0.001\n0.005 -0.001 0.011\n"
TRACE_SOURCES = "-10 0 0 1.0 1.5e-10\n-10 0.01 -0.02 0.5 1.49e-10\n-9 -0.03 0.01 2.0 1.51e-10\n"
PUBLISHED = ("-cell 100 100 100 90 90 90 -default_F 100 -lambda 1 -N 5 -distance 100 -detpixels 4 -oversample 1 "
             "-seed 42")
"""Run of the check values, spec-a-cli § 4.9."""

Row = list[str]


def section(document: str, number: str) -> list[str]:
    """Lines of a numbered section of a specification, those of its subsections left out."""
    lines = (SPECS / document).read_text().splitlines()
    starts = [place for place, line in enumerate(lines) if HEADING.match(line)]
    begin = next(place for place in starts if HEADING.match(lines[place])[1] == number)
    end = min((place for place in starts if place > begin), default=len(lines))
    return lines[begin:end]


def tables(document: str, number: str) -> list[list[Row]]:
    """Tables of a section: rows of cells without the headings, typographic minus signs made plain."""
    found: list[list[Row]] = [[]]
    for line in section(document, number):
        if line.startswith("|"):
            found[-1].append([cell.strip().replace("−", "-") for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [table[2:] for table in found if table]


def numbers(text: str) -> list[float]:
    """All numbers of a cell."""
    return [float(word) for word in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]


def words(text: str) -> list[str]:
    """A command line of the specification as words, its abbreviations written out."""
    text = text.replace("`", "")
    for short, long in ABBREVIATIONS.items():
        text = text.replace(short, long)
    return shlex.split(text)


def simulator(command: str) -> Simulator:
    """The simulator that a command line (abbreviations allowed) would run."""
    return prepare(resolve(parse(words(command)))).simulator


def image(command: str) -> np.ndarray:
    """The image of a command line, (slow, fast) float64 photons per pixel."""
    return simulator(command).run().detach().numpy()


def traced(command: str, slow: int, fast: int) -> dict[str, Any]:
    """Every intermediate of a pixel."""
    return trace_pixel(simulator(command), slow, fast)


def run(command: str) -> None:
    """Run the command in the working folder, files and all; it must succeed."""
    assert main(words(command)) == 0


@pytest.fixture(name="folder")
def working_folder(tmp_path, monkeypatch) -> Path:
    """An empty working folder with the input files of the worked examples."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trace.mat").write_text(TRACE_MATRIX)
    (tmp_path / "sources.txt").write_text(TRACE_SOURCES)
    return tmp_path


def reflections(folder: Path, name: str, largest: int, factor) -> str:
    """Write the list of all indices up to `largest` with F = factor(h, k, l); returns its name."""
    span = range(-largest, largest + 1)
    lines = [f"{h} {k} {l} {factor(h, k, l)!r}" for h in span for k in span for l in span]  # noqa: E741
    (folder / name).write_text("\n".join(lines) + "\n")
    return name
