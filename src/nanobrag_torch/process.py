"""A command as a process of its own: quick to start and to end. It imports little: an interrupt may come at once."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable

INTERRUPTED = 130
OBJECTS = 100_000
"""New objects after which the collector looks for garbage: torch's modules are twice as many, and none of it is."""


def usable_cores() -> int:
    """Number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def whole_process(main: Callable[[], int | None], name: str = "nanoBragg") -> None:
    """Run a command of this name and end the process with its status.

    Looking through everything that torch's modules hold, again and again while they are imported and once more when
    the interpreter ends, would take a quarter of a short command's time; what of torch no command uses, as much again.
    """
    try:
        from .deferred import defer_unused
        from .streams import prepare_streams

        prepare_streams()
        defer_unused()
        gc.set_threshold(OBJECTS)
        status = main()
    except KeyboardInterrupt:  # before the command could see to it
        from .streams import prepare_streams, tell

        prepare_streams()
        tell(f"{name}: interrupted")
        status = INTERRUPTED
    gc.freeze()
    sys.exit(status)
