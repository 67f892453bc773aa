#!/usr/bin/env python3
"""Time the C program and this one in turns on the same arguments, warm and cold, with the peak memory of each.

The C program's time is that of its process, files included; ours, warm, the median of five runs of a simulator in a
row, and beside it that of setting up a new one. Every workload begins with one round that is not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.arguments import PRECISIONS, Parser, among, command, count, counts
from bench.kernels import make_kernels
from bench.problem import Problem, samples
from bench.programs import Measured, run_c, run_child
from bench.record import Report, Row, Target, extreme, mebibytes, median, ratio
from bench.workloads import EAGER, MODES, TABLE, Workload, workload, write_inputs

from nanobrag_torch.errors import InputError
from nanobrag_torch.tools.runners import clean_folder

LAPS = ("import_torch_s", "set_up_s", "package_load_s", "kernel_s", "output_s")
VIEWS = (("workload", "variant", "samples", "compiled", "c_s", "warm_s", "warm_set_up_s", "c_over_ours",
          "worst_difference"),
         ("workload", "variant", "cold_whole_s", *LAPS, "peak_MiB", "c_peak_MiB"))
IN_A_ROW = 5
"""Runs of ours in each round."""
RATIO_LIMIT = 1.5
"""Most that a warm run may take of the C program's time."""


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    workloads = TABLE if options.table else [workload(mode, size) for mode in options.modes for size in options.sizes]
    variants = [*options.dtype, *([EAGER] if options.eager else [])]
    report = Report("detailed", options.threads, views=VIEWS)
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch) / "inputs"
        inputs.mkdir()
        write_inputs(inputs)
        if options.device == "cpu" or _cuda():
            make_kernels(report, options.dtype)
            for number, work in enumerate(workloads):
                folder = clean_folder(Path(scratch), str(number), inputs)
                report.rows += _rows(work, variants, folder, options)
                print(f"{number + 1} of {len(workloads)}: {work.name}", file=sys.stderr, flush=True)
        else:
            report.notes.append("no GPU here: nothing was measured")
    _summarise(report, workloads)
    report.finish(options.reports, options.json)


def _options() -> argparse.Namespace:
    parser = Parser(__doc__.splitlines()[0], with_c=True)
    parser.add_argument("--sizes", type=counts, default=[256, 512, 1024], help="pixels along an edge, e.g. 256,512")
    parser.add_argument("--modes", type=among(*MODES), default=["plain", "mosaic"],
                        help=f"some of {','.join(MODES)} (default plain,mosaic)")
    parser.add_argument("--table", action="store_true", help="the workloads that have targets, instead of both")
    parser.add_argument("--dtype", type=among(*PRECISIONS), default=["float64"], help="precisions (default float64)")
    parser.add_argument("--eager", action="store_true", help="float64 without compiled kernels too")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of ours (default cpu)")
    parser.add_argument("--iterations", type=count, default=5, help="counted rounds (default 5)")
    options = parser.parse_args()
    if min(options.sizes) < 4:
        parser.error(f"--sizes: expected 4 pixels or more, got {min(options.sizes)}")
    return options


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _rows(work: Workload, variants: list[str], folder: Path, options: argparse.Namespace) -> list[Row]:
    """One workload, a row for each variant."""
    import torch

    torch.set_num_threads(options.threads)
    problem = Problem.of(work.words, folder)
    by_c: list[Measured] = []
    warm: dict[str, list[tuple[float, float]]] = {variant: [] for variant in variants}
    images, simulators = {}, {}
    for _ in range(options.iterations + 1):
        by_c.append(run_c(options.c_bin, work.words, folder, options.threads))
        for variant in variants:
            simulators[variant], set_up_s = _set_up(problem, variant, options.device, simulators.get(variant))
            images.pop(variant, None)
            images[variant], run_s = _run(simulators[variant])
            warm[variant].append((set_up_s, run_s))
    c_image = _c_image(folder / "float.bin", images[variants[0]], options.c_bin)
    rows = []
    for variant in variants:
        c_s, set_up_s, warm_s = median(run.seconds for run in by_c[1:]), *(
            median(lap[place] for lap in warm[variant][1:]) for place in (0, 1))
        rows.append({
            "workload": work.name, "variant": variant, "samples": samples(simulators[variant]),
            "compiled": simulators[variant].summary.compiled, "c_s": c_s, "warm_s": warm_s, "warm_set_up_s": set_up_s,
            "c_over_ours": ratio(c_s, warm_s), "ours_over_c": ratio(warm_s, c_s),
            "worst_difference": _difference(images[variant], c_image),
            "c_peak_MiB": mebibytes(max(run.peak_bytes for run in by_c)), **_cold(work, variant, folder, options)})
    return rows


