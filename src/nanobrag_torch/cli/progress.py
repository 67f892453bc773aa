"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..streams import tell

Report = Callable[[int, int], None]


@contextmanager
def progress(wanted: bool | None) -> Iterator[Report | None]:
    """A function of (done, total) that shows progress on standard error; None asks only on a terminal."""
    terminal = sys.stderr.isatty()
    if wanted is False or (wanted is None and not terminal):
        yield None
    elif terminal:
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("pixels", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield _Lines()


class _Lines:
    """Prints every tenth of the way once."""

    def __init__(self) -> None:
        self.tenths = 0

    def __call__(self, done: int, total: int) -> None:
        reached = 10 * done // total
        if reached > self.tenths:
            self.tenths = reached
            tell(f"{10 * reached}% done")
