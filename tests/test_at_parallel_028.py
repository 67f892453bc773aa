"""AT-PARALLEL-028: performance beside the C program, as a benchmark.

Setup: a mosaic crystal with sub-pixels, both programs with one thread each.
Expectation: both finish and give one pattern; the seconds of both stand in the summary of the tests. No time is
asserted: it depends on the machine.
Command: nanoBragg ... -oversample 2 -mosaic_spread 0.5 -mosaic_domains 4
"""

from __future__ import annotations

import time

import pytest
import torch

from parity.model import simulator
from parity.pattern import assert_same_pattern

WORDS = ("-cell 100 100 100 90 90 90 -misset 5 10 15 -default_F 100 -N 5 -lambda 1 -distance 100 -detpixels 192 "
         "-pixel 0.4 -oversample 2 -mosaic_spread 0.5 -mosaic_domains 4")


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_benchmark(c_image, one_thread, record_property):
    started = time.perf_counter()
    reference = c_image(WORDS)
    c_seconds = time.perf_counter() - started
    model = simulator(WORDS)
    started = time.perf_counter()
    found = model.run()
    python_seconds = time.perf_counter() - started
    evaluations = found.numel() * model.summary.steps
    record_property("figure", f"benchmark, {evaluations / 1e6:.2f} million evaluations, one thread: C program (start "
                              f"and files included) {c_seconds:.2f} s, here {python_seconds:.2f} s")
    assert_same_pattern(reference, found.numpy())
