"""The one error that bad input raises."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used: an option, a value, a file.

    The message is one line that names the option, or begins with ``path`` or ``path:line``, and says what was
    expected and what came. The command prints it after ``nanoBragg: error: `` and exits with status 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.replace("\r", "\\r").replace("\n", "\\n"))


def out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed; torch reports that as a RuntimeError."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error)


def excerpt(found: str | bytes, limit: int = 40) -> str:
    """What was found, quoted, in printable characters and cut to ``limit``: for the end of an error message."""
    text = found.decode("latin-1") if isinstance(found, bytes) else found
    text = text.strip()
    shown = ascii(text if len(text) <= limit else text[:limit])
    return shown if len(text) <= limit else shown + "..."
