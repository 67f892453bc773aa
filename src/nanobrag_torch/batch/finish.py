"""From the pixels of an image to its files, in processes beside the one that simulates; without torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import NamedTuple

import numpy as np

from ..cli.outputs import write_outputs
from ..experiment import Experiment
from ..io.atomic import all_or_none
from ..io.smv import SmvHeader
from ..process import usable_cores
from ..statistics import image_statistics
from .manifest import digest

MOST_PROCESSES = 8
FEWEST_IMAGES = 4
"""Fewer are done before other processes have begun."""


class Pixels(NamedTuple):
    """A simulated image: photons (slow, fast) float32, and what its files say besides."""

    experiment: Experiment
    header: SmvHeader
    image: np.ndarray


def write_image(pixels: Pixels) -> dict[str, str]:
    """Write all files of an image, together or none; their paths and digests.

    Raises:
        InputError: one cannot be written.
    """
    experiment, header, image = pixels
    region = experiment.detector.region
    mask = experiment.detector.mask_array
    rendered = region if mask is None else region & np.asarray(mask, dtype=bool)
    statistics = image_statistics(image, rendered, region,
                                  rmsd_includes_masked=experiment.quirks.rmsd_counts_masked)
    with all_or_none():
        for _ in write_outputs(experiment, header, image, statistics):
            pass
    return {path: digest(path) for path in experiment.files.outputs.values()}


class Here(Executor):
    """Writes at once, in this process."""

    def submit(self, function, /, *args):  # noqa: ANN001, ANN201 - as the base
        future: Future = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class Beside(Executor):
    """Writes in other processes, which an interrupt or a hangup does not reach; dead ones are replaced."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool = self._started()

    def submit(self, function, /, *args):  # noqa: ANN001, ANN201 - as the base
        with _interrupts_held():
            try:
                return self._pool.submit(ending, function, *args)
            except BrokenProcessPool:
                self._pool = self._started()
                return self._pool.submit(ending, function, *args)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the processes end."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def _started(self) -> ProcessPoolExecutor:
        with _interrupts_held():
            return ProcessPoolExecutor(self._processes, get_context("spawn"), _serve_parent)


def writer_processes(images: int, *, noisy: bool) -> int:
    """How many processes write: the drawing of noise is worth them, other files are sooner written than handed over."""
    return min(usable_cores(), MOST_PROCESSES, images) if noisy and images >= FEWEST_IMAGES else 0


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Inside, no interrupt and no hangup; nor ever in a process started here, which inherits it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve_parent() -> None:
    """End with the process that started this one, however that ends; use only what time it leaves."""
    def watch() -> None:
        parent_process().join()
        os._exit(1)

    os.nice(19)
    threading.Thread(target=watch, daemon=True).start()


def ending(function, /, *args):  # noqa: ANN001, ANN201
    """Call; told to end meanwhile, end when what is half written has been removed."""
    try:
        signal.signal(signal.SIGTERM, _end_once)
        result = function(*args)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return result
    except SystemExit:
        os._exit(128 + signal.SIGTERM)


def _end_once(number, frame) -> None:  # noqa: ANN001
    """Once: where every process of a batch is told to end, the pool tells those left again when the first one has."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit()
