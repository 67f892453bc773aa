"""Thresholds outside test code: reference data, pytest's options, the gates, the specifications."""

from __future__ import annotations

import configparser
import hashlib
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence

from nanobrag_loop import gates
from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError
from nanobrag_loop.gitio import TreePair
from nanobrag_loop.guard.assets import below
from nanobrag_loop.guard.findings import Finding
from nanobrag_loop.ledger.extract import NUMBER, Number, bounds

OWN_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")
OPTION_FILES = (*OWN_FILES, "pyproject.toml", "setup.cfg", "tox.ini")
# Options that change neither which tests run nor what fails them.
HARMLESS = ("markers", "minversion")
SPECIFICATIONS = "specs/"


def check(pair: TreePair, config: Config) -> Iterator[Finding]:
    yield from golden(pair, config.tests.golden)
    if any(path.startswith(config.tests.roots) for path in pair.before):
        yield from options(pair, config.tests.roots)
    yield from gate_file(pair)
    yield from specifications(pair)


def golden(pair: TreePair, manifest: str) -> Iterator[Finding]:
    """T7: files whose hash the manifest of the first tree states."""
    text = pair.old_text(manifest)
    if text is None:
        return
    listed = {posixpath.normpath(posixpath.join(posixpath.dirname(manifest), path)): sha for sha, path in hashes(text)}
    for change in pair.changes:
        wanted = listed.get(change.path)
        if wanted is None:
            continue
        found = hashlib.sha256(pair.read(change.new)).hexdigest() if change.new else ""
        if found != wanted:
            what = f"has sha256 {found[:12]}, the manifest {wanted[:12]}" if found else "was removed"
            yield Finding("T7", change.path, what, "restore the reference file")
    lost = set(hashes(text)) - set(hashes(pair.new_text(manifest) or ""))
    for sha, path in sorted(lost):
        yield Finding("T7", manifest, f"the entry {sha[:12]} of {path} was changed or removed", "restore the manifest")


def hashes(text: str) -> list[tuple[str, str]]:
    """(sha256, path) of each line of a manifest as `sha256sum` writes it."""
    return re.findall(r"(?m)^([0-9a-f]{64})\s+\*?(\S.*?)\s*$", text)


def options(pair: TreePair, roots: Sequence[str]) -> Iterator[Finding]:
    """T8: options that decide which tests run and what fails them; pytest also reads those beside the tests."""
    places = {change.path for change in pair.changes if below(change.path, roots)} | set(OPTION_FILES)
    for name in sorted(path for path in places if path.rpartition("/")[2] in OPTION_FILES):
        old, new = pair.old_text(name), pair.new_text(name)
        if old == new:
            continue
        before, after = pytest_options(name, old), pytest_options(name, new)
        if old is None and "/" in name and (after or name.rpartition("/")[2] in OWN_FILES):
            yield Finding("T8", name, "takes the place of the options above it", "leave pytest's options as they are")
        for key in sorted((before.keys() | after.keys()) - set(HARMLESS)):
            if before.get(key) != after.get(key) and not stricter(key, before.get(key), after.get(key)):
                message = f"{key}: {before.get(key)!r} became {after.get(key)!r}"
                yield Finding("T8", name, message, "leave pytest's options as they are")


def stricter(key: str, old: object, new: object) -> bool:
    """Whether an option that changed lets less pass than before."""
    if key == "xfail_strict":
        return str(new).lower() == "true"
    if key != "addopts":
        return False
    before, after = words(old), words(new)
    return set(before) <= set(after) and all(word.startswith("--strict") for word in set(after) - set(before))


def words(value: object) -> list[str]:
    """An option of several words, written as a text or as a list."""
    return value.split() if isinstance(value, str) else [str(word) for word in value] if isinstance(value, list) else []


