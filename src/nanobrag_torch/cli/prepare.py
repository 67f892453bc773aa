"""From a resolved experiment to a simulator: everything that can be refused is refused here, before any output."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, NamedTuple

from ..config import ConfigError, plain
from ..errors import InputError
from ..experiment import Experiment
from ..io.atomic import check_writable
from ..streams import tell
from .resolve import Resolved, cache_to_read

if TYPE_CHECKING:
    import torch

    from ..io.structure_factors import StructureFactorTable
    from ..simulator import Simulator

_BYTES_PER_PIXEL = 48
"""Image in working and final precision, coordinates, statistics and one integer image."""
_BYTES_PER_DIRECTION = 256
"""Folded lattice vectors of one source x orientation, with what makes them."""
_PARALLEL = 1e-12
"""Cosine between beam and detector normal below which they never meet."""


class Prepared(NamedTuple):
    """A run that nothing but the system can stop: mask and structure factors are read, the simulator is built."""

    experiment: Experiment
    simulator: Simulator
    table: StructureFactorTable | None
    messages: list[str]


def prepare(resolved: Resolved) -> Prepared:
    """Read, check and build; raises `InputError` naming the option or file at fault."""
    _check_files(resolved)
    _check_memory(resolved)
    experiment = _with_mask(resolved.experiment)
    messages = [f"nanoBragg: warning: {warning}" for warning in resolved.warnings]
    table = _structure_factors(experiment, messages)
    device = _device(experiment)
    try:
        simulator = _simulator(experiment, table, device, messages)
    except ConfigError as error:
        raise resolved.refusal(error) from None
    if simulator.awaits_compiler:
        try:
            compile_kernels(f"-compile {simulator.compile}", (experiment.computing.dtype,))
        except InputError as error:
            if simulator.compile == "on":
                raise
            messages.append(f"nanoBragg: warning: {error}; without compiled kernels this takes longer")
            simulator.compile = "off"
    return Prepared(experiment, simulator, table, messages)


def keep_cache(prepared: Prepared) -> None:
    """Write the structure-factor cache of a reflection list; a cache that cannot be written is only a warning."""
    from ..io.fdump import write_fdump

    files = prepared.experiment.files
    if files.hkl is None or prepared.table is None:
        return
    try:
        write_fdump(files.dump, prepared.table)
    except InputError as error:
        prepared.messages.append(f"nanoBragg: warning: {error}")


def compile_kernels(option: str, precisions: tuple[str, ...] | None = None) -> list[str]:
    """Make the packages of these precisions (default: all) that are missing; returns their names."""
    from ..kernel_cache import COMPILED_PRECISIONS, SERVING, CompilationError, missing, warm_up

    chosen = tuple(SERVING[name] for name in precisions or COMPILED_PRECISIONS)
    if missing(chosen):
        tell("nanoBragg: note: compiling kernels, once on this machine; this takes a minute")
    try:
        return warm_up(chosen)
    except CompilationError as error:
        raise InputError(f"{option}: {error}") from None


def _check_files(resolved: Resolved) -> None:
    files = resolved.experiment.files
    inputs = {f"-{name}": path for name, path in resolved.inputs.items()}
    cache = {"-dump": files.dump}
    check_writable(files.outputs, inputs | (cache if cache_to_read(resolved.experiment) else {}))
    if files.hkl is None:
        return
    for option, path in (inputs | files.outputs).items():
        if _same_file(path, files.dump):
            raise InputError(f"-dump {files.dump}: expected a file of its own, got that of {option}")


def _same_file(one: str, other: str) -> bool:
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def _check_memory(resolved: Resolved) -> None:
    experiment = resolved.experiment
    crystal, detector, beam = experiment.crystal, experiment.detector, experiment.beam
    working = experiment.sampling.memory_budget_bytes // 4
    grid = beam.hdiv_steps * beam.vdiv_steps * beam.dispersion_steps
    sources = grid if beam.source_directions is None else len(beam.source_directions)
    orientations = crystal.phi_steps * crystal.mosaic_domains
    demands = (
        ("fpixels, spixels, size_f_mm, size_s_mm, pixel_size_mm", "a detector",
         f"{detector.fpixels} x {detector.spixels} pixels", detector.fpixels * detector.spixels * _BYTES_PER_PIXEL),
        ("mosaic_domains, phi_steps, dispersion_steps, hdiv_steps, vdiv_steps", "sources and orientations",
         f"{sources} sources x {orientations} orientations", sources * orientations * _BYTES_PER_DIRECTION))
    available = _available_memory()
    for fields, what, size, needed in demands:
        if needed + working > available:
            raise InputError(f"{resolved.option_of(fields)}: expected {what} that fit into the "
                             f"{available / 2**30:.1f} GiB of free memory, got {size}, "
                             f"about {(needed + working) / 2**30:.1f} GiB")


def _available_memory() -> int:
    try:
        with open("/proc/meminfo") as stream:
            line = next(line for line in stream if line.startswith("MemAvailable"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _device(experiment: Experiment) -> torch.device:
    import torch

    computing = experiment.computing
    if computing.threads is not None:
        torch.set_num_threads(computing.threads)
    name = computing.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not (
            torch.cuda.is_available() and int(name.partition(":")[2] or 0) < torch.cuda.device_count()):
        raise InputError(f"-device: expected a device that is there, got {name} ({torch.cuda.device_count()} GPUs)")
    return torch.device(name)


def _with_mask(experiment: Experiment) -> Experiment:
    if experiment.files.mask is None:
        return experiment
    from ..io.mask import render_mask
    from ..io.smv import read_smv

    detector = experiment.detector
    mask = render_mask(read_smv(experiment.files.mask), (detector.spixels, detector.fpixels))
    return dataclasses.replace(experiment, detector=dataclasses.replace(detector, mask_array=mask))


def _structure_factors(experiment: Experiment, messages: list[str]) -> StructureFactorTable | None:
    from ..io.fdump import read_fdump
    from ..io.hkl import read_hkl

    files = experiment.files
    if files.hkl is not None:
        table = read_hkl(files.hkl, plain(experiment.crystal.default_F))
        messages += [f"nanoBragg: warning: {warning}" for warning in table.warnings]
        return table
    if not cache_to_read(experiment):
        return None
    table = read_fdump(files.dump)
    messages.append(
        f"note: structure factors come from the cache {files.dump} (h {table.h_min}..{table.h_max}, "
        f"k {table.k_min}..{table.k_max}, l {table.l_min}..{table.l_max}), left by an earlier run; "
        "-hkl names a list instead")
    return table


def _simulator(experiment: Experiment, table: StructureFactorTable | None, device: torch.device,
               messages: list[str]) -> Simulator:
    from ..simulator import Simulator
    from .fixed import FixedCrystal, fixed_detector

    detector = fixed_detector(experiment.detector, experiment.quirks, device)
    crystal = FixedCrystal(experiment.crystal, structure_factors=table, frame=detector.frame, device=device,
                           quirks=experiment.quirks)
    simulator = Simulator(crystal, detector, experiment.beam, sampling=experiment.sampling,
                          device=device, dtype=experiment.computing.dtype, quirks=experiment.quirks,
                          compile=experiment.computing.compile)
    if _facing(simulator) < 0:
        messages.append("nanoBragg: warning: the detector lies upstream of the crystal or shows it its back")
    messages += _coarse_sampling(simulator)
    return simulator


def _coarse_sampling(simulator: Simulator) -> list[str]:
    from ..scene import recommended_oversample

    chosen = simulator.choices.oversample
    if simulator.detector.config.oversample is None:
        return []
    recommended = recommended_oversample(simulator.crystal, simulator.detector, simulator.beam)
    return [f"nanoBragg: warning: -oversample {chosen} may be too coarse for this crystal; {recommended} is "
            "recommended"] if chosen < recommended else []


def _facing(simulator: Simulator) -> float:
    """Cosine between beam and detector normal before two-theta; `ConfigError` where it is 0."""
    from .fixed import fixed_detector

    config = dataclasses.replace(simulator.detector.config, detector_twotheta_deg=0.0)
    cosine = plain(fixed_detector(config, simulator.quirks, simulator.device).geometry().ratio)
    if abs(cosine) < _PARALLEL:
        raise ConfigError("odet_vector, beam_vector, fdet_vector, sdet_vector, detector_rotx_deg, detector_roty_deg, "
                          "detector_rotz_deg", "a detector that the beam meets, its normal at a cosine other than 0",
                          cosine)
    return cosine
