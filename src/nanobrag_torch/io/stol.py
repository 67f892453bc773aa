"""Amorphous scattering files: checked and otherwise without effect, as in the canonical program (part A §3.4)."""

from __future__ import annotations

import os

from ..errors import InputError
from .once import read_once
from .reading import read_rows


@read_once
def check_stol(path: str | os.PathLike[str]) -> None:
    """Check the file of ``-stol``, ``-4stol`` or ``-Q``.

    Raises:
        InputError: it cannot be read, is not text or holds no line of data.
    """
    if next(read_rows(path), None) is None:
        raise InputError(f"{os.fspath(path)}: expected two columns (abscissa and F), got an empty file")
