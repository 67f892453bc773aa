"""Whether compiled kernels are there, and making them before anything is timed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable

from .record import Report


def make_kernels(report: Report, precisions: Iterable[str]) -> None:
    """Compile the packages that are missing, or note why runs are eager."""
    from nanobrag_torch import kernel_cache

    wanted = tuple(dict.fromkeys(kernel_cache.SERVING[name] for name in precisions))
    report.summary["compile_s"] = None
    if not allowed():
        report.notes.append("NANOBRAG_COMPILE=off: evaluated eagerly")
        return
    started = time.perf_counter()
    try:
        made = kernel_cache.warm_up(wanted)
    except kernel_cache.CompilationError as error:
        report.notes.append(f"evaluated eagerly: {error}")
        return
    if made:
        report.summary["compile_s"] = time.perf_counter() - started
        report.notes.append(f"compiled before the measurement: {', '.join(made)}")


def obstacle() -> str | None:
    """Why nothing can be compiled here, if so."""
    compiler = os.environ.get("CXX", "g++")
    if not allowed():
        return "NANOBRAG_COMPILE=off"
    return None if shutil.which(compiler) else f"no C++ compiler {compiler}"


def allowed() -> bool:
    """Whether the environment allows compiled kernels."""
    return os.environ.get("NANOBRAG_COMPILE") != "off"
