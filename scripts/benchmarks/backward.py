#!/usr/bin/env python3
"""Time a loss and its gradient, and an image with ten derivative images, in turns with one C forward run.

The gradient is that of cell, orientation, mosaic spread and distance together. One round in front is not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.arguments import Parser, among, command, count
from bench.kernels import make_kernels
from bench.problem import DERIVATIVES, Problem, samples
from bench.programs import run_c
from bench.record import Report, Row, Target, extreme, median, ratio
from bench.workloads import words

GRADIENT, IMAGES = "loss and gradient", "image and ten derivative images"
WORKS = {"gradient": GRADIENT, "images": IMAGES}
LIMITS = {(GRADIENT, "float64"): 0.4, (GRADIENT, "mixed"): 0.2, (IMAGES, "float64"): 0.4, (IMAGES, "mixed"): 0.4}
"""Most that each may take of the C program's time."""


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    report = Report("backward", options.threads)
    make_kernels(report, options.dtype)
    with tempfile.TemporaryDirectory() as scratch:
        report.rows += _rows(options, Path(scratch))
    report.targets += [Target(f"{row['work']}, {row['dtype']}: over one C forward run", row["ours_over_c"], "<=",
                              LIMITS[row["work"], row["dtype"]]) for row in report.rows]
    for name, work in WORKS.items():
        report.summary[f"worst_{name}_over_c"] = extreme(
            max, (row["ours_over_c"] for row in report.rows if row["work"] == work))
    report.finish(options.reports, options.json)


def _options() -> argparse.Namespace:
    parser = Parser(__doc__.splitlines()[0], with_c=True)
    parser.add_argument("--size", type=count, default=256, help="pixels along an edge (default 256)")
    parser.add_argument("--directions", type=count, default=100, help="mosaic domains (default 100)")
    parser.add_argument("--dtype", type=among("float64", "mixed"), default=["float64", "mixed"],
                        help="precisions (default float64,mixed)")
    parser.add_argument("--work", type=among(*WORKS), default=list(WORKS), help="default gradient,images")
    parser.add_argument("--iterations", type=count, default=5, help="counted rounds (default 5)")
    return parser.parse_args()


def _rows(options: argparse.Namespace, folder: Path) -> list[Row]:
    import torch

    torch.set_num_threads(options.threads)
    arguments = words(options.size, f"-mosaic 0.5 -mosaic_domains {options.directions}")
    problem = Problem.of(arguments, folder)
    works = _works(problem, options)
    c_s: list[float] = []
    ours: dict[tuple[str, str], list[float]] = {key: [] for key in works}
    for _ in range(options.iterations + 1):
        c_s.append(run_c(options.c_bin, arguments, folder, options.threads).seconds)
        for key, work in works.items():
            ours[key].append(_seconds(work))
    once = median(c_s[1:])
    return [{"work": work, "dtype": dtype, "samples": samples(problem.simulator(dtype)), "c_s": once,
             "ours_s": median(seconds[1:]), "ours_over_c": ratio(median(seconds[1:]), once)}
            for (work, dtype), seconds in ours.items()]


def _works(problem: Problem, options: argparse.Namespace) -> dict[tuple[str, str], Callable[[], object]]:
    """What to time, by its name and precision."""
    known: dict[str, Callable[[str], object]] = {
        "gradient": problem.gradient, "images": partial(_derivative_images, problem)}
    return {(WORKS[name], dtype): partial(known[name], dtype) for name in options.work for dtype in options.dtype}


def _derivative_images(problem: Problem, dtype: str) -> object:
    return problem.simulator(dtype).derivative_images(DERIVATIVES)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(command("backward", main))
