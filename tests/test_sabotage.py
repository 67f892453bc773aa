"""Small faults, planted one at a time: the parity verdict and the first divergence notice each and name the quantity.

One run of the C program with many features on is the reference. A fault replaces a function of the package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from nanobrag_torch import integrate, kernel, scene, terms, trace
from nanobrag_torch import simulator as simulator_module
from nanobrag_torch.cli.fixed import forget_detectors
from nanobrag_torch.geometry import rotate_about, rotate_xyz
from nanobrag_torch.models import Beam, Crystal, Detector
from nanobrag_torch.models import crystal as crystal_module
from nanobrag_torch.tools.divergence import compare_traces, first_divergence, parse_trace
from parity.live import PARITY
from parity.model import simulator
from parity.programs import reflection_block, run_c_program
from parity.verdict import measure

FILES = {"block.hkl": reflection_block(6)}
SLOW, FAST = 12, 9
WORDS = ("-cell 40 45 50 80 85 95 -misset 8 16 24 -hkl block.hkl -default_F 20 -N 4 -lambda 1.5 -distance 90 "
         "-detpixels 32 -pixel 0.9 -phi 10 -osc 2 -phisteps 2 -mosaic_spread 0.8 -mosaic_domains 3 -dispersion 1 "
         "-dispsteps 2 -detector_thick 300 -detector_abs 400 -detector_thicksteps 3 -twotheta 12 -detector_rotx 4 "
         "-polar 0.9 -oversample 2")

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Fault:
    """A fault and the first quantity of a trace in which it shows."""

    plant: Plant
    shows_in: str


FAULTS: dict[str, Fault] = {}


def fault(shows_in: str) -> Callable[[Plant], Plant]:
    """Enter a fault into the table under its function's name."""
    def enter(plant: Plant) -> Plant:
        FAULTS[plant.__name__] = Fault(plant, shows_in)
        return plant

    return enter


@fault("pixel_pos_m")
def fast_and_slow_swapped(monkeypatch):
    original = kernel.pixel_positions
    monkeypatch.setattr(kernel, "pixel_positions", lambda geometry, fast, slow, *rest, **names: original(
        geometry, slow, fast, *rest, **names))


@fault("Fbeam_m")
def half_pixel_forgotten(monkeypatch):
    monkeypatch.setattr(Detector, "_to_fast_slow", lambda self, x, y, pixel, size_s: (y, x))


@fault("h0")
def indices_rounded_down(monkeypatch):
    original = kernel.miller_indices

    def floored(*arguments):
        found = original(*arguments)
        nodes = torch.floor(found.hkl)
        return found._replace(nodes=nodes, offsets=found.hkl - nodes)

    for module in (kernel, terms):
        monkeypatch.setattr(module, "miller_indices", floored)


@fault("capture_fraction")
def captured_fraction_left_out(monkeypatch):
    monkeypatch.setattr(kernel, "capture_fraction", lambda layer, depth, mu, parallax: torch.ones_like(parallax))


@fault("omega_used_sr")
def solid_angle_of_the_last_sub_pixel(monkeypatch):
    see, ends = integrate._EndFactorCollector.see, terms.end_factors

    def see_last(self, step, look, polar, kept):
        see(self, step, look, polar, kept)
        self.omega = look.omega

    monkeypatch.setattr(integrate._EndFactorCollector, "see", see_last)
    for module in (terms, trace):
        monkeypatch.setattr(module, "end_factors", lambda choices, passes: ends(choices, passes)._replace(
            omega=passes[-1].aimed.omega))


@fault("omega_pixel_sr")
def obliquity_left_out(monkeypatch):
    original = kernel.solid_angle
    monkeypatch.setattr(kernel, "solid_angle", lambda geometry, airpath, **names: original(
        geometry, airpath, **names) * airpath / geometry.close_distance)


@fault("polar")
def polarised_across(monkeypatch):
    original = scene.polarization_forms
    monkeypatch.setattr(scene, "polarization_forms", lambda incident, axis, kahn: original(incident, axis, -kahn))


