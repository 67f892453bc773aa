"""The command: options, experiment, simulator, files. torch is imported once the input is known to be good."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InputError
from .help import help_text, version_text
from .parse import Settings, parse

if TYPE_CHECKING:
    import torch

    from ..experiment import Experiment
    from ..io.structure_factors import StructureFactorTable
    from ..simulator import Simulator

BAD_INPUT, INTERRUPTED = 2, 130
_BYTES_PER_PIXEL = 48
"""Image in working and final precision, coordinates, statistics and one integer image."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these words (default: the process's); returns the exit status."""
    try:
        return _command(list(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        print(f"nanoBragg: error: {error}", file=sys.stderr)
    except MemoryError:
        print("nanoBragg: error: not enough memory for this run", file=sys.stderr)
    except KeyboardInterrupt:
        print("nanoBragg: interrupted; no output file was left incomplete", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it at exit
    return BAD_INPUT


def _command(words: list[str]) -> int:
    settings = parse(words)
    for name, text in (("help", help_text), ("version", version_text)):
        if settings.get(name):
            sys.stdout.write(text())
            return 0
    from .resolve import resolve

    resolved = resolve(settings)
    for warning in resolved.warnings:
        _tell(f"warning: {warning}")
    if settings.get("show_config"):
        sys.stdout.write(resolved.experiment.to_yaml())
        return 0
    _simulate(resolved.experiment, settings)
    return 0


def _simulate(experiment: Experiment, settings: Settings) -> None:
    _check_outputs(experiment, settings)
    _check_memory(experiment)
    table = _structure_factors(experiment)
    experiment = _with_mask(experiment)
    simulator = _simulator(experiment, table)
    if "trace_pixel" in settings or settings.get("printout"):
        from .printout import print_pixels

        print_pixels(simulator, settings)
        if "trace_pixel" in settings:
            return
    _run(experiment, simulator, settings)


def _run(experiment: Experiment, simulator: Simulator, settings: Settings) -> None:
    import torch

    from .notes import quirk_notes
    from .outputs import write_outputs
    from .progress import progress
    from .report import result_lines, setup_lines

    quiet = settings.get("quiet", False)
    with torch.no_grad():
        _print(setup_lines(experiment, simulator), quiet)
        with progress(False if quiet else settings.get("progress")) as report:
            image = simulator.run(report)
        pixels = image.float().cpu().numpy()
        statistics = simulator.compute_statistics(image)
        for note in quirk_notes(experiment, simulator):
            print(note, file=sys.stderr)
        _print(result_lines(simulator, statistics), quiet)
        _print(write_outputs(experiment, simulator, pixels, statistics), quiet)


def _simulator(experiment: Experiment, table: StructureFactorTable | None) -> Simulator:
    from ..config import ConfigError
    from ..models import Crystal
    from ..simulator import Simulator

    device = _device(experiment)
    try:
        crystal = Crystal(experiment.crystal, structure_factors=table, device=device)
        simulator = Simulator(crystal, experiment.detector, experiment.beam, sampling=experiment.sampling,
                              device=device, dtype=experiment.computing.dtype, quirks=experiment.quirks)
        _warn_of_sampling(experiment, simulator)
        return simulator
    except ConfigError as error:
        raise InputError(f"{error.field}: expected {error.expected}, got {error.came!r}") from None


def _device(experiment: Experiment) -> torch.device:
    import torch

    computing = experiment.computing
    torch.set_num_threads(computing.threads or os.cpu_count() or 1)
    name = computing.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not (
            torch.cuda.is_available() and int(name.partition(":")[2] or 0) < torch.cuda.device_count()):
        raise InputError(f"-device: expected a device that is there, got {name} ({torch.cuda.device_count()} GPUs)")
    return torch.device(name)


def _warn_of_sampling(experiment: Experiment, simulator: Simulator) -> None:
    from ..scene import recommended_oversample

    asked = experiment.detector.oversample
    recommended = recommended_oversample(simulator.crystal, simulator.detector, simulator.beam)
    if asked is not None and asked < recommended:
        _tell(f"warning: -oversample {asked} may be too coarse for this crystal; {recommended} is recommended")


def _structure_factors(experiment: Experiment) -> StructureFactorTable | None:
    from ..config import plain
    from ..io.fdump import read_fdump, write_fdump
    from ..io.hkl import read_hkl
    from .resolve import cache_to_read

    files = experiment.files
    if files.hkl is not None:
        table = read_hkl(files.hkl, plain(experiment.crystal.default_F))
        for warning in table.warnings:
            _tell(f"warning: {warning}")
        try:
            write_fdump(files.dump, table)
        except InputError as error:
            _tell(f"warning: {error}")
        return table
    if not cache_to_read(experiment):
        return None
    table = read_fdump(files.dump)
    h, k, l = ((low, high) for low, high in (  # noqa: E741
        (table.h_min, table.h_max), (table.k_min, table.k_max), (table.l_min, table.l_max)))
    print(f"note: structure factors come from the cache {files.dump} (h {h[0]}..{h[1]}, k {k[0]}..{k[1]}, "
          f"l {l[0]}..{l[1]}), left by an earlier run; -hkl names a list instead", file=sys.stderr)
    return table


def _with_mask(experiment: Experiment) -> Experiment:
    if experiment.files.mask is None:
        return experiment
    from ..io.mask import render_mask
    from ..io.smv import read_smv

    detector = experiment.detector
    mask = render_mask(read_smv(experiment.files.mask), (detector.spixels, detector.fpixels))
    return dataclasses.replace(experiment, detector=dataclasses.replace(detector, mask_array=mask))


def _check_outputs(experiment: Experiment, settings: Settings) -> None:
    from ..io.atomic import check_writable

    read = ("hkl", "mat", "sourcefile", "mask", "img", "stol", "config")
    inputs = {f"-{name}": settings.get(name) for name in read if name in settings}
    check_writable(experiment.files.outputs, inputs)


def _check_memory(experiment: Experiment) -> None:
    detector = experiment.detector
    needed = detector.spixels * detector.fpixels * _BYTES_PER_PIXEL + experiment.sampling.memory_budget_bytes // 4
    available = _available_memory()
    if needed > available:
        raise InputError(f"-detpixels: expected a detector that fits into the {available / 2**30:.1f} GiB of free memory, "
                         f"got {detector.fpixels} x {detector.spixels} pixels, about {needed / 2**30:.1f} GiB")


def _available_memory() -> int:
    try:
        with open("/proc/meminfo") as stream:
            line = next(line for line in stream if line.startswith("MemAvailable"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _print(lines, quiet: bool) -> None:
    for line in lines:
        if not quiet:
            print(line)


def _tell(message: str) -> None:
    print(f"nanoBragg: {message}", file=sys.stderr)
