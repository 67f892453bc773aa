"""Every git command of the loop goes through here; nothing else imports gitpython.

Paths are NUL-separated and never renamed by git, texts are decoded so that they encode back to the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import git as gitpython

from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError, GitError

LONGEST_ERROR = 400
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
# What git tells its hooks about the repository would redirect every command meant for another worktree.
KEPT_VARIABLES = (
    "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_EXEC_PATH",
    "GIT_SSL_CAINFO", "GIT_ASKPASS", "GIT_TERMINAL_PROMPT", "GIT_TRACE",
)  # fmt: skip
# Whoever can write the user's own configuration could let git show other files than those that are committed, or
# overlook that files changed: attributes come from the repository alone, and every file is looked at.
PLAIN_GIT = (
    "-c", f"core.attributesFile={os.devnull}", "-c", "core.fsmonitor=false", "-c", "core.ignoreStat=false",
    "-c", "core.trustctime=true", "-c", "core.checkStat=default",
)  # fmt: skip


def clean_environment() -> str | None:
    """Remove git's own variables from this process; the index file that they named, if any.

    Called once when a command or a hook starts: `git commit -a` and `git commit PATH` hand their hooks a temporary
    index, and only a hook wants to look at it.
    """
    index = os.environ.get("GIT_INDEX_FILE")
    for name in [name for name in os.environ if name.startswith("GIT_") and name not in KEPT_VARIABLES]:
        del os.environ[name]
    return str(Path(index).absolute()) if index else None


def run(where: Path, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
    """Exit code, output and error text of one git command."""
    try:
        code, out, err = gitpython.Git(str(where)).execute(
            ["git", *PLAIN_GIT, *args],
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            env=dict(env or {}),
        )
    except (gitpython.GitCommandNotFound, NotADirectoryError, FileNotFoundError) as error:
        raise GitError(f"git cannot be run in {where}: {error}") from None
    return code, out, err if isinstance(err, str) else err.decode("utf-8", "replace")


def git(where: Path, *args: str, env: Mapping[str, str] | None = None) -> str:
    """The output of one git command; `GitError` with its words if it fails."""
    code, out, err = run(where, *args, env=env)
    if code:
        words = " ".join(err.split()) or f"exit code {code}"
        words = words if len(words) <= LONGEST_ERROR else f"{words[:100]} … {words[100 - LONGEST_ERROR :]}"
        raise GitError(f"git {' '.join(args[:3])}: {words}")
    return out.decode("utf-8", "surrogateescape")


def split(text: str) -> list[str]:
    """The entries of NUL-separated output."""
    return [entry for entry in text.split("\0") if entry]


def top_level(where: Path) -> Path:
    """The root of the checkout that `where` lies in; `ConfigError` if it lies in none."""
    code, out, err = run(where, "rev-parse", "--show-toplevel")
    if code:
        raise ConfigError(f"{where}: {err.strip()}", remedy="run it inside the repository")
    return Path(os.fsdecode(out).rstrip("\n"))


def common_dir(root: Path) -> Path:
    """The directory that all worktrees of the repository share."""
    return (root / git(root, "rev-parse", "--git-common-dir").rstrip("\n")).resolve()


def resolve(root: Path, rev: str, kind: str = "commit") -> str:
    """The object that `rev` names; `ConfigError` if there is none."""
    code, out, _ = run(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{{kind}}}")
    if code:
        raise ConfigError(f"{rev!r} names no {kind} of this repository")
    return out.decode("ascii").strip()


def read_blob(root: Path, rev: str, path: str) -> bytes | None:
    """The content of a file in a commit or tree, None if it has none there."""
    code, out, _ = run(root, "cat-file", "blob", f"{rev}:{path}")
    return out if code == 0 else None


def is_ancestor(root: Path, ancestor: str, of: str) -> bool:
    return run(root, "merge-base", "--is-ancestor", ancestor, of)[0] == 0


def identity(config: Config) -> dict[str, str]:
    """The environment that makes the loop the author of a commit."""
    who = config.identity
    return {
        "GIT_AUTHOR_NAME": who.name, "GIT_AUTHOR_EMAIL": who.email,
        "GIT_COMMITTER_NAME": who.name, "GIT_COMMITTER_EMAIL": who.email,
    }  # fmt: skip


def message(subject: str, trailers: Mapping[str, str]) -> str:
    """A commit message: one subject line, then trailers."""
    lines = [f"{key}: {' '.join(str(value).split())}" for key, value in trailers.items()]
    return "\n".join([" ".join(subject.split()), "", *lines]) + "\n"


def commit(folder: Path, subject: str, trailers: Mapping[str, str], config: Config) -> None:
    """Commit what is staged in the worktree `folder`; the repository's hooks run."""
    git(folder, "commit", "--quiet", "-m", message(subject, trailers), env=identity(config))


