"""Which images of a batch are finished: one line each, added when all of its files are in place."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import suppress
from typing import Any

from .. import __version__
from ..errors import InputError
from ..io.atomic import is_stream
from ..io.once import read_once
from ..io.reading import reason
from .images import Image

ENDING = ".finished"
"""What the manifest's name adds to that of the batch, in the working folder."""


def digest(path: str) -> str:
    """SHA-256 of a file; of a stream, nothing."""
    if is_stream(path):
        return ""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None


_input_digest = read_once(digest)


def image_key(image: Image) -> str:
    """What an image is made from: program, options, and the contents of the files that it reads."""
    inputs = {path: _input_digest(path) for path in image.inputs.values()}
    return hashlib.sha256(json.dumps([__version__, image.words, inputs], sort_keys=True).encode()).hexdigest()


class Manifest:
    """Finished images by key, with the digests of their files; another process may not use it meanwhile."""

    def __init__(self, plan_path: str) -> None:
        self.path = os.path.basename(plan_path) + ENDING
        try:
            self._stream = open(self.path, "a+b")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {reason(error)}") from None
        self._lock()
        self._stream.seek(0)
        content = self._stream.read()
        self._finished = dict(filter(None, map(_entry, content.splitlines())))
        if content and not content.endswith(b"\n"):
            self._write(b"\n")  # a line cut short by the end of an earlier process stays alone

    def close(self) -> None:
        """Let go of the manifest; an empty one is removed."""
        with suppress(OSError):
            if os.fstat(self._stream.fileno()).st_size == 0:
                os.unlink(self.path)
        self._stream.close()

    def has(self, image: Image) -> bool:
        """Whether the image was finished and its files are still what they were."""
        files = self._finished.get(image_key(image))
        outputs = set(image.resolved.experiment.files.outputs.values())
        if files is None or outputs != files.keys():
            return False
        return all(is_stream(path) or (os.path.isfile(path) and digest(path) == expected)
                   for path, expected in files.items())

    def add(self, image: Image, files: dict[str, str]) -> None:
        """Note that an image is finished; files by path, with their digests."""
        entry = {"case": image.case.number, "key": image_key(image), "files": files}
        self._write(json.dumps(entry).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            self._stream.write(line)
            self._stream.flush()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {reason(error)}") from None

    def _lock(self) -> None:
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stream.close()
            raise InputError(f"{self.path}: expected one process at a time, got another one that makes this batch"
                             ) from None
        except OSError:
            pass  # a file system without locks


def _entry(line: bytes) -> tuple[str, dict[str, str]] | None:
    """Key and files of a line; None for one that is not whole."""
    try:
        entry: Any = json.loads(line)
        return entry["key"], dict(entry["files"])
    except (ValueError, KeyError, TypeError):
        return None
