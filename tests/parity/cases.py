"""The cases of parity_cases.yaml, one live comparison each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .programs import reflection_block

CASE_FILE = Path(__file__).parents[1] / "parity_cases.yaml"


@dataclass(frozen=True)
class Case:
    """A command line, the files that it reads, and the acceptance test that it belongs to."""

    name: str
    acceptance: str
    words: str
    files: dict[str, str]


def load_cases(path: Path = CASE_FILE) -> list[Case]:
    """All cases, in order.

    Raises:
        ValueError: two cases have one name.
    """
    document = yaml.safe_load(path.read_text())
    files = {name: _content(entry) for name, entry in document["files"].items()}
    cases = [case for group in document["groups"] for case in _group(group, files)]
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise ValueError(f"{path}: every case needs a name of its own")
    return cases


def _group(group: dict[str, Any], files: dict[str, str]) -> Iterator[Case]:
    for name, extra in group["runs"].items():
        words = " ".join(f"{group.get('base', '')} {extra or ''}".split())
        used = {word: files[word] for word in words.split() if word in files}
        yield Case(f"{group['acceptance']}-{name}", group["acceptance"], words, used)


def _content(entry: str | dict[str, int]) -> str:
    return entry if isinstance(entry, str) else reflection_block(entry["reflections"])
