"""Facts inside the ledger's prose: numbers, paths, places in the code, command words."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

TOP_FOLDERS = (
    "src", "tests", "docs", "scripts", "reports", "plans", "prompts", "specs", "examples", "golden_suite_generator",
)  # fmt: skip
EXTENSIONS = (
    ".md", ".py", ".sh", ".json", ".yaml", ".yml", ".toml", ".txt", ".log", ".csv", ".png", ".svg", ".bin", ".img",
    ".c", ".xml", ".html", ".npz", ".patch",
)  # fmt: skip
NO_PATH = re.compile(r"[<>*{}$\s=:,;()]|\.\.\.|…|//|^/|^$")

# U+202F and U+00A0 stand between a number and its unit.
NUMBER = re.compile(
    r"(?P<op>>=|<=|==|≥|≤|>|<|=|≈|~)?[ \u202f\u00a0]?(?<![\w.-])(?P<value>[-+−]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
    r"(?:/(?P<of>\d+(?:\.\d+)?)(?![\w/.-]))?(?P<unit>[ \u202f\u00a0]?(?:%|×|px|ms|µs|mm|s\b|°|Å|MiB|KiB))?(?![\w-])"
)
OPERATORS = {"≥": ">=", "≤": "<=", "≈": "~", "=": "=="}


@dataclass(frozen=True)
class Number:
    """A number as written. op: the comparison in front of it, or nothing; of: what it is a part of (43/50)."""

    value: float
    op: str = ""
    unit: str = ""
    of: float | None = None

    @property
    def readings(self) -> tuple[float, ...]:
        """What the number may mean in a gate: as it stands, as a fraction, and per cent as a fraction."""
        found = [self.value]
        if self.of:
            found.append(self.value / self.of)
        if self.unit == "%":
            found.append(self.value / 100)
        return tuple(found)


def numbers(text: str) -> list[Number]:
    """Every free-standing number: not a part of a word, a date, an id or a version."""
    found = []
    for match in NUMBER.finditer(text):
        op = OPERATORS.get(match["op"] or "", match["op"] or "")
        value = float(match["value"].replace("−", "-"))
        of = float(match["of"]) if match["of"] else None
        found.append(Number(value, op, (match["unit"] or "").strip(" \u202f\u00a0"), of))
    return found


def bounds(text: str) -> list[Number]:
    """The numbers that a text states as thresholds."""
    return [number for number in numbers(text) if number.op in (">=", "<=", "<", ">")]


# What such a word counts is no measurement.
LABELLED = re.compile(r"\b(?:attempt|case|criterion|item|level|part|phase|section|step|table|version)s? \d+", re.I)
CODE_WORDS = re.compile(r"`[^`]*[A-Za-z][^`]*`")


def quoted(text: str) -> list[Number]:
    """The numbers that a criterion may mean as its threshold: its bounds, and if it states none, every number."""
    return bounds(text) or numbers(LABELLED.sub(" ", CODE_WORDS.sub(" ", text)))


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def looks_like_path(token: str) -> bool:
    if NO_PATH.search(token):
        return False
    first, slash, _ = token.partition("/")
    return first in TOP_FOLDERS if slash else token.endswith(EXTENSIONS)


def artifact_paths(text: str) -> list[str]:
    """The repository paths that a value cites, code spans and bare words, in order, once each."""
    tokens = [*code_spans(text), *re.sub(r"`[^`]*`", " ", text).split()]
    stripped = (token.strip("()[]\"'").rstrip(".,;:") for token in tokens)
    paths = (token.split("::", 1)[0].split("#", 1)[0] for token in stripped)
    return list(dict.fromkeys(path for path in paths if looks_like_path(path)))


CODE_REF = re.compile(r"`?((?:[\w.-]+/)*[\w-]+\.(?:py|c|h)):(\d+)(?:-(\d+))?`?(?: / `?:(\d+)(?:-(\d+))?`?)?")


@dataclass(frozen=True)
class CodeRef:
    """A place in the code: a file, and lines from 1."""

    path: str
    first: int
    last: int


def code_refs(text: str) -> list[CodeRef]:
    """Places like `file.py:10-20`; an abbreviated second one, `/ :30-40`, means the same file."""
    found = []
    for path, first, last, more, until in CODE_REF.findall(text):
        found.append(CodeRef(path, int(first), int(last or first)))
        if more:
            found.append(CodeRef(path, int(more), int(until or more)))
    return found


@dataclass(frozen=True)
class Command:
    """A reproduction command. na: there is none. env: assignments in front of the program."""

    na: bool = False
    env: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()


ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def command(text: str) -> Command | None:
    """The one command that a value holds, or its n/a; None if it is neither."""
    if re.match(r"n/a(?: \(.*\))?$", text, re.IGNORECASE):
        return Command(na=True)
    span = re.fullmatch(r"`([^`]+)`", text)
    if span is None:
        return None
    try:
        words = shlex.split(span[1])
    except ValueError:
        return None
    if words[:1] == ["env"]:
        words.pop(0)
    count = next((n for n, word in enumerate(words) if not ASSIGNMENT.match(word)), len(words))
    return Command(env=tuple(words[:count]), argv=tuple(words[count:]))


def test_nodes(argv: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """The test files that a command names, each with the parts of its node id, parameters left out."""
    found = []
    for word in argv:
        path, *names = word.split("::")
        if path.endswith(".py") and looks_like_path(path):
            found.append((path, tuple(name.split("[", 1)[0] for name in names)))
    return found
