"""Threads for the whole suite: workers that run side by side share the cores."""

from __future__ import annotations

import os


def pytest_configure(config) -> None:
    """Before torch is imported, here or in a program that a test starts."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
