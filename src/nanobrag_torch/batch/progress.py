"""Progress of a batch on standard error: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..streams import tell


@contextmanager
def image_progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A function to call after every image."""
    if quiet or total == 0:
        yield lambda: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("images,"), TimeRemainingColumn(), TextColumn("left"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("images", total=total)
            yield lambda: bar.advance(task)
    else:
        yield _Lines(total)


class _Lines:
    """Prints every tenth of the way once."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.begin = total, 0, time.monotonic()

    def __call__(self) -> None:
        self.done += 1
        if 10 * self.done // self.total > 10 * (self.done - 1) // self.total:
            left = (time.monotonic() - self.begin) / self.done * (self.total - self.done)
            tell(f"{self.done} of {self.total} images, {left:.0f} s left")
