"""What a batch says on standard error besides its progress."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .. import streams
from .images import Image

NAME = "nanoBragg-batch"


def tell(message: str) -> None:
    """Print a line on standard error."""
    streams.tell(f"{NAME}: {message}")


class Messages:
    """Warnings and notes of images; those alike but for their numbers are printed for the first image only."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def show(self, image: Image, messages: Iterable[str]) -> None:
        """Print what `nanoBragg` would say of an image."""
        for message in messages:
            kind = re.sub(r"\d+", "0", message)
            if kind not in self._shown:
                self._shown.add(kind)
                tell(f"{image.name}: {message.removeprefix('nanoBragg: ')}")

    def failure(self, image: Image, reason: str) -> None:
        """Print why an image could not be made."""
        tell(f"error: {image.name}: {reason}")