def commit_tree(root: Path, tree: str, parent: str, subject: str, trailers: Mapping[str, str], config: Config) -> str:
    """A commit of `tree` on `parent` that no ref names yet."""
    text = message(subject, trailers)
    return git(root, "commit-tree", tree, "-p", parent, "-m", text, env=identity(config)).strip()


def fast_forward(root: Path, branch: str, head: str) -> None:
    """Move `branch` to `head`, and the checkout with it if it stands there; `GitError` if that is no fast-forward or
    would overwrite changes."""
    ref = f"refs/heads/{branch}"
    if run(root, "symbolic-ref", "--quiet", "HEAD")[1].decode("utf-8", "replace").strip() != ref:
        if not is_ancestor(root, ref, head):
            raise GitError(f"{branch} was not moved: {head[:12]} does not follow it")
        git(root, "update-ref", ref, head, git(root, "rev-parse", ref).strip())
        return
    try:
        git(root, "merge", "--ff-only", "--quiet", head)
    except GitError as error:
        remedy = "commit or move aside the changed files, then try again"
        raise GitError(f"{branch} was not moved: {error}", remedy=remedy) from None


class Entry(NamedTuple):
    """A file in a tree. mode: as git writes it, 100644 100755 120000 (link) 160000 (submodule)."""

    mode: str
    sha: str


@dataclass(frozen=True)
class Change:
    """A path that differs. old is None if it was added, new if it was deleted; a rename is both."""

    path: str
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True)
class TreePair:
    """Two trees of a repository, and what changed from the first to the second. Everything is read from git's
    objects, nothing from the checkout."""

    root: Path
    base: str
    result: str
    memory: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def before(self) -> dict[str, Entry]:
        return listing(self.root, self.base)

    @cached_property
    def after(self) -> dict[str, Entry]:
        return listing(self.root, self.result)

    @cached_property
    def changes(self) -> list[Change]:
        paths = sorted(self.before.keys() | self.after.keys())
        pairs = ((path, self.before.get(path), self.after.get(path)) for path in paths)
        return [Change(*pair) for pair in pairs if pair[1] != pair[2]]

    @cached_property
    def _reader(self) -> gitpython.Git:
        """One `git cat-file` process that answers for all objects."""
        return gitpython.Git(str(self.root))

    def read(self, entry: Entry | None) -> bytes:
        """The content of a file; nothing for a submodule or no entry."""
        if entry is None or entry.mode == "160000":
            return b""
        if entry.sha not in self.memory:
            self.memory[entry.sha] = self._reader.get_object_data(entry.sha)[3]
        return self.memory[entry.sha]

    def old_text(self, path: str) -> str | None:
        return self._text(self.before.get(path))

    def new_text(self, path: str) -> str | None:
        return self._text(self.after.get(path))

    def _text(self, entry: Entry | None) -> str | None:
        return None if entry is None else self.read(entry).decode("utf-8", "surrogateescape")


def listing(root: Path, tree: str) -> dict[str, Entry]:
    """Every file of a tree by its path."""
    found = {}
    for line in split(git(root, "ls-tree", "-r", "-z", "--full-tree", tree)):
        about, _, path = line.partition("\t")
        mode, _, sha = about.split(" ")
        found[path] = Entry(mode, sha)
    return found


def head_tree(root: Path) -> str:
    """The tree of HEAD; the empty tree before the first commit."""
    code, out, _ = run(root, "rev-parse", "--verify", "--quiet", "HEAD^{tree}")
    return out.decode().strip() if code == 0 else EMPTY_TREE


def index_tree(root: Path, index: str | None = None) -> str:
    """What is staged, as a tree. index: another index file than the checkout's own."""
    return git(root, "write-tree", env={"GIT_INDEX_FILE": index} if index else None).strip()


def trailers(root: Path, commits: Sequence[str], key: str) -> Iterator[str]:
    """The values of one trailer in the messages of `commits`."""
    for name in commits:
        shown = git(root, "show", "--no-patch", f"--format=%(trailers:key={key},valueonly)", name)
        yield from (line.strip() for line in shown.splitlines() if line.strip())
