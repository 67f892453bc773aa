"""repeated.py JOB: several instances of one or more experiments in a new process; prints their seconds as JSON.

JOB: experiments (list of words), dtype, compile, device, threads, instances (of each experiment), gradient (with a loss
and its gradient), again (further runs of each instance are what is timed), warm_up (compile what is missing first),
rehearsal (words of a small run that comes before). Imports, reading words and files are not timed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from nanobrag_torch.kernel_cache import SERVING, warm_up
from nanobrag_torch.simulator import Simulator

from .problem import Problem, samples
from .record import median

AGAIN_S = 1.0
"""How long an instance runs again and again: one image of some milliseconds may meet anything."""


def main() -> None:
    """Do the job."""
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    problems = [Problem.of(words, Path.cwd()) for words in job["experiments"]]
    report: dict[str, Any] = {"compile_s": None, "made": [], "seconds": [], "compiled": True}
    if job.get("warm_up"):
        started = time.perf_counter()
        report["made"] = warm_up((SERVING[job["dtype"]],))
        report["compile_s"] = time.perf_counter() - started
    if job.get("rehearsal"):
        seconds(Problem.of(job["rehearsal"], Path.cwd()), job)
    for problem in problems:
        for _ in range(job["instances"]):
            report["seconds"].append(seconds(problem, job))
        with torch.no_grad():
            simulator = problem.simulator(job["dtype"], compile=job["compile"], device=job.get("device", "cpu"))
            simulator.run()
            report["compiled"] &= simulator.summary.compiled
    report["samples"] = samples(simulator)
    print(json.dumps(report))


def seconds(problem: Problem, job: dict[str, Any]) -> float:
    """One instance, made and run, or the median of its further runs."""
    started = time.perf_counter()
    if job.get("gradient"):
        problem.gradient(job["dtype"], compile=job["compile"])
        return time.perf_counter() - started
    with torch.no_grad():
        simulator = problem.simulator(job["dtype"], compile=job["compile"], device=job.get("device", "cpu"))
        _run(simulator)
        once = time.perf_counter() - started
        if not job.get("again"):
            return once
        further: list[float] = []
        while sum(further) < AGAIN_S:
            started = time.perf_counter()
            _run(simulator)
            further.append(time.perf_counter() - started)
    return median(further)


def _run(simulator: Simulator) -> None:
    if simulator.run().is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