@fault("a_star_invA")
def misset_in_reverse_order(monkeypatch):
    def about_z_first(vectors, angles):
        for axis in (2, 1, 0):
            vectors = rotate_about(vectors, torch.eye(3, dtype=vectors.dtype)[axis], angles[axis])
        return vectors

    assert rotate_xyz is crystal_module.rotate_xyz
    monkeypatch.setattr(crystal_module, "rotate_xyz", about_z_first)


@fault("phi0_rad")
def phi_in_the_middle_of_its_step(monkeypatch):
    original = Crystal.phi_angles

    def centred(self):
        first, second = original(self)
        return torch.stack((first, second)) + 0.5 * (second - first)

    monkeypatch.setattr(Crystal, "phi_angles", centred)


@fault("mosaic_umats_row_major")
def mosaic_stream_of_another_seed(monkeypatch):
    original = crystal_module.mosaic_axes
    monkeypatch.setattr(crystal_module, "mosaic_axes", lambda domains, seed: original(domains, seed + 1))


@fault("sources_unit_xyz_weight_lambda_m")
def wavelengths_in_the_middle_of_their_step(monkeypatch):
    original = Beam._dispersed_wavelengths
    monkeypatch.setattr(Beam, "_dispersed_wavelengths", lambda self: original(self) * 0.5 + original(self).mean() * 0.5)


@fault("detector_thickstep_m")
def sensor_cut_into_equal_layers(monkeypatch):
    monkeypatch.setattr(Detector, "_layer_depth", lambda self: self.detector_thick_um * 1e-6 / self.layers)


@fault("F_cell")
def structure_factor_of_the_neighbour(monkeypatch):
    original = kernel.nearest_factor
    for module in (kernel, terms):
        monkeypatch.setattr(module, "nearest_factor", lambda grid, h0, k0, l0: original(grid, h0 + 1, k0, l0))


@fault("Na")
def one_cell_too_few(monkeypatch):
    original = Crystal.cell_counts
    monkeypatch.setattr(Crystal, "cell_counts", lambda self: original(self) - torch.tensor([1.0, 0.0, 0.0]))


@fault("steps")
def steps_of_phi_not_counted(monkeypatch):
    original = simulator_module.choose

    def miscounted(*models):
        choices = original(*models)
        return dataclasses.replace(choices, steps=choices.steps // 2)

    monkeypatch.setattr(simulator_module, "choose", miscounted)


@pytest.fixture(scope="module")
def reference(live_c_program, tmp_path_factory):
    """The C program's image and its trace of one pixel."""
    folder = tmp_path_factory.mktemp("reference") / "c"
    outcome = run_c_program(f"{WORDS} -trace_pixel {SLOW} {FAST}", folder, live_c_program, FILES)
    assert outcome.status == 0, outcome.stderr
    return outcome.image(), parse_trace(outcome.stdout.splitlines())


def failures_and_divergence(reference):
    """Texts of the parity verdict, and the first quantity that differs."""
    image, traced = reference
    forget_detectors()  # one that was made before the fault was planted would hide it
    model = simulator(WORDS, FILES)
    metrics = measure(image, model.run().float().numpy(), lambda: model)
    lines = trace.trace_lines(trace.trace_pixel(model, SLOW, FAST))
    return metrics.failures(), first_divergence(compare_traces(traced, parse_trace(lines)))


def test_without_a_fault_nothing_is_noticed(reference, record_property):
    record_property(PARITY, 1)
    assert failures_and_divergence(reference) == ([], None)


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_noticed_and_named(reference, monkeypatch, name):
    FAULTS[name].plant(monkeypatch)
    try:
        failures, divergence = failures_and_divergence(reference)
    finally:
        forget_detectors()
    assert failures
    assert divergence is not None
    assert divergence.quantity.name == FAULTS[name].shows_in


def test_at_least_ten_faults_of_different_quantities():
    assert len({entry.shows_in for entry in FAULTS.values()}) == len(FAULTS) >= 10


def test_image_is_bright_enough_to_judge(reference):
    image, traced = reference
    assert np.count_nonzero(image) == image.size
    assert sum(name == "I_term" for _, _, name in traced) == 3 * 4 * 2 * 2 * 3  # layers, sub-pixels, λ, φ, domains
