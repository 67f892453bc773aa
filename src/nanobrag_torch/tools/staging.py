"""A folder of its own for every run: copies of the input files that a command line names, nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..cli.options import BY_NAME
from ..io.floatfile import read_float_image
from ..io.smv import read_smv

INPUT_SETTINGS = frozenset({"hkl", "mat", "sourcefile", "img", "mask", "dump", "stol"})


def stage(words: Sequence[str], folder: Path) -> list[str]:
    """Make the folder, copy into it the files that follow input options, and return the words that name the copies.

    A file that does not exist stays as it is named, for the program to complain about.
    """
    folder.mkdir(parents=True)
    staged = list(words)
    for number, (word, value) in enumerate(zip(words, words[1:], strict=False), start=1):
        option = BY_NAME.get(word)
        if option is not None and INPUT_SETTINGS.intersection(option.sets) and Path(value).is_file():
            staged[number] = f"{number}-{Path(value).name}"
            shutil.copyfile(value, folder / staged[number])
    return staged


def float_image(folder: Path) -> np.ndarray:
    """The image float.bin of a run that wrote int.img as well, (slow, fast) float32; the header gives the shape."""
    return read_float_image(folder / "float.bin", read_smv(folder / "int.img").data.shape)