def _set_up(problem: Problem, variant: str, device: str, known: Any) -> tuple[Any, float]:
    """The simulator that is there already, else a new one, and seconds of setting up a new one."""
    import torch

    dtype, compile = ("float64", "off") if variant == EAGER else (variant, None)
    with torch.no_grad():
        started = time.perf_counter()
        simulator = problem.simulator(dtype, compile=compile, device=device)
        simulator.scene()
        seconds = time.perf_counter() - started
    return known or simulator, seconds


def _run(simulator: Any) -> tuple[Any, float]:
    """Image, and seconds that it took: the median of runs in a row, as whoever calls it again and again sees them."""
    import torch

    laps, image = [], None
    with torch.no_grad():
        for _ in range(IN_A_ROW):
            del image
            started = time.perf_counter()
            image = simulator.run()
            if image.is_cuda:
                torch.cuda.synchronize()
            laps.append(time.perf_counter() - started)
    return image.cpu(), median(laps)


def _cold(work: Workload, variant: str, folder: Path, options: argparse.Namespace) -> Row:
    """The command's steps in a new process, its whole time and its peak memory."""
    dtype = ["-dtype", "float64", "-compile", "off"] if variant == EAGER else ["-dtype", variant]
    words = [*work.words, *dtype, "-threads", str(options.threads), "-device", options.device]
    run = run_child("cold", {"words": words}, folder)
    return {"cold_whole_s": run.seconds} | {lap: run.report[lap] for lap in LAPS} | {
        "peak_MiB": mebibytes(run.peak_bytes)}


def _c_image(path: Path, like: Any, binary: Path) -> Any:
    import torch

    found, expected = path.stat().st_size if path.exists() else 0, 4 * like.numel()
    if found != expected:
        raise InputError(f"{binary}: expected a program that writes an image of {expected} bytes, got {found}")
    return torch.from_file(str(path), size=like.numel(), dtype=torch.float32).reshape(like.shape).double()


def _difference(image: Any, reference: Any) -> float | None:
    """Largest difference of the two programs' images, as a part of the brightest pixel."""
    return ratio(float((image.float().double() - reference).abs().max()), float(reference.max()))


def _summarise(report: Report, workloads: list[Workload]) -> None:
    rows = report.rows
    compiled = [row for row in rows if row["variant"] != EAGER]
    report.summary |= {
        "worst_ratio_to_c": extreme(max, (row["ours_over_c"] for row in compiled)),
        "worst_c_over_ours": extreme(min, (row["c_over_ours"] for row in compiled)),
        "worst_difference": extreme(max, (row["worst_difference"] for row in rows)),
        "peak_MiB": extreme(max, (row["peak_MiB"] for row in rows)),
    }
    for work in workloads:
        own = [row for row in rows if row["workload"] == work.name]
        report.targets += [Target(f"{work.name}, {row['variant']}: C over ours", row["c_over_ours"], ">=",
                                  work.targets[row["variant"]]) for row in own if row["variant"] in work.targets]
        if work.whole_s is not None:
            report.targets += [Target(f"{work.name}, {row['variant']}: whole process, s", row["cold_whole_s"], "<=",
                                      work.whole_s) for row in own]
    report.targets.append(Target("slowest warm run: ours over C", report.summary["worst_ratio_to_c"], "<=",
                                 RATIO_LIMIT))


if __name__ == "__main__":
    sys.exit(command("benchmark_detailed", main))
