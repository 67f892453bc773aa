"""Clean physics against an independent reckoning, one fault of the canonical program at a time."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import reckoning as by_hand
import torch
from reckoning import Reckoning, direct_axes, rotation

from nanobrag_torch import BeamConfig, Crystal, CrystalConfig, DetectorConfig, Quirks, SamplingConfig, Simulator
from nanobrag_torch.deviates import mosaic_rotations

CELL = {"cell_a": 45.0, "cell_b": 55.0, "cell_c": 65.0, "misset_deg": (20.0, -10.0, 35.0), "N_cells": (4, 4, 4),
        "default_F": 80.0}
AXES = direct_axes(45, 55, 65, 90, 90, 90, (20, -10, 35))
DETECTOR = {"distance_mm": 80.0, "pixel_size_mm": 2.0, "spixels": 24, "fpixels": 24, "oversample": 1}
BEAM = {"wavelength_A": 1.1}
PIXELS = ((9, 15), (7, 14), (2, 21))
COMMAND_LINE = {"step_counts", "rmsd_counts_masked", "header_close_distance", "mask_beam_centre", "silent_cache",
                "clock_orientation", "noise_wraparound", "header_values"}
"""Faults of the command line: test_differences.py, tests/cli and tests/test_noise.py show those."""


def simulated(quirks=None, crystal=None, detector=None, beam=None, sampling=None, table=None, pixels=PIXELS):
    model = Crystal(CrystalConfig(**CELL | (crystal or {})), structure_factors=table)
    simulator = Simulator(model, DetectorConfig(**DETECTOR | (detector or {})), BeamConfig(**BEAM | (beam or {})),
                          sampling=SamplingConfig(**sampling or {}), quirks=quirks or Quirks.clean())
    with torch.no_grad():
        image = simulator.run()
    return np.array([image[slow, fast].item() for slow, fast in pixels])


class Case:
    """An experiment of the package, its reckoning, and the fault that it would show."""

    def __init__(self, quirk: str, reckoning: Reckoning, rtol: float = 1e-9, pixels=PIXELS, also=(), **experiment):
        self.quirk, self.reckoning, self.rtol, self.pixels = quirk, reckoning, rtol, pixels
        self.also, self.experiment = also, experiment

    def clean(self):
        return simulated(pixels=self.pixels, **self.experiment)

    def faulty(self):
        return simulated(quirks=Quirks(**dict.fromkeys((self.quirk, *self.also), True)), pixels=self.pixels,
                         **self.experiment)

    def reckoned(self):
        return np.array([self.reckoning.photons(*pixel) for pixel in self.pixels])


def _domains(spread_deg, count):
    from nanobrag_torch.deviates import mosaic_axes

    axes, factor = mosaic_axes(count, 12345678)
    turned = (rotation(axis, spread_deg * float(part)) for axis, part in zip(axes[1:], factor[1:], strict=True))
    return (np.eye(3), *turned)


def _grid():
    index = np.arange(-4, 5)
    values = 60.0 + 7 * index[:, None, None] + 5 * index[:, None] + 3 * index
    values += np.sin(np.arange(729)).reshape(9, 9, 9) * 10
    return SimpleNamespace(values=values, h_min=-4, k_min=-4, l_min=-4)


def _interpolated(table, default=80.0):
    """Tricubic where 4 x 4 x 4 nodes (by the program's stricter test) are there, else the nearest reflection."""
    def F(h, k, l):  # noqa: E741
        if all(-4 + 2 <= x <= 4 - 2 for x in (h, k, l)):
            value = 0.0
            bases = [math.floor(x) - 1 for x in (h, k, l)]
            for i in range(4):
                for j in range(4):
                    for m in range(4):
                        weight = 1.0
                        for x, base, node in zip((h, k, l), bases, (i, j, m), strict=True):
                            for other in range(4):
                                if other != node:
                                    weight *= (x - base - other) / (node - other)
                        value += weight * table.values[bases[0] + i + 4, bases[1] + j + 4, bases[2] + m + 4]
            return value
        node = [by_hand.nearest(x) + 4 for x in (h, k, l)]
        return table.values[tuple(node)] if all(0 <= n <= 8 for n in node) else default
    return F


def _swung(axis, degrees, near_f, near_s, distance=0.08):
    """A MOSFLM detector swung about the sample: axes and corner."""
    turn = rotation(axis, degrees)
    f, s, o = np.array([0.0, 0, 1]), np.array([0.0, -1, 0]), np.array([1.0, 0, 0])
    return {"fdet": turn @ f, "sdet": turn @ s, "odet": turn @ o,
            "pix0": turn @ (distance * o - near_f * f - near_s * s)}


THREE_SOURCES = (((-10.0, 0, 0), 1.1, 1.0), ((-10.0, 0.3, -0.2), 1.1, 3.0), ((-10.0, -0.2, 0.4), 1.15, 0.5))
LISTED = {"source_directions": [list(source[0]) for source in THREE_SOURCES],
          "source_weights": [source[2] for source in THREE_SOURCES],
          "source_wavelengths_A": [source[1] for source in THREE_SOURCES]}
EQUAL = tuple((towards, wavelength, 1.0) for towards, wavelength, _ in THREE_SOURCES)
SENSOR = {"detector_thick_um": 450.0, "detector_abs_um": 200.0}
PLAIN = Reckoning(AXES)
SWUNG = _swung((0, 0, -1), 30, 26e-3, 26e-3)

CASES = [
    Case("phi_carryover", replace(PLAIN, phis_deg=(0.0, 2.0, 4.0)), crystal={"osc_range_deg": 6.0, "phi_steps": 3}),
    Case("running_product", replace(PLAIN, oversample=2, kahn=0.9), detector={"oversample": 2},
         beam={"polarization_factor": 0.9}, sampling={"oversample_polar": True, "oversample_omega": True}),
    Case("source_weights_ignored", replace(PLAIN, sources=THREE_SOURCES), beam=LISTED),
    Case("interpolation_latch", replace(PLAIN, F=_interpolated(_grid()), sources=(((-1.0, 0, 0), 3.0, 1.0),)),
         beam={"wavelength_A": 3.0}, table=_grid(), sampling={"interpolate": True}, pixels=((9, 13), (2, 2), (14, 10))),
    Case("last_layer_capture", replace(PLAIN, layers=2, thickness=450e-6, depth=200e-6), detector=SENSOR),
    Case("sensor_layer_step", replace(PLAIN, layers=3, thickness=450e-6, depth=200e-6),
         detector=SENSOR | {"detector_thicksteps": 3}),
    Case("polar_first_ray", replace(PLAIN, sources=EQUAL, kahn=0.95), beam=LISTED | {
        "source_weights": [1.0] * 3, "polarization_factor": 0.95}),
    Case("omega_first_subpixel", replace(PLAIN, oversample=3), detector={"oversample": 3}),
    Case("water_scaling", replace(PLAIN, oversample=2, water_um=10.0, fluence=1e24), detector={"oversample": 2},
         beam={"water_size_um": 10.0, "fluence": 1e24}),
    Case("curved_detector", replace(PLAIN, curved_about=(26e-3, 26e-3)), detector={"curved": True}),
    Case("triclinic_cell_axes", replace(PLAIN, axes_A=direct_axes(45, 55, 65, 75, 85, 95, (20, -10, 35))),
         crystal={"cell_alpha": 75.0, "cell_beta": 85.0, "cell_gamma": 95.0}),
    Case("forced_pivot", replace(PLAIN, **_swung((0, 0, -1), 20, 26e-3, 26e-3)),
         detector={"detector_twotheta_deg": 20.0, "detector_pivot": "sample"}),
    Case("pix0_ignored", replace(PLAIN, pix0=np.array([0.07, 0.02, -0.03])),
         detector={"detector_convention": "custom", "pix0_vector_m": (0.07, 0.02, -0.03)}),
    Case("twotheta_axis_unnormalised", replace(PLAIN, **_swung((0, 1, 0), 15, 24e-3, 24e-3)),
         detector={"detector_convention": "custom", "detector_pivot": "sample", "twotheta_axis": (0.0, 2.0, 0.0),
                   "detector_twotheta_deg": 15.0}),
    Case("twotheta_distance", replace(PLAIN, curved_about=(26e-3, 26e-3), fdet=SWUNG["fdet"], sdet=SWUNG["sdet"]),
         detector={"curved": True, "detector_twotheta_deg": 30.0}),
    Case("nopolar_defeated", replace(PLAIN, polarized=False), beam={"nopolar": True},
         sampling={"oversample_polar": True}),
    Case("spot_width_by_volume", replace(PLAIN, shape=by_hand.gauss), crystal={"shape": "gauss"}),
    Case("spot_width_by_volume", replace(PLAIN, shape=by_hand.tophat, fudge=0.2),
         crystal={"shape": "tophat", "fudge": 0.2}),
    Case("sinc3_cancellation", Reckoning(direct_axes(100, 100, 100, 90, 90, 90), shape=by_hand.round_crystal,
                                         counts=(5, 5, 5), pixel=1e-10, distance=0.1,
                                         pix0=(0.1, 4.5e-10, -4.5e-10)),
         crystal={"cell_a": 100.0, "cell_b": None, "cell_c": None, "misset_deg": (0.0, 0.0, 0.0), "shape": "round",
                  "N_cells": (5, 5, 5)},
         detector={"distance_mm": 100.0, "pixel_size_mm": 1e-7, "spixels": 9, "fpixels": 9, "beam_center_f": 4.5e-7,
                   "beam_center_s": 4.5e-7}, pixels=((4, 5), (3, 3))),
    Case("single_precision_mosaic", replace(PLAIN, domains=_domains(60.0, 4)), rtol=2e-9,
         crystal={"mosaic_spread_deg": 60.0, "mosaic_domains": 4}),
    Case("interpolation_before_size", replace(PLAIN, F=lambda h, k, l: _nearest_in(_grid(), h, k, l),  # noqa: E741
                                              counts=(5, 4, 4), sources=(((-1.0, 0, 0), 3.0, 1.0),)),
         crystal={"N_cells": (1, 1, 1), "sample_size_mm": (2e-5, 2e-5, 2e-5)}, beam={"wavelength_A": 3.0},
         table=_grid(), pixels=((9, 13), (14, 10))),
    Case("custom_normal_kept", None, detector={"detector_convention": "custom", "fdet_vector": (0.3, 0.0, 0.954),
                                               "sdet_vector": (0.0, -1.0, 0.0)}),
]


def _nearest_in(table, h, k, l):  # noqa: E741
    node = tuple(by_hand.nearest(x) + 4 for x in (h, k, l))
    return table.values[node] if all(0 <= n <= 8 for n in node) else 80.0


def _custom_normal() -> Reckoning:
    """fast x slow, on the side of the beam; the beam spot stays at the centre, at the stated distance."""
    fast, slow = np.array([0.3, 0, 0.954]), np.array([0.0, -1, 0])
    fast /= np.linalg.norm(fast)
    normal = np.cross(fast, slow)
    normal *= math.copysign(1.0, normal @ np.array([1.0, 0, 0])) / np.linalg.norm(normal)
    corner = 0.08 * np.array([1.0, 0, 0]) - 24e-3 * fast - 24e-3 * slow
    return replace(PLAIN, fdet=fast, sdet=slow, odet=normal, pix0=corner)


CASES[-1].reckoning = _custom_normal()
IDS = [f"{case.quirk}-{number}" for number, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_clean_physics_agrees_with_the_reckoning(case):
    np.testing.assert_allclose(case.clean(), case.reckoned(), rtol=case.rtol)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_fault_changes_it(case):
    clean = case.clean()
    assert (np.abs(case.faulty() - clean) > 1e-8 * clean).any()


def test_every_fault_is_shown():
    assert {case.quirk for case in CASES} | COMMAND_LINE == {entry.name for entry in fields(Quirks)}


def test_mosaic_matrices_are_the_rotations_drawn():
    np.testing.assert_allclose(mosaic_rotations(math.radians(60.0), 4, 12345678), _domains(60.0, 4), atol=1e-7)


@pytest.mark.parametrize("shape", ["square", "round_crystal", "gauss", "tophat"])
def test_everything_at_once(shape):
    """Several sources of different weight, phi, domains, sub-pixels, layers, water and polarisation together."""
    reckoning = replace(PLAIN, shape=getattr(by_hand, shape), sources=THREE_SOURCES, phis_deg=(-1.0, 0.0, 1.0),
                        domains=_domains(0.5, 3), oversample=2, layers=2, thickness=300e-6, depth=250e-6, kahn=0.7,
                        water_um=3.0, fluence=1e26)
    measured = simulated(
        crystal={"phi_start_deg": -1.0, "osc_range_deg": 3.0, "phi_steps": 3, "mosaic_spread_deg": 0.5,
                 "mosaic_domains": 3, "shape": shape.removesuffix("_crystal")},
        detector={"oversample": 2, "detector_thick_um": 300.0, "detector_abs_um": 250.0},
        beam=LISTED | {"polarization_factor": 0.7, "water_size_um": 3.0, "fluence": 1e26})
    np.testing.assert_allclose(measured, [reckoning.photons(*pixel) for pixel in PIXELS], rtol=1e-9)
