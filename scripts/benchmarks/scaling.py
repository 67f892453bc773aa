#!/usr/bin/env python3
"""Time per sample and peak memory against pixels, directions, sub-pixels, samples and threads.

Every point is a process of its own, which runs a small experiment first and then its own, `--iterations` times; its
peak resident memory holds Python and torch too. For samples and threads, an image is made again and again for a second,
point after point in turns for `--rounds` rounds, and the medians count.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.arguments import PRECISIONS, Parser, among, command, count, counts
from bench.kernels import make_kernels
from bench.programs import run_child
from bench.record import Report, Row, Target, extreme, median, ratio
from bench.workloads import words

PARTS = ("pixels", "directions", "subpixels", "samples", "threads")
REHEARSAL = 16
"""Edge of the detector of the run that comes before: it imports and loads what the measured one needs."""
DOMAINS = 100
"""Mosaic domains of the images of growing numbers of samples."""
GIB = 2**30


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    report = Report("scaling", options.threads)
    make_kernels(report, [options.dtype])
    with tempfile.TemporaryDirectory() as scratch:
        for part in options.parts:
            report.rows += _part(part, options, Path(scratch))
            print(f"{part}: done", file=sys.stderr, flush=True)
    _summarise(report, options)
    report.finish(options.reports, options.json)


def _options() -> argparse.Namespace:
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--parts", type=among(*PARTS), default=list(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--size", type=count, default=1024, help="edge, but for pixels and sub-pixels (default 1024)")
    parser.add_argument("--pixels", type=counts, default=[256, 512, 1024, 2048], help="edges of the detector")
    parser.add_argument("--directions", type=counts, default=[50, 500], help="mosaic domains, forward and backward")
    parser.add_argument("--subpixels", type=counts, default=[1, 2, 4], help="per edge, at 256²")
    parser.add_argument("--samples", type=counts, default=[10**7, 10**8, 10**9],
                        help=f"of an image with {DOMAINS} domains, run again")
    parser.add_argument("--dtype", choices=PRECISIONS, default="float64", help="default float64")
    parser.add_argument("--iterations", type=count, default=1, help="runs of each process (default 1)")
    parser.add_argument("--rounds", type=count, default=5, help="for samples and threads (default 5)")
    return parser.parse_args()


def _part(part: str, options: argparse.Namespace, folder: Path) -> list[Row]:
    """A row for each point of a part, in turns where a point is run again."""
    points = _points(part, options)
    rounds = options.rounds if points[0]["again"] else 1
    runs = [[_measure(point, options, folder) for point in points] for _ in range(rounds)]
    return [_middle(rows) for rows in zip(*runs, strict=True)]


def _middle(rows: Sequence[Row]) -> Row:
    times = {name: median([row[name] for row in rows]) for name in ("seconds", "ns_per_sample")}
    return rows[0] | times | {"peak_GiB": max(row["peak_GiB"] for row in rows)}


def _points(part: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What to run for one part: size, domains, sub-pixels, threads, and whether with a gradient."""
    size, common = options.size, {"part": part, "domains": 1, "subpixels": 1, "threads": options.threads,
                                  "gradient": False, "again": False}
    if part == "pixels":
        return [common | {"size": edge} for edge in options.pixels]
    if part == "directions":
        return [common | {"size": size, "domains": domains, "gradient": gradient}
                for gradient in (False, True) for domains in options.directions]
    if part == "subpixels":
        return [common | {"size": min(size, 256), "subpixels": edge} for edge in options.subpixels]
    if part == "samples":
        return [common | {"size": max(1, round((samples / DOMAINS) ** 0.5)), "domains": DOMAINS, "again": True}
                for samples in options.samples]
    return [common | {"size": size, "domains": 20, "threads": threads, "again": True}
            for threads in sorted({1, options.threads})]


def _measure(point: dict[str, Any], options: argparse.Namespace, folder: Path) -> Row:
    spread = f"-mosaic 0.5 -mosaic_domains {point['domains']}" if point["domains"] > 1 or point["gradient"] else ""
    extra = f"-oversample {point['subpixels']} {spread}"
    job = {"experiments": [words(point["size"], extra)], "rehearsal": words(REHEARSAL, extra), "compile": None,
           "dtype": options.dtype, "threads": point["threads"], "instances": options.iterations,
           "gradient": point["gradient"], "again": point["again"]}
    run = run_child("repeated", job, folder, {"OMP_NUM_THREADS": str(point["threads"])})
    report = run.report
    once = median(report["seconds"])
    return point | {"samples": report["samples"], "seconds": once, "ns_per_sample": 1e9 * once / report["samples"],
                    "peak_GiB": run.peak_bytes / GIB, "compiled": report["compiled"]}


def _summarise(report: Report, options: argparse.Namespace) -> None:
    def column(part: str, name: str, gradient: bool = False) -> list[float]:
        return [row[name] for row in report.rows if row["part"] == part and row["gradient"] == gradient]

    seconds = column("threads", "seconds")
    costs = column("samples", "ns_per_sample")
    summary = {"thread_gain": ratio(seconds[0], seconds[-1]) if len(seconds) > 1 else None,
               "cost_spread": ratio(extreme(max, costs), extreme(min, costs))}
    for name, gradient in (("forward", False), ("backward", True)):
        peaks = column("directions", "peak_GiB", gradient)
        summary |= {f"{name}_peak_GiB": extreme(max, peaks),
                    f"{name}_peak_growth": ratio(peaks[-1], peaks[0]) if len(peaks) > 1 else None}
    report.summary |= summary
    report.targets += [
        Target("peak memory forward, GiB", summary["forward_peak_GiB"], "<=", 0.8),
        Target("peak memory forward and backward, GiB", summary["backward_peak_GiB"], "<=", 1.0),
        Target("peak memory of most over fewest directions, forward", summary["forward_peak_growth"], "<=", 1.1),
        Target("the same, forward and backward", summary["backward_peak_growth"], "<=", 1.1),
        Target("cost per sample, largest over smallest", summary["cost_spread"], "<=", 1.15)]
    if options.threads == 2:
        report.targets.append(Target("one thread's time over two threads'", summary["thread_gain"], ">=", 1.7))


if __name__ == "__main__":
    sys.exit(command("scaling", main))
