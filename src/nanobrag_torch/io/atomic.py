"""Output files appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import BinaryIO

import numpy as np

from ..errors import InputError, excerpt
from .reading import reason

Buffer = bytes | bytearray | memoryview | np.ndarray
"""What can be written as it lies in memory; arrays must be contiguous."""

_STAGED: ContextVar[list[tuple[str, str]] | None] = ContextVar("staged", default=None)
"""(temporary, target) pairs that wait for the others of their batch."""

STREAMS = ("/dev/std", "/dev/fd/", "/proc/")


def atomic_write(path: str | os.PathLike[str], data: Buffer | Iterable[Buffer]) -> None:
    """Write ``data``, one piece or several, so that ``path`` holds all of it or what it held before.

    The pieces go to a temporary name in the same directory, which is renamed when complete and removed on any failure,
    interrupts included. A symbolic link stays one: its target is replaced. Devices, pipes and the
    standard streams (``/dev/stdout``) are written to directly.

    Raises:
        InputError: the system refuses (no such directory, no permission, disk full).
    """
    name = os.fspath(path)
    pieces = (data,) if isinstance(data, Buffer) else data
    try:
        if is_stream(name):
            with open(name, "wb") as stream:
                _write_all(stream, pieces)
        else:
            _write_and_rename(os.path.realpath(name), pieces)
    except OSError as error:
        raise InputError(f"{name}: cannot be written: {reason(error)}") from None


@contextmanager
def all_or_none() -> Iterator[None]:
    """Files written inside take their places together at the end; if anything fails, none does.

    Raises:
        InputError: one of them cannot take its place.
    """
    staged: list[tuple[str, str]] = []
    token = _STAGED.set(staged)
    try:
        yield
        _take_places(staged)
    except BaseException:
        _remove(temporary for temporary, _ in staged)
        raise
    finally:
        _STAGED.reset(token)


def check_writable(outputs: Mapping[str, str], inputs: Mapping[str, str] | None = None) -> None:
    """Check before a long run that its output files can be written.

    Args:
        outputs: path by option (or whatever the message is to name), e.g. ``{"-floatfile": "float.bin"}``.
        inputs: the same for files that are read and must not be overwritten.

    Raises:
        InputError: an output's directory is missing or not writable, it is itself a directory or protected, it is one
            of the inputs, two outputs are one file, or the system takes no such name.
    """
    taken = {_identity(path): option for option, path in (inputs or {}).items()}
    read = set(taken)
    for option, path in outputs.items():
        if is_stream(path):
            continue
        _check_target(option, path)
        identity = _identity(path)
        if identity in taken:
            role = "input" if identity in read else "output"
            raise InputError(f"{option} {path}: expected a file of its own, got the {role} of {taken[identity]}")
        taken[identity] = option


def _take_places(staged: Iterable[tuple[str, str]]) -> None:
    """Rename (temporary, target) pairs; where one cannot be renamed, those before are put back."""
    earlier: dict[str, str | None] = {}
    begun: list[str] = []
    try:
        for _, target in staged:
            earlier[target] = _kept(target)
        for temporary, target in staged:
            begun.append(target)
            os.replace(temporary, target)
    except BaseException as error:
        for done in begun:
            with suppress(OSError):
                os.replace(earlier[done], done) if earlier[done] else os.unlink(done)
        if isinstance(error, OSError):
            raise InputError(f"{target}: cannot be written: {reason(error)}") from None
        raise
    finally:
        _remove(filter(None, earlier.values()))


def _kept(target: str) -> str | None:
    """A second name for a file that is about to be replaced, or a copy; None where there is no file."""
    name = _temporary_name(target)
    try:
        os.link(target, name)
    except FileNotFoundError:
        return None
    except OSError:  # a file system without second names
        shutil.copy2(target, name)
    return name


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(OSError):
            os.unlink(path)


def _temporary_name(target: str) -> str:
    return os.path.join(os.path.dirname(target), f".nanobragg-{secrets.token_hex(8)}.tmp")


def _write_and_rename(target: str, pieces: Iterable[Buffer]) -> None:
    temporary = _temporary_name(target)
    if os.path.isdir(target):
        raise IsADirectoryError(None, "is a directory")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise PermissionError(None, "permission denied")
    try:
        with open(temporary, "xb") as stream:
            _write_all(stream, pieces)
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        staged = _STAGED.get()
        if staged is None:
            os.replace(temporary, target)
        else:
            staged.append((temporary, target))
    except BaseException:
        _remove([temporary])
        raise


def _write_all(stream: BinaryIO, pieces: Iterable[Buffer]) -> None:
    for piece in pieces:
        stream.write(piece.data if isinstance(piece, np.ndarray) else piece)


def _check_target(option: str, path: str) -> None:
    if not path:
        raise InputError(f"{option}: expected a file name, got an empty one")
    if fault := _fault_of_name(path):
        raise InputError(f"{option} {excerpt(path)}: cannot be written: {fault}")
    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    if os.path.isdir(target) or os.path.basename(path) in ("", os.curdir):
        raise InputError(f"{option} {path}: expected a file name, got a directory")
    if not os.path.isdir(directory):
        raise InputError(f"{option} {path}: cannot be written: no such directory")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: cannot be written: the directory is not writable")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise InputError(f"{option} {path}: cannot be written: the file is write-protected")


def _fault_of_name(path: str) -> str | None:
    """Why the system takes no file of this name, as one that is too long; None where it does."""
    try:
        os.lstat(os.path.realpath(path))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError) as error:
        return reason(error)
    return None


def is_stream(path: str) -> bool:
    """Whether to write to ``path`` itself: devices, pipes, and the standard streams even when they are files."""
    if os.path.abspath(path).startswith(STREAMS):
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _identity(path: str) -> tuple[int, int] | str:
    """What two names of one file have in common."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
