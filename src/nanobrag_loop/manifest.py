"""Which files of an attempt become evidence in the repository, and the hashes of all of them.

Small files of known types go to git; everything else stays in the run's folder. Either way the record keeps the
size and the sha256, so that evidence that is missing but accounted for differs from evidence that is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

KEPT_SUFFIXES = frozenset({".json", ".txt", ".csv", ".md", ".log", ".png", ".svg", ".yaml", ".patch"})
TEXT_SUFFIXES = KEPT_SUFFIXES - {".png"}
FILE_CAP = 256 * 1024
ATTEMPT_CAP = 1024 * 1024
COUNT_CAP = 200
# Of all that an attempt leaves so many bytes are read; agents can write files that take hours to hash.
HASH_CAP = 256 * 1024 * 1024
NOT_HASHED = "too much to be hashed"
NAME_CAP = 200


@dataclass(frozen=True)
class Artifact:
    """One file of an attempt. path: where it is (repository path if kept in git, else relative to the run folder);
    sha256: empty if the file was too large to be read; kept: "git" or "local"; why: the reason for staying local."""

    path: str
    bytes: int
    sha256: str
    kept: str
    why: str = ""

    def left_out(self, why: str) -> Artifact:
        return replace(self, kept="local", why=why)

    def as_dict(self) -> dict:
        return {key: value for key, value in asdict(self).items() if value != ""}


def sha256_file(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Regular files below `folder`, sorted; symbolic links are not followed and not returned, `folder` included.

    Folders may lie deeper in each other than Python recurses; what no path can name is not found.
    """
    found: list[Path] = []
    ahead = [] if folder.is_symlink() else [folder]
    while ahead:
        with contextlib.suppress(OSError), os.scandir(ahead.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    ahead.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    found.append(Path(entry.path))
    return sorted(found)


def collect(
    folder: Path,
    destination: PurePosixPath,
    suffixes: frozenset[str] = KEPT_SUFFIXES,
    reserved: str = "",
) -> tuple[list[Artifact], dict[Path, PurePosixPath]]:
    """Hash the regular files below `folder` and decide which go to git below `destination`, by type and size.

    Returns the artifacts and, for those kept in git, source file -> repository path. Smaller files come first, so
    one big file does not push the others out. reserved: a folder at the destination that these files may not enter.
    """
    sized = sorted((path.stat().st_size, path) for path in files_below(folder))
    artifacts, copies, kept_bytes, seen_bytes = [], {}, 0, 0
    for size, path in sized:
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        why = reason_to_drop(path, size, kept_bytes, len(copies), suffixes)
        if not str(relative).isprintable() or len(str(relative)) > NAME_CAP:
            why = "the name is too long or not plain text"
        if reserved and relative.parts[0].casefold() == reserved:
            why = f"{reserved}/ is for what the runner measures"
        if not why:
            copies[path] = destination / relative
            kept_bytes += size
        seen_bytes += size
        hashed = not why or seen_bytes <= HASH_CAP
        name, kept = (relative, "local") if why else (copies[path], "git")
        why = why if hashed else f"{why}; {NOT_HASHED}"
        artifacts.append(Artifact(str(name), size, sha256_file(path) if hashed else "", kept, why))
    return sorted(artifacts, key=lambda artifact: artifact.path), copies


def reason_to_drop(path: Path, size: int, kept_bytes: int, kept_count: int, suffixes: frozenset[str]) -> str:
    """Why a file stays out of git; empty if it goes in."""
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        return f"type {suffix or 'without extension'} is not kept"
    if any(part.startswith(".") for part in path.parts[-2:]):
        return "hidden file"
    if size > FILE_CAP:
        return f"larger than {FILE_CAP // 1024} KiB"
    if kept_bytes + size > ATTEMPT_CAP:
        return f"the attempt has more than {ATTEMPT_CAP // 1024} KiB"
    if kept_count >= COUNT_CAP:
        return f"the attempt has more than {COUNT_CAP} files"
    data = path.read_bytes() if suffix in TEXT_SUFFIXES else b""
    if b"\0" in data[:8192]:
        return "binary content under a text name"
    if b"<<<<<<<" in data and b">>>>>>>" in data:
        return "conflict markers, which no commit may hold"
    return ""


def archived(path: str) -> str:
    """Where a file or folder of committed evidence lies once it was moved to the archive."""
    return path.replace("reports/", "reports/archive/", 1)


def locate(path: str, root: Path) -> str:
    """Where committed evidence lies now: in its place, or in the archive."""
    return archived(path) if not (root / path).exists() and (root / archived(path)).exists() else path


def verify(artifacts: Iterable[Mapping], root: Path) -> list[str]:
    """Re-hash the artifacts of a record that are kept in git; one sentence for each that is missing or differs."""
    problems = []
    for artifact in artifacts:
        if artifact.get("kept") != "git":
            continue
        path = root / locate(str(artifact["path"]), root)
        if not path.is_file():
            problems.append(f"{artifact['path']}: missing")
        elif sha256_file(path) != artifact.get("sha256"):
            problems.append(f"{artifact['path']}: sha256 differs from the record")
    return problems
