"""Requests to end a command: by the keyboard, by the system, or because its terminal has gone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

REQUESTS = (signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Inside, a request to end is a KeyboardInterrupt, once; `status` is what the command then ends with.

    Requests that the caller has had ignored, as `nohup` does, stay so.
    """

    def __init__(self) -> None:
        self.status = 128 + signal.SIGINT

    def __enter__(self) -> Ending:
        self._before = {}
        for number in REQUESTS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                with suppress(ValueError):  # not the main thread, which alone is asked
                    self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, _frame: object) -> NoReturn:
        for other in self._before:
            signal.signal(other, signal.SIG_IGN)
        self.status = 128 + number
        raise KeyboardInterrupt


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, requests to end wait: what is begun there is done."""
    came: list[int] = []
    before = {}
    try:
        for number in (signal.SIGINT, *REQUESTS):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                with suppress(ValueError):  # not the main thread, which alone is asked
                    before[number] = signal.signal(number, lambda asked, _frame: came.append(asked))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
