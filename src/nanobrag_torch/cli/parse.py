"""Words of a command line to settings, by the option table; the last one wins (part A §1)."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..constants import ELECTRONVOLT_ANGSTROM, PERMITTED_WORDS
from ..errors import InputError, excerpt
from .options import BY_NAME, MISNAMED, Option

LARGEST_COUNT = 2**31 - 1
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NUMBER_LIKE = re.compile(r"[+-]?(\.?\d|inf|nan)", re.IGNORECASE)


@dataclass
class Settings:
    """Values by setting name, and the spelling that set each, for messages."""

    values: dict[str, Any] = field(default_factory=dict)
    spelling: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def set(self, name: str, value: Any, spelling: str) -> None:
        self.values[name], self.spelling[name] = value, spelling

    def unset(self, name: str) -> None:
        del self.values[name], self.spelling[name]


def parse(words: Sequence[str]) -> Settings:
    """Settings of a command line, without the program's name.

    Raises `InputError` for unknown options, stray words, missing or unusable values.
    """
    settings, position = Settings(), 0
    while position < len(words):
        word = words[position]
        option = find_option(word)
        values = _values(option, word, words[position + 1:])
        position += 1 + len(values)
        _apply(settings, option, word, values)
    return settings


def find_option(word: str) -> Option:
    """The option of this spelling; `InputError` with advice where there is none."""
    if word in BY_NAME:
        return BY_NAME[word]
    if not word.startswith("-"):
        raise InputError(f"{excerpt(word)}: expected an option beginning with '-', got a stray word")
    if word in MISNAMED:
        working = MISNAMED[word]
        advice = f"the working spelling is {working}" if working else "there is no such option"
        raise InputError(f"{word}: unknown option; {advice}")
    close = difflib.get_close_matches(word, BY_NAME, n=1, cutoff=0.5)
    advice = f"did you mean {close[0]}?" if close else "-h lists all options"
    raise InputError(f"{excerpt(word).strip(chr(39))}: unknown option; {advice}")


def _values(option: Option, word: str, following: Sequence[str]) -> list[str]:
    """The words that belong to an option: as many as it takes, up to the next option."""
    values: list[str] = []
    for candidate in following[:len(option.takes)]:
        if candidate in BY_NAME or (candidate.startswith("-") and not _NUMBER_LIKE.match(candidate)):
            break
        values.append(candidate)
        if candidate == "random":
            break
    needed = option.fewest
    if option.kind == "misset" and values != ["random"]:
        needed = len(option.takes)
    if len(values) < needed:
        for value in values:
            convert(option.kind, value, word)
        wanted = " ".join(option.takes)
        got = f"only {len(values)}" if values else "none"
        raise InputError(f"{word}: expected {_number_of(needed, 'value')} ({wanted}), got {got}")
    return values


def _number_of(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _apply(settings: Settings, option: Option, word: str, values: list[str]) -> None:
    converted = [convert(option.kind, value, word) for value in values]
    result = option.constant
    if option.takes:
        result = converted[0] if len(option.takes) == 1 else tuple(converted)
    for name in option.sets:
        settings.set(name, result, word)
    for name, value in option.also.items():
        settings.set(name, value, word)
    if "detector_abs" in option.sets and result == math.inf:
        settings.set("detector_thick", 0.0, word)
    if "energy" in option.sets:
        settings.set("wavelength", ELECTRONVOLT_ANGSTROM / result, word)


def convert(kind: str, text: str, option: str) -> Any:
    """A word as the kind of value that an option takes; `InputError` says what was expected."""
    if kind == "file":
        if not text:
            raise InputError(f"{option}: expected a file name, got an empty word")
        if "\0" in text:
            raise InputError(f"{option}: expected a file name, got {excerpt(text)}")
        return text
    if kind in _WORDS:
        pattern, wanted = _WORDS[kind]
        if not re.fullmatch(pattern, text):
            raise InputError(f"{option}: expected {wanted}, got {excerpt(text)}")
        return text
    if kind == "misset" and text == "random":
        return text
    if kind == "depth" and text.lower() in ("inf", "infinity", "+inf"):
        return math.inf
    value = _real(text)
    wanted, accepts = _RANGES[kind]
    if value is None or not accepts(value):
        raise InputError(f"{option}: expected {wanted}, got {excerpt(text)}")
    if kind == "depth" and value == 0:
        return math.inf
    return int(value) if kind in _WHOLE else value


def _real(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


_WHOLE = ("integer", "count", "positive count", "seed")
_RANGES: dict[str, tuple[str, Any]] = {
    "real": ("a finite number", lambda value: True),
    "misset": ("an angle in degrees, or the word random", lambda value: True),
    "positive": ("a finite number above 0", lambda value: value > 0),
    "not negative": ("a finite number, 0 or above", lambda value: value >= 0),
    "depth": ("a depth, 0 or above, or inf", lambda value: value >= 0),
    "integer": ("a whole number", lambda value: value == int(value) and abs(value) <= LARGEST_COUNT),
    "count": ("a whole number, 0 or above", lambda value: value == int(value) and 0 <= value <= LARGEST_COUNT),
    "positive count": ("a whole number, 1 or above", lambda value: value == int(value) and 1 <= value <= LARGEST_COUNT),
    "seed": ("a whole number from 1 to 2147483647", lambda value: value == int(value) and 1 <= value <= LARGEST_COUNT),
}
_WORDS: dict[str, tuple[str, str]] = {
    "pivot": ("beam|sample", "beam or sample"),
    **PERMITTED_WORDS,
}
