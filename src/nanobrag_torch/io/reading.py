"""Reading input files whole, and rows of columns out of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?nan", re.ASCII | re.IGNORECASE)
SEPARATORS = re.compile(r"[\s,;:!]+")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Contents of an input file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{os.fspath(path)}: cannot be read: {reason(error)}") from None


def read_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number from 1 and the words of each line that holds any.

    Words are parted by blanks, tabs and ``, ; : !`` (part A §3.6). Text from ``#`` on is a comment; line ends may be
    those of any system.

    Raises:
        InputError: the file cannot be read or is not text.
    """
    data = read_bytes(path)
    if b"\0" in data:
        raise InputError(f"{os.fspath(path)}: expected text, got binary data")
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        words = [word for word in SEPARATORS.split(line.partition("#")[0]) if word]
        if words:
            yield number, words


def to_number(word: str) -> float | None:
    """The number that ``word`` spells, NaN included; None if it is another word or too large."""
    number = float(word) if NUMBER.fullmatch(word) else math.inf
    return None if math.isinf(number) else number


def reason(error: Exception) -> str:
    """Why the system refused, in its own words."""
    return (getattr(error, "strerror", None) or str(error)).lower()
