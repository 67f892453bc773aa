"""Live comparisons: which C program, whether at all, and the count of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nanobrag_torch.errors import InputError
from nanobrag_torch.tools.runners import c_binary

from .programs import NO_FILES, Files, Words, run_c_program

LIVE = os.environ.get("NB_RUN_PARALLEL") == "1"
GENERATOR = Path(__file__).parents[2] / "golden_suite_generator"
PARITY = "parity"
"""Name of the property that a report carries for every live comparison."""

Reference = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def live_c_program() -> Path:
    """The C program; without NB_RUN_PARALLEL=1 the test is skipped, with it a missing program is an error."""
    if not LIVE:
        pytest.skip("NB_RUN_PARALLEL=1 turns comparisons with the C program on")
    return c_binary()


@pytest.fixture(scope="session")
def built_c_program() -> Path:
    """The C program, built if there is none and no live comparison insists on finding it."""
    try:
        return c_binary()
    except InputError:
        if LIVE:
            raise
    subprocess.run(["make", "-s", "-C", str(GENERATOR)], check=True)
    return c_binary()


@pytest.fixture
def c_image(live_c_program, tmp_path, record_property) -> Reference:
    """`c_image(words, files)`: the C program's image of a command line, (slow, fast) float32."""
    return _imager(live_c_program, tmp_path, record_property)


@pytest.fixture
def built_c_image(built_c_program, tmp_path, record_property) -> Reference:
    """As `c_image`, but never skipped."""
    return _imager(built_c_program, tmp_path, record_property)


def _imager(binary: Path, folder: Path, record_property: Callable[[str, object], None]) -> Reference:
    count = iter(range(10**6))

    def image(words: Words, files: Files = NO_FILES) -> np.ndarray:
        outcome = run_c_program(words, folder / f"c-{next(count)}", binary, files)
        assert outcome.status == 0, outcome.stderr
        record_property(PARITY, 1)
        return outcome.image()

    return image


def summary(reports: list) -> str:
    """One line on the live comparisons among the reports of tests."""
    ran = sum(name == PARITY for report in reports for name, _ in report.user_properties)
    hint = "" if LIVE else "; NB_RUN_PARALLEL=1 turns all of them on"
    return f"parity: {ran} live comparisons with the C program ran{hint}"
