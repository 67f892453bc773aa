"""Standard streams of a command: closed, full, without a reader, or of few characters, they cost no image."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from .errors import InputError

BROKEN_PIPE = 141
"""Exit status of a command whose only product nobody reads."""


def prepare_streams() -> None:
    """Streams that the caller closed take what is printed and keep nothing; what one cannot show is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            discard(name)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard(name: str) -> None:
    """Keep nothing more of what is printed on "stdout" or "stderr", nor have it flushed when the process ends."""
    setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open until the process ends


def tell(line: str) -> None:
    """A line on standard error; where that cannot be written, the command goes on without."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        discard("stderr")


def show(text: str) -> None:
    """Text on standard output.

    Raises:
        BrokenPipeError: its reader has gone away.
        InputError: it cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        discard("stdout")
        if isinstance(error, BrokenPipeError):
            raise
        raise InputError(f"standard output: cannot be written: {(error.strerror or str(error)).lower()}") from None


def account(lines: Iterable[str]) -> None:
    """Lines on standard output; a reader that has gone away costs the rest of them, not what they accompany."""
    for line in lines:
        with suppress(BrokenPipeError):
            show(f"{line}\n")
