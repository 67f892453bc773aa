"""Which of the canonical program's faults change this run.

Faults of the geometry are found by reckoning without them, those of the reading of options where they are met; the
others have a condition.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..config import CrystalConfig, CrystalShape, plain
from ..constants import CLASSICAL_ELECTRON_RADIUS_SQUARED_M2
from ..experiment import Experiment
from ..quirks import Quirks
from .resolve import Resolved, cache_to_read

if TYPE_CHECKING:
    from ..models import Detector
    from ..scene import Choices
    from ..simulator import Simulator


def option_notes(resolved: Resolved) -> list[str]:
    """One line for each active fault that changes what the options come to."""
    silent = cache_to_read(resolved.experiment) and not resolved.experiment.files.dump_asked
    return _notes(resolved.experiment.quirks, (*resolved.faults, *(["silent_cache"] if silent else [])))


def quirk_notes(experiment: Experiment, simulator: Simulator) -> list[str]:
    """One line for each active fault that changes the images of a finished run."""
    run, active = _Run(experiment, simulator), experiment.quirks
    return _notes(active, (name for name, changes in _PREDICATES.items() if getattr(active, name) and changes(run)))


def image_warnings(image: np.ndarray) -> list[str]:
    """One line where pixels (slow, fast) float32 are no numbers that a file can hold."""
    lost = np.count_nonzero(~np.isfinite(image))
    message = f"nanoBragg: warning: {lost} pixels are beyond single precision (3.4e38 photons) or no numbers"
    return [message] if lost else []


def _notes(quirks: Quirks, names: Iterable[str]) -> list[str]:
    notes = []
    for name in names:
        section, summary = Quirks.describe(name)
        if getattr(quirks, name):
            notes.append(f"note: {name}: {summary} ({section}); -clean corrects it")
    return notes


class _Run:
    """A finished run, as the predicates look at it."""

    def __init__(self, experiment: Experiment, simulator: Simulator) -> None:
        self.experiment, self.simulator = experiment, simulator
        self.crystal, self.detector, self.beam = experiment.crystal, experiment.detector, experiment.beam
        self.choices: Choices = simulator.choices
        self.summary = simulator.summary
        self.thick = plain(self.detector.detector_thick_um) > 0

    def without(self, name: str) -> Quirks:
        """The run's faults but one."""
        return dataclasses.replace(self.experiment.quirks, **{name: False})

    def detector_without(self, name: str) -> Detector:
        """The run's detector with all faults but one."""
        from .fixed import fixed_detector

        config = dataclasses.replace(self.detector, mask_array=None)
        return fixed_detector(config, self.without(name), self.simulator.device)


def _phi_carryover(run: _Run) -> bool:
    used, _ = run.simulator.crystal.phi_carryover()
    return used != list(range(len(used)))


def _weights_differ(run: _Run) -> bool:
    weights = run.beam.source_weights
    return weights is not None and len(set(weights)) > 1


def _several_directions(run: _Run) -> bool:
    return run.summary is not None and run.summary.sources > (
        run.beam.dispersion_steps if run.beam.source_directions is None else 1)


def _running_product(run: _Run) -> bool:
    evaluations = run.choices.steps * run.choices.layers
    return run.choices.running_product and (evaluations > 1 or (run.choices.absorbing and not run.thick))


def _water(run: _Run) -> bool:
    scale = plain(run.simulator.beam.fluence_per_m2) * CLASSICAL_ELECTRON_RADIUS_SQUARED_M2
    return run.choices.watery and (run.choices.steps > 1 or run.choices.culling or not math.isclose(scale, 1.0))


def _masked_in_region(run: _Run) -> bool:
    xmin, xmax, ymin, ymax = run.detector.roi
    mask = run.detector.mask_array
    return mask is not None and not mask[ymin:ymax + 1, xmin:xmax + 1].all()


def _other_cell(run: _Run) -> bool:
    crystal = run.crystal
    return crystal.orientation_matrix is None and _skewed((
        crystal.cell_a, crystal.cell_b, crystal.cell_c, crystal.cell_alpha, crystal.cell_beta, crystal.cell_gamma))


@functools.lru_cache
def _skewed(cell: tuple[float | None, ...]) -> bool:
    """Whether the fault changes the axes of a cell, in whatever orientation."""
    from ..models import Crystal

    upstream, clean = (Crystal(CrystalConfig(*cell), quirks=quirks) for quirks in (Quirks.upstream(), Quirks.clean()))
    return not _same(upstream.compute_cell_tensors(), clean.compute_cell_tensors())


