"""Reflection lists: ``h k l F`` per line (part A §3.1)."""

from __future__ import annotations

import os
import re
import warnings

import numpy as np

from ..errors import InputError, excerpt
from .once import read_once
from .reading import read_bytes
from .structure_factors import StructureFactorTable

COLUMNS = 4
LARGEST_INDEX = 2**31 - 1
LARGEST_BOX = 2**30  # cells, 8 GiB
EXPECTED = "expected four numbers (h k l F)"

WHITE = np.zeros(256, dtype=bool)
WHITE[list(b" \t\r\n\v\f")] = True
NUMERIC = WHITE.copy()
NUMERIC[list(b"+-.0123456789eE")] = True
LINE = re.compile(rb"[^\n]*")
WORD = re.compile(rb"\S+")
NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NOT_FINITE = re.compile(rb"[+-]?(nan|inf|infinity)", re.IGNORECASE)


@read_once
def read_hkl(path: str | os.PathLike[str], default_F: float = 0.0) -> StructureFactorTable:
    """Structure factors of a reflection list.

    Reading ends at the first word that is not a number, like the canonical program's, and a warning says so. Of
    repeated reflections the last one counts. Indices may be written as reals (``1.0``) if they are whole.

    Args:
        path: text file, four numbers per reflection, parted by white space.
        default_F: F of indices inside the box that the file does not list.

    Raises:
        InputError: the file cannot be read, is binary, lists nothing, or has rows of other than four columns,
            fractional or huge indices, or values that are not finite; names file and line.
    """
    reader = _Reader(path)
    rows, notes = reader.rows()
    indices = reader.indices(rows)
    low, high = indices.min(axis=0), indices.max(axis=0)
    box = high - low + 1
    if float(np.prod(box.astype(np.float64))) > LARGEST_BOX:
        raise InputError(
            f"{reader.path}: expected indices that span at most {LARGEST_BOX} cells, "
            f"got h {low[0]} to {high[0]}, k {low[1]} to {high[1]}, l {low[2]} to {high[2]}"
        )
    values = np.full(box, float(default_F))
    cells = tuple((indices - low).T)
    values[cells] = rows[:, 3]
    listed = np.zeros(box, dtype=bool)
    listed[cells] = True
    repeated = len(rows) - int(np.count_nonzero(listed))
    if repeated:
        notes.append(f"{reader.path}: {repeated} reflections are listed more than once; the last of each counts")
    h_min, k_min, l_min = low.tolist()
    return StructureFactorTable(values, h_min, k_min, l_min, reader.path, len(rows), tuple(notes))


