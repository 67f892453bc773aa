"""Trees and commits of a real git repository, made from dictionaries without a checkout."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from nanobrag_loop.gitio import TreePair

WHO = {
    "GIT_AUTHOR_NAME": "Tester", "GIT_AUTHOR_EMAIL": "t@localhost", "GIT_COMMITTER_NAME": "Tester",
    "GIT_COMMITTER_EMAIL": "t@localhost", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip
SEED = (Path(__file__).parent / "data" / "seed_fix_plan.md").read_bytes().decode("utf-8")


@dataclass(frozen=True)
class As:
    """A file with a mode of its own: 100755, 120000 (text is the target), 160000 (text is a commit)."""

    mode: str
    text: str


Done = subprocess.CompletedProcess


def sh(where: Path, *argv: str, data: bytes | None = None, check: bool = True, **env: str) -> Done:
    full = {**os.environ, **WHO, **env}
    done = subprocess.run(argv, cwd=where, env=full, input=data, capture_output=True, check=False)
    if check:
        assert done.returncode == 0, f"{argv}: {done.stdout.decode()}{done.stderr.decode()}"
    return done


@dataclass
class Trees:
    """A bare-bones repository. base: the files that every pair starts from."""

    root: Path
    base: dict[str, str | bytes | As]
    known: dict[bytes, str] = field(default_factory=dict)

    def git(self, *argv: str, data: bytes | None = None, **env: str) -> str:
        return sh(self.root, "git", *argv, data=data, **env).stdout.decode("utf-8", "surrogateescape").strip()

    def blob(self, content: str | bytes) -> str:
        data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
        if data not in self.known:
            self.known[data] = self.git("hash-object", "-w", "--stdin", data=data)
        return self.known[data]

    def tree(self, files: dict[str, str | bytes | As]) -> str:
        lines = []
        for path, content in files.items():
            mode, text = (content.mode, content.text) if isinstance(content, As) else ("100644", content)
            lines.append(f"{mode} {text if mode == '160000' else self.blob(text)}\t{path}")
        index = str(self.root / "index-of-a-test")
        Path(index).unlink(missing_ok=True)
        listed = "\0".join([*lines, ""]).encode("utf-8", "surrogateescape")
        self.git("update-index", "-z", "--index-info", data=listed, GIT_INDEX_FILE=index)
        return self.git("write-tree", GIT_INDEX_FILE=index)

    def pair(self, changed: dict[str, str | bytes | As | None], base: dict[str, str] | None = None) -> TreePair:
        """From the base (with `base` on top) to the same with some files changed; None removes one."""
        before = {**self.base, **(base or {})}
        after = {path: content for path, content in {**before, **changed}.items() if content is not None}
        return TreePair(self.root, self.tree(before), self.tree(after))

    def commit(self, tree: str, *parents: str, message: str = "change") -> str:
        words = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *words, "-m", message)


def make_trees(folder: Path, base: dict[str, str | bytes | As]) -> Trees:
    folder.mkdir(parents=True, exist_ok=True)
    sh(folder, "git", "init", "-q", "-b", "main", ".")
    return Trees(folder, base)
