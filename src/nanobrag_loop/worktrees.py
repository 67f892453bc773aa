"""Worktrees and trees of one cycle: what an agent left becomes one tree object, and nothing else counts.

The tree is built in an index of our own from an explicit list: tracked files that changed and untracked files that
git does not ignore. What the agent staged, committed or forced into its own index is looked at, never used.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanobrag_loop.errors import GitError
from nanobrag_loop.gitio import git, listing, run, split
from nanobrag_loop.manifest import HASH_CAP, sha256_file

IDENTITY = {
    "GIT_AUTHOR_NAME": "nb-loop",
    "GIT_AUTHOR_EMAIL": "nb-loop@localhost",
    "GIT_COMMITTER_NAME": "nb-loop",
    "GIT_COMMITTER_EMAIL": "nb-loop@localhost",
}

HIDDEN = "hidden "
# What git keeps beside its objects for speed, and writes again when it likes.
REWRITTEN = ("packs", "commit-graph", "refs")


def add(root: Path, folder: Path, commit: str) -> None:
    """A detached worktree at `commit`; one left behind by a killed run is replaced."""
    remove(root, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(root, "worktree", "add", "--quiet", "--detach", str(folder), commit)


def remove(root: Path, folder: Path) -> None:
    clear(folder)
    git(root, "worktree", "prune")


def clear(path: Path) -> None:
    """Take away whatever lies at `path`: a folder, also one that cannot be read, a file, or a link but not its goal.

    Left to `rm`: folders may lie deeper in each other than Python recurses, with names longer than a path may be.
    """
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        if not os.path.lexists(path):
            return
        subprocess.run([*command, "--", path], capture_output=True, check=False)


def set_aside(folder: Path) -> None:
    """Let a new, empty folder take the place of one that cannot be used."""
    aside = folder.with_name(f"{folder.name}.unusable")
    clear(aside)
    if os.path.lexists(folder):
        folder.rename(aside)
    folder.mkdir(parents=True)


def bring_back(folder: Path) -> None:
    """Undo `set_aside`, as far as it came."""
    aside = folder.with_name(f"{folder.name}.unusable")
    if os.path.lexists(aside):
        clear(folder)
        aside.rename(folder)


def result_tree(folder: Path, base: str, index: Path, cap: int) -> tuple[str, dict[str, int]]:
    """The tree of what lies in the worktree `folder`, starting from `base`, in the private index file `index`.

    Also the files that are not in it because tracked or new ones would grow by more than `cap` bytes, with the bytes
    that they add: git would have to read them to know them.
    """
    index.unlink(missing_ok=True)
    env = {"GIT_INDEX_FILE": str(index)}
    git(folder, "read-tree", base, env=env)
    grown = bulk(growth(folder, base), cap)
    for few in batches(list(grown)):
        git(folder, "update-index", "--assume-unchanged", "--", *few, env=env)
    git(folder, "add", "--update", "--", ".", env=env)
    new = split(git(folder, "ls-files", "--others", "--exclude-standard", "-z", env=env))
    added = bulk({name: size_of(folder / name) for name in new}, cap)
    # A repository inside the worktree would enter as a submodule; it is listed with a trailing slash.
    for few in batches([f":(literal){name}" for name in new if name not in added]):
        git(folder, "add", "--", *few, env=env)
    return git(folder, "write-tree", env=env).strip(), {**grown, **added}


def batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """A few names at a time, as many as a command line takes."""
    return (names[start : start + 200] for start in range(0, len(names), 200))


def growth(folder: Path, base: str) -> dict[str, int]:
    """By how many bytes each file of `base` has grown in the worktree `folder`."""
    rows = (row.partition("\t") for row in split(git(folder, "ls-tree", "-r", "-l", "-z", "--full-tree", base)))
    before = {name: about.split()[3] for about, _, name in rows}
    return {name: size_of(folder / name) - int(size) for name, size in before.items() if size != "-"}


def bulk(sizes: Mapping[str, int], cap: int) -> dict[str, int]:
    """The largest files, those with which the sum of all exceeds `cap`."""
    total, found = 0, {}
    for name, size in sorted(sizes.items(), key=lambda entry: entry[1]):
        total += max(0, size)
        if total > cap and size > 0:
            found[name] = size
    return found


def size_of(path: Path) -> int:
    """The bytes of a regular file; 0 for anything else."""
    try:
        about = path.lstat()
    except OSError:
        return 0
    return about.st_size if stat.S_ISREG(about.st_mode) else 0


def forced(folder: Path, base: str, tree: str) -> list[str]:
    """Paths that the agent staged or committed although git ignores them."""
    staged = set(split(git(folder, "ls-files", "--cached", "-z")))
    committed = set(split(git(folder, "ls-tree", "-r", "--name-only", "-z", "HEAD")))
    known = set(split(git(folder, "ls-tree", "-r", "--name-only", "-z", base)))
    known |= set(split(git(folder, "ls-tree", "-r", "--name-only", "-z", tree)))
    return sorted(name for name in (staged | committed) - known if (folder / name).exists())


def changed_paths(root: Path, base: str, tree: str) -> list[str]:
    return split(git(root, "diff-tree", "-r", "--no-renames", "--name-only", "-z", base, tree))


def patch(root: Path, base: str, tree: str) -> str:
    """The change as a patch that `git apply` takes, binary files included."""
    return git(root, "diff-tree", "-r", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", base, tree)


def take_paths(folder: Path, tree: str, paths: Sequence[str]) -> None:
    """Bring `paths` of a worktree, files and index, to what they are in `tree` (absent there: removed)."""
    for start in range(0, len(paths), 200):
        names = [f":(literal){name}" for name in paths[start : start + 200]]
        git(folder, "restore", f"--source={tree}", "--staged", "--worktree", "--", *names)


def check_out_tree(root: Path, folder: Path, base: str, tree: str) -> None:
    """A worktree that holds exactly `tree`, detached at `base`."""
    add(root, folder, base)
    take_paths(folder, tree, changed_paths(root, base, tree))


def altered(root: Path, folder: Path, tree: str) -> list[str]:
    """Files of a checkout whose bytes are not those in `tree`: a filter or a hook made something else of them."""
    files = {name: entry.sha for name, entry in listing(root, tree).items() if entry.mode.startswith("100")}
    return [name for name, sha in files.items() if blob_sha(folder / name) != sha]


def blob_sha(path: Path) -> str:
    """The name that git gives to the bytes of a file; none if it is no regular file."""
    if path.is_symlink() or not path.is_file():
        return ""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def rebased_tree(root: Path, folder: Path, base: str, tree: str, tip: str) -> str | None:
    """The change from `base` to `tree` on top of `tip`, as a tree; None if it conflicts."""
    add(root, folder, tip)
    change = git(root, "commit-tree", tree, "-p", base, "-m", "change", env=IDENTITY).strip()
    try:
        git(folder, "cherry-pick", "--no-commit", change, env=IDENTITY)
    except GitError:
        return None
    return git(folder, "write-tree").strip()


def not_ignored(folder: Path, paths: Sequence[str]) -> list[str]:
    """Those of the new `paths` that git does not ignore."""
    if not paths:
        return []
    offered = [f":(literal){name}" for name in paths]
    listed = set(split(git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", *offered)))
    return [name for name in paths if name in listed]


@dataclass(frozen=True)
class Sentinel:
    """What an agent must leave alone outside its worktree. refs: name -> sha; files: content of git's own files;
    status: changed and hidden files of the main checkout with their hashes; memory: the runner's measurements and
    journals; worktrees: those that git knows; user: hashes of the user's own configuration of git; damage: what git
    finds wrong with its objects."""

    refs: Mapping[str, str]
    files: Mapping[str, str]
    status: Mapping[str, str]
    head: str
    memory: Mapping[str, str]
    worktrees: Sequence[str]
    user: Mapping[str, str]
    damage: Sequence[str]

    def as_dict(self) -> dict:
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in vars(self).items()}


def sentinel(root: Path, common: Path, run_id: str) -> Sentinel:
    """What can be seen now, for the run `run_id`."""
    refs = dict(
        line.split(" ", 1)[::-1] for line in git(root, "for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    )
    head = (root_git_dir(root, common) / "HEAD").read_text()
    known = sorted(path.name for path in (common / "worktrees").glob("*"))
    user = {str(path): digest(path) for path in user_files()}
    return Sentinel(refs, own_files(common), dirty(root), head, memory(root, run_id), known, user, damage(root))


def user_files() -> list[Path]:
    """Where git's configuration of the user lies."""
    home = Path.home()
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git"
    named = os.environ.get("GIT_CONFIG_GLOBAL")
    return [Path(named)] if named else [home / ".gitconfig", *(folder / name for name in ("config", "attributes"))]