class _Reader:
    """A reflection list in memory, with the places of its words for messages."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.data = read_bytes(path)
        if b"\0" in self.data:
            raise InputError(f"{self.path}: {EXPECTED} per line, got binary data")
        if not self.data.strip():
            raise InputError(f"{self.path}: {EXPECTED} per line, got an empty file")
        self.bytes = np.frombuffer(self.data, dtype=np.uint8)
        self.starts = _word_starts(self.bytes)

    def rows(self) -> tuple[np.ndarray, list[str]]:
        """Rows (n, 4) of numbers up to the first word that is not one, and notes about what was left out."""
        numbers, notes = self._numbers(), []
        read = numbers.size
        if read < self.starts.size:
            self._refuse_first_line_or_non_finite(read)
            left = len(self.data[self._start(read) :].splitlines())
            notes.append(
                f"{self.path}:{self._line(read)}: reading ended at {self._line_text(read)}; "
                f"lines not read from there on: {left}"
            )
        self._check_columns(read)
        whole = read - read % COLUMNS
        if whole == 0:
            raise InputError(f"{self.path}:{self._line(0)}: {EXPECTED}, got {self._line_text(0)}")
        if whole < read:
            place = f"{self.path}:{self._line(whole)}"
            notes.append(f"{place}: incomplete reflection ignored: {self._line_text(whole)}")
        return numbers[:whole].reshape(-1, COLUMNS), notes

    def indices(self, rows: np.ndarray) -> np.ndarray:
        """Indices (n, 3) int64 of ``rows`` (n, 4)."""
        hkl = rows[:, :3]
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1) | (hkl != np.rint(hkl)).any(axis=1))
        if bad.size == 0:
            bad = np.flatnonzero((np.abs(hkl) > LARGEST_INDEX).any(axis=1))
        if bad.size:
            word = COLUMNS * int(bad[0])
            raise InputError(
                f"{self.path}:{self._line(word)}: expected three whole numbers and a finite one (h k l F), "
                f"got {self._line_text(word)}"
            )
        return hkl.astype(np.int64)

    def _numbers(self) -> np.ndarray:
        """Numbers before the first word that is not one."""
        strange = np.flatnonzero(~NUMERIC[self.bytes])
        count = self.starts.size
        if strange.size:
            count = int(np.searchsorted(self.starts, strange[0], side="right")) - 1
        numbers = _parse(self.data[: self._start(count)])
        if numbers.size != count:
            count = next(i for i in range(count) if not NUMBER.fullmatch(self._word(i)))
            numbers = _parse(self.data[: self._start(count)])
        return numbers

    def _refuse_first_line_or_non_finite(self, word: int) -> None:
        """Refuse a list whose reading would end at ``word`` in its first line, or at a NaN or infinity."""
        line = self._line(word)
        if line == self._line(0) or NOT_FINITE.fullmatch(self._word(word)):
            raise InputError(f"{self.path}:{line}: {EXPECTED}, got {self._line_text(word)}")

    def _check_columns(self, words: int) -> None:
        """Refuse lines whose columns would slide.

        A line holds whole reflections, or a part of one that is spread over several lines, but not the end of one
        and the beginning of another.
        """
        ends = np.flatnonzero(self.bytes == ord("\n"))
        first = np.concatenate([[0], np.searchsorted(self.starts[:words], ends)])
        columns = np.diff(first, append=words)
        phase = first % COLUMNS
        bad = (phase + columns > COLUMNS) & ((phase != 0) | (columns % COLUMNS != 0))
        if words < self.starts.size:
            bad[self._line(words) - 1] = False  # the line at which reading ended
        if not bad.any():
            return
        line = int(np.argmax(bad))
        if phase[line]:  # an earlier line is the short one
            line = int(np.flatnonzero(columns[:line])[-1])
        text = self._line_text(int(first[line]))
        raise InputError(f"{self.path}:{line + 1}: expected four columns (h k l F), got {columns[line]}: {text}")

    def _start(self, word: int) -> int:
        return int(self.starts[word]) if word < self.starts.size else len(self.data)

    def _word(self, word: int) -> bytes:
        return _at(WORD, self.data, self._start(word))

    def _line(self, word: int) -> int:
        """Line number, from 1, of a word."""
        return self.data.count(b"\n", 0, self._start(word)) + 1

    def _line_text(self, word: int) -> str:
        """The line of a word, as messages show it."""
        begin = self.data.rfind(b"\n", 0, self._start(word)) + 1
        return excerpt(_at(LINE, self.data, begin))


def _word_starts(text: np.ndarray) -> np.ndarray:
    """Positions at which the words of ``text``, an array of bytes, begin."""
    white = WHITE[text]
    begins = ~white
    begins[1:] &= white[:-1]
    return np.flatnonzero(begins)


def _at(pattern: re.Pattern[bytes], text: bytes, start: int) -> bytes:
    found = pattern.match(text, start)
    return found.group() if found else b""


def _parse(text: bytes) -> np.ndarray:
    """Numbers of ``text``; fewer than its words, or none, if one of them is not a number."""
    if not text.strip():
        return np.empty(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # older NumPy stops at such a word, newer ones raise
        try:
            return np.fromstring(text, sep=" ")
        except ValueError:
            return np.empty(0)