def pytest_options(name: str, text: str | None) -> Mapping[str, object]:
    if text is None:
        return {}
    try:
        if name.endswith("pytest.toml"):
            return tomllib.loads(text).get("pytest", {})
        if name.endswith(".toml"):
            newer = tomllib.loads(text).get("tool", {}).get("pytest", {})
            older = newer.pop("ini_options", {})
            return {**newer, **older}
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        section = "tool:pytest" if name.endswith("setup.cfg") else "pytest"
        return dict(parser[section]) if section in parser else {}
    except (tomllib.TOMLDecodeError, configparser.Error, AttributeError):
        return {"addopts": f"unreadable ({hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:8]})"}


def gate_file(pair: TreePair) -> Iterator[Finding]:
    """T9: a gate that is gone, or that passes with less."""
    name = gates.GATES_FILE
    old, new = pair.old_text(name), pair.new_text(name)
    if old is None or old == new:
        return
    try:
        before = gates.load(old, name)
    except ConfigError:
        return
    try:
        after = gates.load(new or "", name)
    except ConfigError as error:
        yield Finding("T9", name, f"is no longer readable: {error}", "restore it")
        return
    for gate in [*before.shared.values(), *(gate for own in before.items.values() for gate in own)]:
        place = (gate.kind, gate.criterion)
        others = [other for other in after.of(gate.item) if (other.kind, other.criterion) == place]
        problems = [lowered(gate, other) for other in others]
        if not others:
            yield Finding("T9", name, f"{gate.id} was removed", "restore the gate")
        elif all(problems):
            yield Finding("T9", name, f"{gate.id}: {problems[0]}", "restore the gate")


def lowered(old: gates.Gate, new: gates.Gate) -> str:
    """How a gate passes with less than before; empty if it does not."""
    if old.kind == "metric" and old.options["op"] == new.options["op"] and same(old, new, {"value", "noise", "name"}):
        value, other = old.options["value"], new.options["value"]
        op = old.options["op"]
        looser = {">=": lambda: other < value, "<=": lambda: other > value, "==": lambda: other != value,
                  "within": lambda: other[0] < value[0] or other[1] > value[1]}[op]()  # fmt: skip
        return f"{op} {value} became {other}" if looser else ""
    if old.kind == "pytest" and same(old, new, {"min_passed", "max_skipped", "name"}):
        for key, sign, start in (("min_passed", -1, 1), ("max_skipped", 1, 0)):
            value, other = old.options.get(key, start), new.options.get(key, start)
            if sign * other > sign * value:
                return f"{key} {value} became {other}"
        return ""
    return "" if same(old, new, {"name", "timeout_s"}) else "was rewritten"


def same(old: gates.Gate, new: gates.Gate, apart_from: set[str]) -> bool:
    keys = (old.options.keys() | new.options.keys()) - apart_from - {"__line__"}
    return all(old.options.get(key) == new.options.get(key) for key in keys)


def specifications(pair: TreePair) -> Iterator[Finding]:
    """T9: a line of a specification whose words stayed and whose bound became looser."""
    for change in pair.changes:
        if not change.path.startswith(SPECIFICATIONS) or not change.path.endswith(".md"):
            continue
        after: dict[str, list[str]] = {}
        for line in (pair.new_text(change.path) or "").splitlines():
            after.setdefault(NUMBER.sub("#", line), []).append(line)
        for line in (pair.old_text(change.path) or "").splitlines():
            others = after.get(NUMBER.sub("#", line), [])
            if bounds(line) and others and all(looser(bounds(line), bounds(other)) for other in others):
                message = f"`{line.strip()[:80]}` became `{others[0].strip()[:80]}`"
                yield Finding("T9", change.path, message, "restore the threshold")


def looser(old: list[Number], new: list[Number]) -> bool:
    for before, after in zip(old, new, strict=False):
        if before.op[0] != after.op[0]:
            return True
        if (after.value > before.value) if before.op in ("<", "<=") else (after.value < before.value):
            return True
    return len(new) < len(old)
