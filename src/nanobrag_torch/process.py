"""A command as a process of its own: quick to start and to end."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from .deferred import defer_unused

OBJECTS = 100_000
"""New objects after which the collector looks for garbage: torch's modules are twice as many, and none of it is."""


def usable_cores() -> int:
    """Number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def whole_process(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and end the process with its status.

    Looking through everything that torch's modules hold, again and again while they are imported and once more when
    the interpreter ends, would take a quarter of a short command's time; what of torch no command uses, as much again.
    """
    defer_unused()
    gc.set_threshold(OBJECTS)
    status = main()
    gc.freeze()
    sys.exit(status)
