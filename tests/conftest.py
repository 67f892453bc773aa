"""Threads for the whole suite, and figures that tests report."""

from __future__ import annotations

import os

from compiler import compile, compiled  # noqa: F401
from parity.live import built_c_image, built_c_program, c_image, live_c_program, summary  # noqa: F401


def pytest_configure(config) -> None:
    """Share the cores among workers that run side by side, before torch is imported here or in a program under test."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    # what a test asserts may not hang on what this machine has compiled before; tests of the kernels ask for them
    os.environ.setdefault("NANOBRAG_COMPILE", "off")


def pytest_terminal_summary(terminalreporter) -> None:
    """Print what tests recorded by `record_property("figure", text)`, and how many live comparisons ran."""
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    terminalreporter.write_line(summary(reports))
    for report in reports:
        for name, text in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(text)