def damage(root: Path) -> list[str]:
    """What git finds wrong with its objects: git itself believes a stored object without comparing it with its name."""
    _, out, err = run(root, "fsck", "--full", "--no-dangling", "--no-progress", "--no-reflogs")
    lines = [*out.decode("utf-8", "replace").splitlines(), *err.splitlines()]
    return sorted(line for line in lines if not line.startswith("notice:"))


def memory(root: Path, run_id: str) -> dict[str, str]:
    """Hashes of what later decisions may rest on: measurements, and the journals of other runs than `run_id`."""
    state = root / ".nbloop"
    journals = [path for path in state.glob("runs/*/run.json") if path.parent.name != run_id]
    kept = [*state.glob("*.json"), *state.glob("cache/*"), *journals]
    return {str(path.relative_to(state)): digest(path) for path in kept}


def root_git_dir(root: Path, common: Path) -> Path:
    return common if (root / ".git").is_dir() else Path(git(root, "rev-parse", "--absolute-git-dir").strip())


def own_files(common: Path) -> dict[str, str]:
    """Hashes of git's configuration, hooks and attributes, read without git."""
    single = [common / name for name in ("config", "config.worktree", "shallow")]
    paths = [*single, *(path for name in ("hooks", "info", "objects/info") for path in (common / name).glob("*"))]
    found = {}
    for path in sorted(paths):
        if path.is_file() and not path.name.endswith(".sample") and path.name not in REWRITTEN:
            mode = "x" if os.access(path, os.X_OK) else "-"
            found[str(path.relative_to(common))] = mode + content(path)
    return found


