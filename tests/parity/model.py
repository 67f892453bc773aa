"""This program's simulator, image and trace from the words of a command line, without a file in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from nanobrag_torch.cli.parse import parse
from nanobrag_torch.cli.prepare import prepare
from nanobrag_torch.cli.resolve import resolve
from nanobrag_torch.simulator import Simulator
from nanobrag_torch.trace_setup import setup_values

from .programs import NO_FILES, Files, Words, split, write_files


def simulator(words: Words, files: Files = NO_FILES) -> Simulator:
    """The simulator that the command would run."""
    with _folder(files):
        return prepare(resolve(parse(split(words)))).simulator


def image(words: Words, files: Files = NO_FILES) -> np.ndarray:
    """The image before it is rounded, (slow, fast) float64, photons/pixel."""
    return simulator(words, files).run().numpy()


def setup(words: Words, files: Files = NO_FILES) -> dict[str, Any]:
    """The resolved experiment: names with units to numbers."""
    model = simulator(words, files)
    return setup_values(model, model.scene())


@contextmanager
def _folder(files: Files) -> Iterator[None]:
    with TemporaryDirectory() as name:
        write_files(Path(name), files)
        with chdir(name):
            yield
