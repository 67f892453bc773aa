"""Files that are not what they look like: links, look-alike names, git's own files, modules in place of others.

Only what a role adds is looked at; a person may have reasons.
"""

from __future__ import annotations

import importlib.machinery
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

from nanobrag_loop.gitio import Change, TreePair
from nanobrag_loop.guard.findings import Finding

KINDS = {"120000": "a symbolic link", "160000": "a submodule"}
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
IMPORTED_AT_START = ("sitecustomize", "usercustomize")
NEVER_A_MODULE = ("__init__", "__main__", "conftest")
INSTALLED_FOLDERS = (".dist-info", ".egg-info", ".egg")
PLAIN = "use a plain name in ASCII, and plain text"


def check(pair: TreePair) -> Iterator[Finding]:
    """P3 and P9 on everything that was added or changed."""
    spelt = Counter(path.casefold() for path in pair.after)
    present = Modules(pair)
    for change in pair.changes:
        if change.new is None:
            continue
        if change.new.mode in KINDS:
            yield Finding("P3", change.path, f"is {KINDS[change.new.mode]}", "add a file, or nothing")
        elif turned(change, pair):
            yield Finding("P3", change.path, "holds characters that turn the direction of text round", PLAIN)
        if change.old is None:
            reason = disguise(change.path, spelt)
            if reason:
                yield Finding("P3", change.path, reason, PLAIN)
            if any(part.casefold().endswith(INSTALLED_FOLDERS) for part in change.path.split("/")):
                message = "would be read as an installed package, whose plugins every test run loads"
                yield Finding("P9", change.path, message, "leave it out")
            other = present.replaced_by(change.path)
            if other:
                yield Finding("P9", change.path, f"would be imported in place of {other}", "choose a name that is free")


def turned(change: Change, pair: TreePair) -> bool:
    """Whether the change brings characters that let text be shown in another order than it is read."""
    old, new = (pair.read(entry).decode("utf-8", "replace") for entry in (change.old, change.new))
    return len(TURNING.findall(new)) > len(TURNING.findall(old))


def disguise(path: str, spelt: Counter[str]) -> str:
    """What is wrong with a new path as a name; empty if nothing is."""
    if not (path.isascii() and path.isprintable()):
        return f"{path!a} has characters that cannot be told from others"
    if any(part.startswith("-") for part in path.split("/")):
        return "begins like an option"
    if path.rpartition("/")[2].startswith(".git"):
        return "is read by git itself"
    return "differs from another path by case only" if spelt[path.casefold()] > 1 else ""


@dataclass(frozen=True)
class Modules:
    """What can be imported in the first tree. Compiled modules are not tracked at all (P3)."""

    pair: TreePair

    @cached_property
    def files(self) -> set[str]:
        """The modules of the first tree that stay, by their path without the ending."""
        return {stem(path) for path in self.pair.before.keys() & self.pair.after.keys() if path.endswith(".py")}

    @cached_property
    def folders(self) -> set[str]:
        """Folders that hold modules in the first tree, themselves or further down."""
        return {folder for path in self.pair.before if path.endswith(".py") for folder in above(path)}

    @cached_property
    def names(self) -> dict[str, str]:
        """The modules that are imported by their name alone, each with its file."""
        return {name: f"{file}.py" for file in sorted(self.files) if (name := self.name(file))}

    @cached_property
    def product(self) -> set[str]:
        """Names that the product has, or had before the change."""
        return {path.split("/")[1].removesuffix(".py") for path in self.pair.before if path.startswith("src/")}

    def replaced_by(self, path: str) -> str:
        """What a new file would be imported in place of; empty if it replaces nothing."""
        return (self.beside(path) or self.elsewhere(path)) if path.endswith(".py") else ""

    def beside(self, path: str) -> str:
        """Of a package and a module of the same name in the same folder Python imports the package. The module may
        become a package: it goes in the same change then."""
        for folder in above(path):
            if folder in self.files and f"{folder}/__init__" not in self.files:
                return f"{folder}.py"
        within = f"{stem(path)}/"
        return within if any(file.startswith(within) for file in self.files) else ""

    def elsewhere(self, path: str) -> str:
        """Whichever folder comes first in Python's path decides among modules of one name."""
        name = self.name(stem(path))
        if not name:
            return ""
        if name in IMPORTED_AT_START:
            return f"the module {name!r} that Python imports at its start"
        if name in NEVER_A_MODULE or name.startswith("test_"):
            return ""
        if name in sys.stdlib_module_names or installed(name):
            return f"the installed module {name!r}"
        if name in self.product and not path.startswith("src/"):
            return f"the product's {name!r}"
        return self.names.get(name, "")

    def name(self, file: str) -> str:
        """The module that a file makes, given without its ending, if its folder comes into Python's path; empty for a
        module of a package. What is added to a folder of modules does not make it a package."""
        folder, _, name = file.rpartition("/")
        if name == "__init__":
            folder, _, name = folder.rpartition("/")
        tree = self.pair.before if folder in self.folders else self.pair.after
        return "" if f"{folder}/__init__.py" in tree else name


def stem(path: str) -> str:
    return path.removesuffix(".py")


def above(path: str) -> list[str]:
    """Every folder above a path, without the slash at the end."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


@cache
def installed(name: str) -> bool:
    """Found without importing it, in the folders of installed packages only."""
    places = [place for place in sys.path if place.endswith("-packages")]
    found = importlib.machinery.PathFinder.find_spec(name, places)
    return found is not None and found.loader is not None