def dirty(root: Path) -> dict[str, str]:
    """Changed, untracked and hidden files of the main checkout, with what they hold."""
    rows = split(git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all"))
    found = {row[3:]: f"{row[:2]} {digest(root / row[3:])}" for row in rows}
    return found | {name: f"{HIDDEN}{digest(root / name)}" for name in hidden(root)}


def hidden(root: Path) -> list[str]:
    """Files whose changes git was told to overlook: assumed unchanged, or left out of the checkout."""
    rows = split(git(root, "ls-files", "-v", "-z"))
    return [row[2:] for row in rows if row[0].islower() or row[0] == "S"]


def show_hidden(root: Path, names: Sequence[str]) -> None:
    """Let git look at these files again, as far as the index can be written."""
    for start in range(0, len(names), 200):
        few = names[start : start + 200]
        run(root, "update-index", "--no-assume-unchanged", "--no-skip-worktree", "--", *few)


def digest(path: Path) -> str:
    if path.is_symlink():
        return f"link {os.readlink(path)}"
    return content(path) if path.is_file() else "absent"


def content(path: Path) -> str:
    """The hash of a file; for one too large to be read, what shows that it was changed."""
    about = path.stat()
    if about.st_size > HASH_CAP:
        return f"{about.st_size} bytes, inode {about.st_ino}, changed {about.st_ctime_ns}"
    return sha256_file(path)


def keep_git_files(common: Path) -> dict[str, str]:
    """The content of git's configuration and hooks, to put back what an agent changed. It is kept in the journal,
    in the runner's memory, where an agent cannot reach it."""
    return {name: base64.b64encode((common / name).read_bytes()).decode() for name in own_files(common)}


def put_back_git_files(common: Path, kept: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """Restore changed files, remove added ones; the names that had to be mended."""
    now = own_files(common)
    mended = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
    for name in mended:
        (common / name).unlink(missing_ok=True)
        if name in before:
            (common / name).parent.mkdir(parents=True, exist_ok=True)
            (common / name).write_bytes(base64.b64decode(kept[name]))
            (common / name).chmod(0o755 if before[name].startswith("x") else 0o644)
    return mended


def drop_inner(root: Path, common: Path, name: str) -> bool:
    """Take out a worktree that lies in the runner's own folder; one elsewhere may be a person's and stays."""
    entry = common / "worktrees" / name
    try:
        folder = Path((entry / "gitdir").read_text().strip()).parent.resolve()
    except OSError:
        return False
    if folder.parent != (root / ".nbloop" / "wt").resolve():
        return False
    clear(folder)
    clear(entry)
    return True


def put_back_head(root: Path, common: Path, head: str) -> bool:
    """Let HEAD name a branch again that there is; it is left alone where it names another one, as a person may."""
    if run(root, "rev-parse", "--verify", "--quiet", "HEAD")[0] == 0:
        return False
    (root_git_dir(root, common) / "HEAD").write_text(head)
    return True


def put_back_refs(root: Path, before: Mapping[str, str], names: Sequence[str]) -> None:
    """Set refs back to what they were; a ref that was new is deleted."""
    now = dict(
        line.split(" ", 1)[::-1] for line in git(root, "for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    )
    for name in names:
        if name in before:
            git(root, "update-ref", name, before[name], now.get(name, ""))
        elif name in now:
            git(root, "update-ref", "-d", name, now[name])
