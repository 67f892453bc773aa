#!/usr/bin/env python3
"""What compiled kernels cost once and save ever after, in this process and in others; recompilations are counted.

Every precision gets an empty cache of its own. Cold is compiling its packages, once per precision, and the first run of
a new process; warm is a later instance of that process, or the first run of another one. Imports are not timed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.arguments import PRECISIONS, Parser, among, command, count, counts
from bench.kernels import obstacle
from bench.programs import run_child
from bench.record import Report, Row, Target, extreme, median, ratio
from bench.workloads import MODES, words, write_inputs

LEAST_GAIN = 50
EAGERLY = "evaluated eagerly"


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    report = Report("compile-cache", options.threads)
    recompiled: list[int | None] = []
    with tempfile.TemporaryDirectory() as scratch:
        write_inputs(Path(scratch))
        for device in options.devices:
            if device == "cuda" and not _cuda():
                report.rows.append(_row(device, None, None, "no GPU here"))
                continue
            for dtype in options.dtypes:
                cache = _Cache(Path(scratch), device, dtype, options)
                report.rows += [cache.row(sources) for sources in options.sources]
                recompiled.append(cache.recompilations() if cache.compiled else None)
    _summarise(report, recompiled)
    report.finish(options.reports, options.json)


def _options() -> argparse.Namespace:
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--instances", type=count, default=5, help="in one process, and processes (default 5)")
    parser.add_argument("--size", type=count, default=256, help="pixels along an edge (default 256)")
    parser.add_argument("--devices", type=among("cpu", "cuda"), default=["cpu"], help="default cpu")
    parser.add_argument("--dtypes", type=among(*PRECISIONS), default=["float64", "mixed", "float32"],
                        help="default float64,mixed,float32")
    parser.add_argument("--sources", type=counts, default=[1, 3], help="default 1,3")
    options = parser.parse_args()
    if options.instances < 2:
        parser.error(f"--instances: expected 2 or more, got {options.instances}")
    return options


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


class _Cache:
    """An empty cache of one device and precision, and runs that use it."""

    def __init__(self, folder: Path, device: str, dtype: str, options: argparse.Namespace) -> None:
        self.folder, self.device, self.dtype, self.options = folder, device, dtype, options
        self.place = folder / f"{device}-{dtype}"
        self.place.mkdir()
        self.compiled = device == "cpu" and obstacle() is None
        self.compile_s: float | None = None

    def row(self, sources: int) -> Row:
        """Cold and warm figures of one number of sources."""
        options, before = self.options, self.packages()
        experiment = [_experiment(options.size, sources=sources)]
        first = self._run(experiment, options.instances, warm_up=self.compiled)
        made = len(self.packages().items() - before.items())
        if first["made"]:
            self.compile_s = first["compile_s"]
        others = [self._run(experiment, 1)["seconds"][0] for _ in range(options.instances)]
        compiled = self.compiled and first["compiled"]
        cold_s = first["seconds"][0] + self.compile_s if compiled else None
        warm_s = [median(first["seconds"][1:]), median(others)]
        return _row(self.device, self.dtype, sources, "compiled" if compiled else EAGERLY, made,
                    self.compile_s, first["seconds"][0], cold_s, *warm_s, *(ratio(cold_s, warm) for warm in warm_s))

    def recompilations(self) -> int:
        """Packages made or made anew by twenty other experiments."""
        before = self.packages()
        self._run(_experiments(self.options.size), 1)
        return len(self.packages().items() - before.items())

    def packages(self) -> dict[str, int]:
        """Time of every file in the cache."""
        return {path.name: path.stat().st_mtime_ns for path in self.place.rglob("*") if path.is_file()}

    def _run(self, experiments: list[tuple[str, ...]], instances: int, *, warm_up: bool = False) -> dict[str, Any]:
        job = {"experiments": experiments, "dtype": self.dtype, "device": self.device, "instances": instances,
               "threads": self.options.threads, "compile": "on" if self.compiled else "off", "warm_up": warm_up}
        return run_child("repeated", job, self.folder, {"NANOBRAG_CACHE": str(self.place)}).report


def _row(device: str, dtype: str | None, sources: int | None, how: str, *figures: float | None) -> Row:
    names = ("packages_made", "compile_s", "first_run_s", "cold_s", "warm_instance_s", "warm_process_s",
             "gain_instance", "gain_process")
    return {"device": device, "dtype": dtype, "sources": sources, "how": how} | dict(
        zip(names, figures or [None] * len(names), strict=True))


def _experiment(size: int, sources: int = 1, extra: str = "", cells: int = 5) -> tuple[str, ...]:
    spread = f"-hdivrange 2 -hdivsteps {sources}" if sources > 1 else ""
    return words(size, f"{extra} {spread}", cells=cells)


def _experiments(size: int) -> list[tuple[str, ...]]:
    """Twenty that differ in size, sources, phi, domains, crystal, shape and factors."""
    sizes = [_experiment(max(8, size // part)) for part in (2, 3, 4, 5)]
    sources = [_experiment(size // 2, number) for number in (2, 5, 9)]
    modes = [_experiment(size // 2, extra=MODES[mode].format(low=1, high=size // 4))
             for mode in MODES if mode != "plain"]
    return [*sizes, *sources, *modes, _experiment(size // 2, cells=11)]


def _summarise(report: Report, recompiled: list[int | None]) -> None:
    cpu = [row for row in report.rows if row["device"] == "cpu" and row["how"] == "compiled"]
    counted = [number for number in recompiled if number is not None]
    report.summary |= {
        "worst_warm_over_cold": extreme(min, (row[gain] for row in cpu for gain in ("gain_instance", "gain_process"))),
        "recompilations": sum(counted) if counted else None,
        "other_experiments": len(_experiments(256)),
    }
    if any(row["how"] == EAGERLY for row in report.rows):
        reason = obstacle() or "GPUs have no compiled kernels"
        report.notes.append(f"rows evaluated eagerly ({reason}) compile nothing: neither a cold run nor a gain")
    report.targets += [
        Target("gain of a warm instance or process over a cold one", report.summary["worst_warm_over_cold"], ">=",
               LEAST_GAIN),
        Target("recompilations by other experiments", report.summary["recompilations"], "==", 0)]


if __name__ == "__main__":
    sys.exit(command("investigate_compile_cache", main))
