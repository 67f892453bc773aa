"""Random differential test: both programs on drawn command lines, pixel for pixel (part B §9.4)."""

from __future__ import annotations

import contextlib
import io
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..cli.main import main
from .draw import draw
from .runners import run_c

ULP_TOLERANCE = 2.5e-7
"""Two units in the last place of binary32."""
FAINT = 1e-6
"""Pixels below this part of the maximum are compared against the maximum instead."""
FAINT_TOLERANCE = 1e-12
_COUNTS = ("int.img", "noise.img", "grey.pgm")


@dataclass(frozen=True)
class Verdict:
    """One drawn case: its words, what differs (empty where nothing does), pixels and bit-equal pixels, and the
    largest relative difference of a pixel that is not faint."""

    words: tuple[str, ...]
    differences: tuple[str, ...]
    pixels: int = 0
    equal: int = 0
    worst: float = 0.0

    @property
    def agrees(self) -> bool:
        return not self.differences


def fuzz(cases: int, seed: int, folder: Path, binary: Path) -> Iterator[Verdict]:
    """Draw and compare; files of case i lie in `folder`/i."""
    generator = random.Random(seed)
    for number in range(cases):
        place = folder / str(number)
        place.mkdir(parents=True)
        yield compare_case(draw(generator, place), place, binary)


def compare_case(words: list[str], folder: Path, binary: Path) -> Verdict:
    """Run both programs with these words, each in a copy of `folder`, and compare everything they write."""
    c_folder, ours = _copies(folder)
    by_c = run_c(words, c_folder, binary)
    status, message = _in_process(words, ours)
    if (by_c.status != 0) != (status != 0):
        return Verdict(tuple(words), (f"exit status {by_c.status} (C: {by_c.stderr.strip()[-200:]}) against {status} "
                                      f"({message.strip()[-200:]})",))
    if status:
        return Verdict(tuple(words), ())
    reference, image = (np.fromfile(place / "float.bin", np.float32).astype(float) for place in (c_folder, ours))
    differences, worst = _image_differences(reference, image)
    differences += [difference for name in _COUNTS if (difference := _file_difference(name, c_folder, ours))]
    return Verdict(tuple(words), tuple(differences), reference.size, int((reference == image).sum()), worst)


def _image_differences(reference: np.ndarray, image: np.ndarray) -> tuple[list[str], float]:
    if reference.shape != image.shape:
        return [f"image of {image.size} pixels against {reference.size}"], np.inf
    top = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
    same = (image == reference) | (np.isnan(image) & np.isnan(reference))
    delta = np.abs(np.subtract(image, reference, where=~same, out=np.zeros_like(image)))
    clear = (np.abs(reference) > FAINT * top) & ~same
    relative = delta[clear] / np.abs(reference[clear])
    worst = float(relative.max(initial=0.0))
    differences = [f"relative difference {worst:.3g}"] if not worst <= ULP_TOLERANCE else []
    faint = float(delta[~clear].max(initial=0.0))
    if not faint <= max(FAINT_TOLERANCE * top, ULP_TOLERANCE * FAINT * top):
        differences.append(f"faint pixels differ by {faint / top:.3g} of the maximum")
    return differences, worst


def _file_difference(name: str, c_folder: Path, ours: Path) -> str | None:
    """Headers must be equal; counts may differ by one in a thousandth of the pixels, as bits do."""
    paths = [place / name for place in (c_folder, ours)]
    present = [path.exists() for path in paths]
    if not any(present):
        return None
    if not all(present):
        return f"{name} written by one program only"
    reference, counts = (path.read_bytes() for path in paths)
    if reference == counts:
        return None
    unequal = np.frombuffer(reference, np.uint8) != np.frombuffer(counts, np.uint8) if (
        len(reference) == len(counts)) else np.ones(1, bool)
    return None if unequal.mean() <= 1e-3 and not unequal[:100].any() else f"{name}: {unequal.mean():.2%} of its bytes"


def _copies(folder: Path) -> tuple[Path, Path]:
    copies = []
    inputs = [path for path in folder.iterdir() if path.is_file()]
    for name in ("c", "python"):
        place = folder / name
        place.mkdir()
        for path in inputs:
            (place / path.name).write_bytes(path.read_bytes())
        copies.append(place)
    return copies[0], copies[1]


def _in_process(words: list[str], folder: Path) -> tuple[int, str]:
    before = Path.cwd()
    messages = io.StringIO()
    try:
        os.chdir(folder)
        with contextlib.redirect_stderr(messages):
            status = main([*words, "-threads", "1", "-quiet"])
    finally:
        os.chdir(before)
    return status, messages.getvalue()
