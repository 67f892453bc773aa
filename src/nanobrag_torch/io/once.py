"""Input files that many runs of one process share are read once."""

from __future__ import annotations

import functools
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

MOST_KEPT = 32
"""Results kept at a time, the latest ones."""

_KEPT: ContextVar[OrderedDict[bytes, Any] | None] = ContextVar("kept", default=None)
P, T = ParamSpec("P"), TypeVar("T")


@contextmanager
def reading_once() -> Iterator[None]:
    """Inside, a reader called again with the same arguments returns what it returned before."""
    token = _KEPT.set(OrderedDict())
    try:
        yield
    finally:
        _KEPT.reset(token)


def read_once(reader: Callable[P, T]) -> Callable[P, T]:
    """A reader of a file whose results, never to be changed by the caller, are kept inside `reading_once`."""
    @functools.wraps(reader)
    def reading(*args: P.args, **named: P.kwargs) -> T:
        kept = _KEPT.get()
        if kept is None:
            return reader(*args, **named)
        key = pickle.dumps((reader.__module__, reader.__qualname__, args, named))
        if key not in kept:
            kept[key] = reader(*args, **named)
            if len(kept) > MOST_KEPT:
                kept.popitem(last=False)
        kept.move_to_end(key)
        return kept[key]

    return reading
