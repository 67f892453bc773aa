"""Source files: one point source per line (part A §3.6)."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, excerpt
from .once import read_once
from .reading import read_rows, to_number

SOURCE_DISTANCE_M = 10.0
COLUMNS = 5


@dataclass(frozen=True)
class SourceList:
    """Point sources.

    Attributes:
        positions: (n, 3) float64, from the crystal to the source, not normalised.
        weights: (n,) float64.
        wavelengths_m: (n,) float64, metres; NaN where the file gives none and no other was named.
    """

    positions: np.ndarray
    weights: np.ndarray
    wavelengths_m: np.ndarray


@read_once
def read_sources(path: str | os.PathLike[str], beam_vector: np.ndarray, wavelength_m: float = math.nan) -> SourceList:
    """Sources of a file with the columns X Y Z weight wavelength; any of the last ones, and ``nan``, may be missing.

    Args:
        path: text file; any line ends, a missing last one, blank lines and ``#`` comments are fine.
        beam_vector: (3,) unit vector along the beam; a missing X, Y or Z is that component at 10 m upstream.
        wavelength_m: for sources without one, metres. NaN leaves them NaN, to be filled in by the caller (so that
            a wavelength with a gradient can be).

    Raises:
        InputError: the file cannot be read or holds no source; a word is not a number, a position is 0 0 0, a weight
            negative or a wavelength not positive; names file and line.
    """
    name = os.fspath(path)
    upstream = -SOURCE_DISTANCE_M * np.asarray(beam_vector, dtype=np.float64)
    defaults = [*upstream.tolist(), 1.0, wavelength_m]
    rows = [_source(words, defaults, f"{name}:{line}") for line, words in read_rows(path)]
    if not rows:
        raise InputError(f"{name}: expected at least one source (X Y Z weight wavelength), got none")
    table = np.array(rows)
    return SourceList(table[:, :3], table[:, 3], table[:, 4])


def fill_wavelengths(wavelengths_m: np.ndarray, wavelength_m: float) -> np.ndarray:
    """``wavelengths_m`` (n,) with ``wavelength_m`` in place of NaN, metres."""
    return np.where(np.isnan(wavelengths_m), wavelength_m, wavelengths_m)


def _source(words: list[str], defaults: list[float], place: str) -> list[float]:
    """The five columns of one source, with defaults for those missing."""
    given = [_number(word, place) for word in words[:COLUMNS]]
    given += [math.nan] * (COLUMNS - len(given))
    row = [default if math.isnan(value) else value for value, default in zip(given, defaults, strict=True)]
    if not any(row[:3]):
        raise InputError(f"{place}: expected the position of a source, got 0 0 0")
    if row[3] < 0.0:
        raise InputError(f"{place}: expected a weight of at least 0, got {row[3]:g}")
    if row[4] <= 0.0:
        raise InputError(f"{place}: expected a wavelength above 0 in metres, got {row[4]:g}")
    return row


def _number(word: str, place: str) -> float:
    value = to_number(word)
    if value is None:
        raise InputError(f"{place}: expected numbers (X Y Z weight wavelength), got {excerpt(word)}")
    return value
