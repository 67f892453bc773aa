"""The list of protected files is the human index document itself: what `docs/index.md` links to may not go away."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote

from nanobrag_loop.config import Config

LINK = re.compile(
    r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)<>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)"
    r"|^\s{0,3}\[[^\]]+\]:\s+<?(\S+?)>?\s*$"
)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|#")
FENCE = re.compile(r"\s{0,3}(```|~~~)")


@dataclass(frozen=True)
class Link:
    """target: from the repository's root, with a slash at the end if it was written so; line: from 1."""

    target: str
    line: int


def links(text: str, path: str) -> list[Link]:
    """The links of a markdown file at `path` that stay inside the repository, code blocks left out."""
    found, fenced = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        if fenced:
            continue
        for inline, reference in LINK.findall(re.sub(r"`[^`]*`(?!\])", "", line)):
            target = resolve(inline or reference, path)
            if target:
                found.append(Link(target, number))
    return found


def resolve(target: str, path: str) -> str:
    """A link's target from the root of the repository; empty if it leads elsewhere."""
    if SCHEME.match(target):
        return ""
    plain = unquote(target.split("#", 1)[0].split("?", 1)[0])
    slash = "/" if plain.endswith("/") else ""
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(path), plain))
    return "" if whole in (".", "..") or whole.startswith(("../", "/")) else whole + slash


@dataclass(frozen=True)
class Protected:
    """files, folders (with a slash at the end), patterns: each with the reason for its protection."""

    files: Mapping[str, str]
    folders: Mapping[str, str]
    patterns: Mapping[str, str]

    def why(self, path: str) -> str:
        """What protects a path; empty if nothing does."""
        if path in self.files:
            return self.files[path]
        pattern = next((pattern for pattern in self.patterns if fnmatchcase(path, pattern)), None)
        return self.patterns[pattern] if pattern else self.by_folder(path)

    def by_folder(self, path: str) -> str:
        """The listed folder that protects a path which is not listed itself."""
        folder = next((folder for folder in self.folders if path.startswith(folder)), None)
        return f"{self.folders[folder]} ({folder})" if folder else ""

    def alone(self, path: str) -> bool:
        """Whether a path is protected by its own name, not only as a part of a folder."""
        return path in self.files or any(fnmatchcase(path, pattern) for pattern in self.patterns)


def protected(index: str, paths: Collection[str], config: Config) -> Protected:
    """The protected set: links of the index, `protect.extra`, and the files of the harness.

    index: text of the index document; paths: all files of the tree that it belongs to.
    """
    home = config.protect.index
    wanted = [(link.target, f"{home}:{link.line}") for link in links(index, home)]
    wanted += [(path, "protect.extra in plans/loop.yaml") for path in config.protect.extra]
    wanted += [(path, "policy.harness in plans/loop.yaml") for path in config.harness if not path.endswith("/")]
    return _sorted_out(wanted, set(paths))


def _sorted_out(wanted: Iterable[tuple[str, str]], paths: set[str]) -> Protected:
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    patterns: dict[str, str] = {}
    above = {path[: n + 1] for path in paths for n, char in enumerate(path) if char == "/"}
    for target, reason in wanted:
        if target in paths:
            files.setdefault(target, reason)
        elif re.search(r"[*?\[]", target):
            patterns.setdefault(target, reason)
        elif target.endswith("/") or target + "/" in above:
            folders.setdefault(target.rstrip("/") + "/", reason)
        else:
            files.setdefault(target, reason)
    return Protected(files, folders, patterns)
