"""Compiled kernels for tests that ask for them."""

from __future__ import annotations

import shutil

import pytest

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def compiled():
    """The kernels of every precision, by its name; compiled first where `make setup` has not done so."""
    from nanobrag_torch.kernel_cache import COMPILED_PRECISIONS, warm_up
    from nanobrag_torch.packages import load  # imports torch, whose threads are not set yet when tests are configured

    warm_up()
    return {precision: load(precision) for precision in COMPILED_PRECISIONS}


@pytest.fixture(params=["off", pytest.param("on", marks=needs_compiler)])
def compile(request) -> str:
    """With and without compiled kernels."""
    if request.param == "on":
        request.getfixturevalue("compiled")
    return request.param
