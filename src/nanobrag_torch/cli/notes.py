"""Which of the canonical program's faults change this run."""

from __future__ import annotations

from collections.abc import Callable

from ..config import CrystalShape, plain, plain3
from ..conventions import FRAMES, DetectorConvention
from ..experiment import Experiment
from ..quirks import Quirks
from ..scene import Choices
from ..simulator import RunSummary, Simulator


def quirk_notes(experiment: Experiment, simulator: Simulator) -> list[str]:
    """One line for each active fault that changes the image of a finished run."""
    run = _Run(experiment, simulator)
    notes = []
    for name, changes in _PREDICATES.items():
        if getattr(experiment.quirks, name) and changes(run):
            section, summary = Quirks.describe(name)
            notes.append(f"note: {name}: {summary} ({section}); -clean corrects it")
    return notes


class _Run:
    """A finished run, as the predicates look at it."""

    def __init__(self, experiment: Experiment, simulator: Simulator) -> None:
        self.experiment = experiment
        self.crystal, self.detector, self.beam = experiment.crystal, experiment.detector, experiment.beam
        self.choices: Choices = simulator.choices
        self.summary: RunSummary | None = simulator.summary
        self.simulator = simulator
        self.thick = plain(self.detector.detector_thick_um) > 0
        self.custom = self.detector.detector_convention is DetectorConvention.CUSTOM
        self.twotheta = plain(self.detector.detector_twotheta_deg) != 0

    @property
    def sources(self) -> int:
        return self.summary.sources if self.summary else 1


def _phi_carryover(run: _Run) -> bool:
    used, _ = run.simulator.crystal.phi_carryover()
    return used != list(range(len(used)))


def _weights_differ(run: _Run) -> bool:
    weights = run.beam.source_weights
    return weights is not None and len(set(weights)) > 1


def _oblique(run: _Run) -> bool:
    crystal = run.crystal
    if crystal.cell_a is None or crystal.orientation_matrix is not None:
        return False
    return sum(plain(angle) != 90 for angle in crystal.cell_angles) > 1


def _unnormalised_axis(run: _Run) -> bool:
    axis = run.detector.twotheta_axis
    return axis is not None and run.twotheta and abs(sum(x * x for x in plain3(axis)) - 1.0) > 1e-12


def _kept_normal(run: _Run) -> bool:
    given = run.detector
    return run.custom and given.odet_vector is None and (
        given.fdet_vector is not None or given.sdet_vector is not None)


def _overridden_pivot(run: _Run) -> bool:
    forced = FRAMES[run.detector.detector_convention].pivot
    return forced is not None and run.detector.detector_pivot not in (None, forced)


_PREDICATES: dict[str, Callable[[_Run], bool]] = {
    "phi_carryover": _phi_carryover,
    "running_product": lambda run: run.choices.running_product and run.choices.steps * run.choices.layers > 1,
    "source_weights_ignored": _weights_differ,
    "interpolation_latch": lambda run: run.summary is not None and run.summary.interpolation_stopped_at is not None,
    "last_layer_capture": lambda run: run.thick and not run.choices.oversample_thick,
    "sensor_layer_step": lambda run: run.thick and run.detector.detector_thicksteps is not None,
    "polar_first_ray": lambda run: not run.choices.unpolarized and not run.choices.oversample_polar and (
        run.sources > 1 or run.choices.oversample > 1 or run.choices.layers > 1),
    "omega_first_subpixel": lambda run: not run.choices.oversample_omega and (
        run.choices.oversample > 1 or run.choices.layers > 1),
    "water_scaling": lambda run: run.choices.watery,
    "curved_detector": lambda run: run.choices.curved,
    "triclinic_cell_axes": _oblique,
    "forced_pivot": _overridden_pivot,
    "pix0_ignored": lambda run: run.detector.pix0_vector_m is not None,
    "twotheta_axis_unnormalised": _unnormalised_axis,
    "custom_normal_kept": _kept_normal,
    "twotheta_distance": lambda run: run.twotheta and (run.choices.curved or run.detector.oversample is None),
    "nopolar_defeated": lambda run: run.beam.nopolar and run.choices.oversample_polar,
    "spot_width_by_volume": lambda run: run.choices.shape in (CrystalShape.GAUSS, CrystalShape.TOPHAT),
    "noise_wraparound": lambda run: run.experiment.files.noisefile is not None and (
        run.experiment.noise.adc_offset < 0),
    "header_values": lambda run: run.twotheta,
}
