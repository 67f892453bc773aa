"""The images of a batch one after another: simulated here, written beside, noted as finished in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import torch

from ..cli.notes import image_warnings, option_notes, quirk_notes
from ..cli.outputs import smv_header
from ..cli.prepare import Prepared, keep_cache, prepare
from ..ending import undisturbed
from ..errors import InputError, out_of_memory
from .finish import Beside, Here, Pixels, write_image, writer_processes
from .images import Image, located
from .manifest import Manifest
from .messages import Messages

MOST_PREPARED = 1000
"""Simulators kept from the check for the run; those of further images are made anew."""


class Batch:
    """Images to make, checked to the last: nothing but the system can stop them.

    Raises:
        InputError: one of them cannot be made; names file, line and case.
    """

    def __init__(self, images: Sequence[Image], messages: Messages) -> None:
        self.images, self.messages = images, messages
        self.finished = self.failed = 0
        self._waiting: deque[tuple[Image, Future]] = deque()
        self._caches: set[tuple[str, int]] = set()
        self._prepared: dict[int, Prepared] = {}
        for image in images:
            with located(image.plan, image.case):
                prepared = prepare(image.resolved)
            messages.show(image, (*prepared.messages, *option_notes(image.resolved)))
            if len(self._prepared) < MOST_PREPARED:
                self._prepared[image.case.number] = prepared

    def run(self, manifest: Manifest, advance: Callable[[], None], *, keep_going: bool) -> None:
        """Make the images, counting those finished and those that failed.

        An interrupt is raised again when the images simulated before it have been written.
        """
        noisy = any(image.resolved.experiment.files.noisefile is not None for image in self.images)
        processes = writer_processes(len(self.images), noisy=noisy)
        with _writers(processes) as writers, torch.no_grad():
            try:
                for image in self.images:
                    self._waiting.append((image, self._start(image, writers)))
                    self._settle(manifest, advance, leaving=2 * processes)
                    if self.failed and not keep_going:
                        break
            except KeyboardInterrupt:
                self._settle(manifest, advance, interrupted=True)
                raise
            self._settle(manifest, advance)

    def _start(self, image: Image, writers: Executor) -> Future:
        """Simulate an image and have it written; what stops it is in the result."""
        try:
            return writers.submit(write_image, self._simulated(image))
        except (InputError, MemoryError, RuntimeError) as error:
            if not isinstance(error, InputError) and not out_of_memory(error):
                raise
            failure: Future = Future()
            failure.set_exception(error)
            return failure

    def _simulated(self, image: Image) -> Pixels:
        prepared = self._prepared.pop(image.case.number, None) or prepare(image.resolved)
        self._keep_cache(image, prepared)
        experiment, simulator = prepared.experiment, prepared.simulator
        if experiment.computing.threads is not None:
            torch.set_num_threads(experiment.computing.threads)  # the check of later images may have set another
        pixels = simulator.run().float().cpu().numpy()
        self.messages.show(image, (*quirk_notes(experiment, simulator), *image_warnings(pixels)))
        return Pixels(experiment, smv_header(experiment, simulator), pixels)

    def _keep_cache(self, image: Image, prepared: Prepared) -> None:
        """Write the structure-factor cache of a list once."""
        cache = (prepared.experiment.files.dump, id(prepared.table))
        if cache not in self._caches:
            self._caches.add(cache)
            before = len(prepared.messages)
            keep_cache(prepared)
            self.messages.show(image, prepared.messages[before:])

    def _settle(self, manifest: Manifest, advance: Callable[[], None], leaving: int = 0, *,
                interrupted: bool = False) -> None:
        """Note images as finished, the oldest first, waiting for all but `leaving` of those being written.

        Of an interrupted batch it is no failure that writing ended too; what comes after that image is made again.
        """
        while self._waiting and (len(self._waiting) > leaving or self._waiting[0][1].done()):
            image, written = self._waiting[0]
            if isinstance(written.exception(), BrokenProcessPool) and interrupted:
                return
            with undisturbed():  # noted, counted and forgotten, or none of it
                self._note(manifest, image, written)
                self._waiting.popleft()
            advance()

    def _note(self, manifest: Manifest, image: Image, written: Future) -> None:
        try:
            manifest.add(image, written.result())
        except (InputError, MemoryError, RuntimeError) as error:
            self.failed += 1
            self.messages.failure(image, _reason(error))
        else:
            self.finished += 1


def _reason(error: Exception) -> str:
    if isinstance(error, BrokenProcessPool):
        return "a process that writes images ended unexpectedly"
    return "not enough memory" if out_of_memory(error) else str(error)


@contextmanager
def _writers(processes: int):  # noqa: ANN202
    executor = Beside(processes) if processes else Here()
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
