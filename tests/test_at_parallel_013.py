"""AT-PARALLEL-013: an image does not depend on the machine's circumstances.

Setup: a mosaic crystal in a random orientation, all seeds given.
Expectation: repeated runs, other numbers of threads and a process of its own give the same bits; other memory budgets,
which only change the order of addition, agree to 1e-12.
Command: nanoBragg ... -misset_seed 42 -misset random -mosaic_seed 42 [-threads N]
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from nanobrag_torch.simulator import Simulator
from parity.model import image, simulator
from parity.programs import split

WORDS = ("-cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 64 -pixel 0.5 "
         "-misset_seed 42 -mosaic_seed 42 -misset random -mosaic_spread 1 -mosaic_domains 6 -oversample 2")


@pytest.fixture(scope="module")
def once() -> np.ndarray:
    return image(WORDS)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads_change_no_bit(once, threads, count):
    np.testing.assert_array_equal(image(f"{WORDS} -threads {count}"), once)


def test_another_process_gives_the_same_bits(once, tmp_path):
    words = [*split(WORDS), "-floatfile", "float.bin", "-nonoise", "-nopgm", "-quiet"]
    subprocess.run([sys.executable, "-m", "nanobrag_torch", *words], cwd=tmp_path, check=True, capture_output=True)
    stored = np.fromfile(tmp_path / "float.bin", np.float32).reshape(once.shape)
    np.testing.assert_array_equal(stored, once.astype(np.float32))


@pytest.mark.parametrize("budget_bytes", [2**17, 2**22])
def test_memory_changes_only_the_order_of_addition(budget_bytes):
    model = simulator(WORDS.replace("-detpixels 64", "-detpixels 20"))
    smaller = dataclasses.replace(model.sampling, memory_budget_bytes=budget_bytes)
    found = Simulator(model.crystal, model.detector, model.beam, sampling=smaller, quirks=model.quirks).run()
    np.testing.assert_allclose(found.numpy(), model.run().numpy(), rtol=1e-12)
