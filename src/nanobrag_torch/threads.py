"""Pieces of a run side by side: every worker thread takes a whole piece, and no operation in it forks again.

Operations on a piece that stays in a core's cache are too short to be shared out one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import starmap
from typing import Any

import torch
from torch.utils import _python_dispatch

Mapping = Callable[[Callable[..., Any], Iterable[tuple]], Iterable[Any]]
"""What `itertools.starmap` does."""

AHEAD = 2
"""Pieces a worker has before it, the one under way included."""
KEPT_BYTES = 2**24
"""Freed memory that the C library's allocator keeps for the next piece instead of giving it back."""


@contextmanager
def side_by_side(workers: int) -> Iterator[Mapping]:
    """A `starmap` whose calls run on worker threads and whose results come in order; no derivatives are recorded.

    Inside, operations of this thread and of the workers use one thread each; a single worker is this thread. A call's
    exception is raised where its result is asked for, and leaving waits for the calls under way.
    """
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        if workers == 1:
            yield starmap
            return
        with _pool(workers) as executor:
            yield lambda function, pieces: _in_order(executor, workers * AHEAD, function, pieces)
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Keep freed memory for the next piece: freeing one large block, never touched, raises the limits of glibc's
    allocator to its size; giving memory back and touching it anew can cost more than the arithmetic."""
    torch.empty(KEPT_BYTES, dtype=torch.uint8)


def observed() -> bool:
    """Whether something watches the operations of this thread, which it could not do on others."""
    return _python_dispatch._get_current_dispatch_mode() is not None


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(workers, thread_name_prefix="pixels")
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _in_order(executor: ThreadPoolExecutor, most: int, function: Callable[..., Any],
              pieces: Iterable[tuple]) -> Iterator[Any]:
    waiting: deque[Future[Any]] = deque()
    for piece in pieces:
        waiting.append(executor.submit(_without_derivatives, function, piece))
        if len(waiting) == most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _without_derivatives(function: Callable[..., Any], piece: tuple) -> Any:
    with torch.no_grad():  # a mode of the thread
        return function(*piece)
