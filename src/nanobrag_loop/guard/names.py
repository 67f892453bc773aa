"""Files that are not what they look like: links, look-alike names, git's own files, modules in place of others.

Only what a role adds is looked at; a person may have reasons.
"""

from __future__ import annotations

import importlib.machinery
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache

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
    own = {path.split("/")[1].removesuffix(".py") for path in pair.before if path.startswith("src/")}
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
            name = module(change.path, pair)
            if name and replaces(name, own, change.path):
                message = f"would be imported in place of another module {name!r}"
                yield Finding("P9", change.path, message, "choose a name that no module has")


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


def module(path: str, pair: TreePair) -> str:
    """The top-level module that a new file makes, if its folder comes into Python's path; empty for a module of a
    package."""
    folder, _, file = path.rpartition("/")
    if not file.endswith(".py"):
        return ""
    name = file.removesuffix(".py")
    if name == "__init__":
        folder, _, name = folder.rpartition("/")
    return "" if f"{folder}/__init__.py" in pair.after else name


def replaces(name: str, own: set[str], path: str) -> bool:
    """Whether a module of this name is there already: the product's, Python's, or an installed one."""
    if name in IMPORTED_AT_START:
        return True
    if name in NEVER_A_MODULE or name.startswith("test_"):
        return False
    return name in sys.stdlib_module_names or (name in own and not path.startswith("src/")) or installed(name)


@cache
def installed(name: str) -> bool:
    """Found without importing it, in the folders of installed packages only."""
    places = [place for place in sys.path if place.endswith("-packages")]
    found = importlib.machinery.PathFinder.find_spec(name, places)
    return found is not None and found.loader is not None