def _other_detector(name: str) -> Callable[[_Run], bool]:
    """Whether the detector stands elsewhere, or its sensor differs, without a fault."""
    def changes(run: _Run) -> bool:
        other, placed = run.detector_without(name).geometry(), run.simulator.detector.geometry()
        fields = ("pix0", "fdet", "sdet", "odet", "layer_depth")
        return not _same((getattr(other, field) for field in fields), (getattr(placed, field) for field in fields))

    return changes


def _other_header(run: _Run) -> bool:
    if run.experiment.files.intfile is None and run.experiment.files.noisefile is None:
        return False
    placed = run.simulator.detector.header_values()
    other = run.detector_without("header_values").header_values()
    return any(not _close(placed[name], other[name]) for name in placed)


def _close(one: float | tuple[float, ...], other: float | tuple[float, ...]) -> bool:
    pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in pairs)


def _same(one: Iterable, other: Iterable) -> bool:
    """Whether tensors agree but for rounding."""
    import torch

    return all(torch.allclose(a.cpu(), b.cpu(), rtol=1e-12, atol=1e-15) for a, b in zip(one, other, strict=True))


def _other_choice(name: str, choice: str) -> Callable[[_Run], bool]:
    """Whether an automatic choice is another one without a fault."""
    def changes(run: _Run) -> bool:
        from ..scene import choose

        simulator = run.simulator
        other = choose(simulator.crystal, run.detector_without(name), simulator.beam, run.experiment.sampling,
                       run.without(name))
        return getattr(other, choice) != getattr(run.choices, choice)

    return changes


_other_oversample = _other_choice("twotheta_distance", "oversample")


def _twotheta_distance(run: _Run) -> bool:
    swung = plain(run.detector.detector_twotheta_deg) != 0
    return swung and (run.choices.curved or _other_oversample(run))


def _exact_hit(run: _Run) -> bool:
    """Whether the direct beam meets the centre of a (sub-)pixel, the one reflection that is hit exactly."""
    if run.choices.shape is not CrystalShape.ROUND:
        return False
    geometry, crystal = run.simulator.detector.geometry(), run.simulator.crystal
    edge = plain((crystal.compute_cell_tensors().axes.norm(dim=-1) * crystal.cell_counts()).max()) * 1e-10
    sub = plain(geometry.pixel_size) / run.choices.oversample
    offsets = [abs(plain(spot) / sub % 1.0 - 0.5) * sub for spot in (geometry.beam_f, geometry.beam_s)]
    reciprocal = max(offsets) / abs(plain(geometry.distance)) / plain(run.simulator.beam.wavelength_m)
    return reciprocal * edge < 1e-4


_PREDICATES: dict[str, Callable[[_Run], bool]] = {
    "phi_carryover": _phi_carryover,
    "running_product": _running_product,
    "source_weights_ignored": _weights_differ,
    "interpolation_latch": lambda run: run.summary is not None and run.summary.interpolation_stopped_at is not None,
    "last_layer_capture": lambda run: run.thick and not run.choices.oversample_thick,
    "sensor_layer_step": _other_detector("sensor_layer_step"),
    "polar_first_ray": lambda run: not run.choices.unpolarized and not run.choices.oversample_polar and (
        _several_directions(run) or run.choices.oversample > 1 or run.choices.layers > 1),
    "omega_first_subpixel": lambda run: not run.choices.oversample_omega and (
        run.choices.oversample > 1 or run.choices.layers > 1),
    "water_scaling": _water,
    "curved_detector": lambda run: run.choices.curved,
    "triclinic_cell_axes": _other_cell,
    "forced_pivot": _other_detector("forced_pivot"),
    "pix0_ignored": _other_detector("pix0_ignored"),
    "twotheta_axis_unnormalised": _other_detector("twotheta_axis_unnormalised"),
    "custom_normal_kept": _other_detector("custom_normal_kept"),
    "twotheta_distance": _twotheta_distance,
    "nopolar_defeated": lambda run: run.beam.nopolar and run.choices.oversample_polar,
    "spot_width_by_volume": lambda run: run.choices.shape in (CrystalShape.GAUSS, CrystalShape.TOPHAT),
    "sinc3_cancellation": _exact_hit,
    "single_precision_mosaic": lambda run: run.simulator.crystal.domains > 1,
    "interpolation_before_size": _other_choice("interpolation_before_size", "interpolate"),
    "rmsd_counts_masked": _masked_in_region,
    "noise_wraparound": lambda run: run.experiment.files.noisefile is not None and (
        run.experiment.noise.adc_offset < 0),
    "header_values": _other_header,
}
