"""Clean physics against an independent reckoning, one fault of the canonical program at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import reckoning as by_hand
import torch
from reckoning import Reckoning, direct_axes, rotation

from nanobrag_torch import BeamConfig, Crystal, CrystalConfig, DetectorConfig, Quirks, SamplingConfig, Simulator

AGREEMENT = 1e-11
"""Relative difference between package and reckoning; measured: at most 1.5e-12."""
CELL = {"cell_a": 45.0, "cell_b": 55.0, "cell_c": 65.0, "misset_deg": (20.0, -10.0, 35.0), "N_cells": (4, 4, 4),
        "default_F": 80.0}
AXES = direct_axes(45, 55, 65, 90, 90, 90, (20, -10, 35))
DETECTOR = {"distance_mm": 80.0, "pixel_size_mm": 2.0, "spixels": 24, "fpixels": 24, "oversample": 1}
BEAM = {"wavelength_A": 1.1}
PIXELS = ((9, 15), (7, 14), (2, 21))


@dataclass(frozen=True)
class Experiment:
    """What the package simulates: fields of its configs beside those above, and a table of structure factors."""

    crystal: dict[str, Any] = field(default_factory=dict)
    detector: dict[str, Any] = field(default_factory=dict)
    beam: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    table: Any = None

    def image(self, quirks: Quirks | None = None) -> np.ndarray:
        """Photons (slow, fast); clean physics by default."""
        model = Crystal(CrystalConfig(**CELL | self.crystal), structure_factors=self.table)
        simulator = Simulator(model, DetectorConfig(**DETECTOR | self.detector), BeamConfig(**BEAM | self.beam),
                              sampling=SamplingConfig(**self.sampling), quirks=quirks)
        with torch.no_grad():
            return simulator.run().numpy()


@dataclass(frozen=True)
class Case:
    """A fault, an experiment that shows it, and the reckoning of that experiment."""

    quirk: str
    reckoning: Reckoning
    experiment: Experiment
    pixels: tuple[tuple[int, int], ...] = PIXELS

    def values(self, quirks: Quirks | None = None) -> np.ndarray:
        image = self.experiment.image(quirks)
        return np.array([image[pixel] for pixel in self.pixels])

    def reckoned(self) -> np.ndarray:
        return np.array([self.reckoning.photons(*pixel) for pixel in self.pixels])


def _grid():
    index = np.arange(-4, 5)
    values = 60.0 + 7 * index[:, None, None] + 5 * index[:, None] + 3 * index
    values += np.sin(np.arange(729)).reshape(9, 9, 9) * 10
    return SimpleNamespace(values=values, h_min=-4, k_min=-4, l_min=-4)


def _nearest_listed(table, default=80.0):
    def F(h, k, l):  # noqa: E741
        node = tuple(by_hand.nearest(x) + 4 for x in (h, k, l))
        return table.values[node] if all(0 <= n <= 8 for n in node) else default
    return F


def _interpolated(table):
    """Tricubic two nodes away from the ends of the list, else the nearest reflection."""
    def F(h, k, l):  # noqa: E741
        if not all(-4 + 2 <= x <= 4 - 2 for x in (h, k, l)):
            return _nearest_listed(table)(h, k, l)
        value, bases = 0.0, [math.floor(x) - 1 for x in (h, k, l)]
        for nodes in np.ndindex(4, 4, 4):
            weight = 1.0
            for x, base, node in zip((h, k, l), bases, nodes, strict=True):
                weight *= math.prod((x - base - other) / (node - other) for other in range(4) if other != node)
            value += weight * table.values[tuple(base + node + 4 for base, node in zip(bases, nodes, strict=True))]
        return value
    return F


def _swung(axis, degrees, near_f, near_s):
    """A MOSFLM detector swung about the sample: axes and corner."""
    turn = rotation(axis, degrees)
    f, s, o = np.array([0.0, 0, 1]), np.array([0.0, -1, 0]), np.array([1.0, 0, 0])
    return {"fdet": turn @ f, "sdet": turn @ s, "odet": turn @ o,
            "pix0": turn @ (0.08 * o - near_f * f - near_s * s)}


def _xds_about_the_beam_spot(degrees):
    """An XDS detector swung about the beam spot at its centre."""
    turn = rotation((1, 0, 0), degrees)
    f, s, o = turn @ [1.0, 0, 0], turn @ [0.0, 1, 0], turn @ [0.0, 0, 1]
    beam = np.array([0.0, 0, 1])
    return {"fdet": f, "sdet": s, "odet": o, "beam": beam, "pix0": 0.08 * beam - 24e-3 * f - 24e-3 * s,
            "spindle": (1, 0, 0), "polar_axis": (1, 0, 0), "sources": (((0, 0, -1.0), 1.1, 1.0),)}


def _normal_from_axes():
    """Normal fast x slow on the far side; the beam spot stays at the centre, at the stated distance."""
    beam, slow = np.array([1.0, 0, 0]), np.array([0.0, -1, 0])
    fast = np.array([0.3, 0, 0.954]) / np.linalg.norm([0.3, 0, 0.954])
    return {"fdet": fast, "sdet": slow, "odet": np.cross(fast, slow),
            "pix0": 0.08 * beam - 24e-3 * fast - 24e-3 * slow}


THREE_SOURCES = (((-10.0, 0, 0), 1.1, 1.0), ((-10.0, 0.3, -0.2), 1.1, 3.0), ((-10.0, -0.2, 0.4), 1.15, 0.5))
LISTED = {"source_directions": [list(source[0]) for source in THREE_SOURCES],
          "source_weights": [source[2] for source in THREE_SOURCES],
          "source_wavelengths_A": [source[1] for source in THREE_SOURCES]}
EQUAL = tuple((towards, wavelength, 1.0) for towards, wavelength, _ in THREE_SOURCES)
LONG_WAVES = (((-1.0, 0, 0), 3.0, 1.0),)
SENSOR = {"detector_thick_um": 450.0, "detector_abs_um": 200.0}
PLAIN = Reckoning(AXES)
SWUNG = _swung((0, 0, -1), 30, 26e-3, 26e-3)
CASES = [
    Case("phi_carryover", replace(PLAIN, phis_deg=(0.0, 2.0, 4.0)),
         Experiment(crystal={"osc_range_deg": 6.0, "phi_steps": 3})),
    Case("running_product", replace(PLAIN, oversample=2, kahn=0.9), Experiment(
        detector={"oversample": 2}, beam={"polarization_factor": 0.9},
        sampling={"oversample_polar": True, "oversample_omega": True})),
    Case("running_product", replace(PLAIN, layers=2, thickness=450e-6, depth=200e-6), Experiment(
        detector=SENSOR, sampling={"oversample_thick": True})),
    Case("source_weights_ignored", replace(PLAIN, sources=THREE_SOURCES), Experiment(beam=LISTED)),
    Case("interpolation_latch", replace(PLAIN, F=_interpolated(_grid()), sources=LONG_WAVES),
         Experiment(beam={"wavelength_A": 3.0}, table=_grid(), sampling={"interpolate": True}),
         ((9, 13), (2, 2), (14, 10))),
    Case("last_layer_capture", replace(PLAIN, layers=2, thickness=450e-6, depth=200e-6), Experiment(detector=SENSOR)),
    Case("sensor_layer_step", replace(PLAIN, layers=3, thickness=450e-6, depth=200e-6),
         Experiment(detector=SENSOR | {"detector_thicksteps": 3})),
    Case("polar_first_ray", replace(PLAIN, sources=EQUAL, kahn=0.95),
         Experiment(beam=LISTED | {"source_weights": [1.0] * 3, "polarization_factor": 0.95})),
    Case("omega_first_subpixel", replace(PLAIN, oversample=3), Experiment(detector={"oversample": 3})),
    Case("water_scaling", replace(PLAIN, oversample=2, water_um=10.0, fluence=1e24),
         Experiment(detector={"oversample": 2}, beam={"water_size_um": 10.0, "fluence": 1e24})),
    Case("curved_detector", replace(PLAIN, curved_about=(26e-3, 26e-3)), Experiment(detector={"curved": True})),
    Case("curved_detector", replace(PLAIN, curved_about=(26e-3, 26e-3), layers=2, thickness=450e-6, depth=200e-6),
         Experiment(detector=SENSOR | {"curved": True})),
    Case("triclinic_cell_axes", replace(PLAIN, axes_A=direct_axes(45, 55, 65, 75, 85, 95, (20, -10, 35))),
         Experiment(crystal={"cell_alpha": 75.0, "cell_beta": 85.0, "cell_gamma": 95.0})),
    Case("forced_pivot", replace(PLAIN, **_swung((0, 0, -1), 20, 26e-3, 26e-3)),
         Experiment(detector={"detector_twotheta_deg": 20.0, "detector_pivot": "sample"})),
    Case("forced_pivot", replace(PLAIN, **_xds_about_the_beam_spot(20)), Experiment(
        detector={"detector_convention": "xds", "detector_twotheta_deg": 20.0, "detector_pivot": "beam"})),
    Case("pix0_ignored", replace(PLAIN, pix0=np.array([0.07, 0.02, -0.03])),
         Experiment(detector={"detector_convention": "custom", "pix0_vector_m": (0.07, 0.02, -0.03)})),
    Case("twotheta_axis_unnormalised", replace(PLAIN, **_swung((0, 1, 0), 15, 24e-3, 24e-3)), Experiment(
        detector={"detector_convention": "custom", "detector_pivot": "sample", "twotheta_axis": (0.0, 2.0, 0.0),
                  "detector_twotheta_deg": 15.0})),
    Case("custom_normal_kept", replace(PLAIN, **_normal_from_axes()), Experiment(
        detector={"detector_convention": "custom", "fdet_vector": (0.3, 0.0, 0.954),
                  "sdet_vector": (0.0, -1.0, 0.0)})),
    Case("twotheta_distance", replace(PLAIN, curved_about=(26e-3, 26e-3), fdet=SWUNG["fdet"], sdet=SWUNG["sdet"]),
         Experiment(detector={"curved": True, "detector_twotheta_deg": 30.0})),
    Case("nopolar_defeated", replace(PLAIN, polarized=False),
         Experiment(beam={"nopolar": True}, sampling={"oversample_polar": True})),
    Case("spot_width_by_volume", replace(PLAIN, shape=by_hand.gauss, counts=(4, 2, 6)),
         Experiment(crystal={"shape": "gauss", "N_cells": (4, 2, 6)})),
    Case("spot_width_by_volume", replace(PLAIN, shape=by_hand.tophat, fudge=0.2),
         Experiment(crystal={"shape": "tophat", "fudge": 0.2})),
    Case("sinc3_cancellation",
         Reckoning(direct_axes(100, 100, 100, 90, 90, 90), shape=by_hand.round_crystal, counts=(5, 5, 5), pixel=1e-10,
                   distance=0.1, pix0=np.array((0.1, 4.5e-10, -4.5e-10))),
         Experiment(crystal={"cell_a": 100.0, "cell_b": None, "cell_c": None, "misset_deg": (0.0, 0.0, 0.0),
                             "shape": "round", "N_cells": (5, 5, 5)},
                    detector={"distance_mm": 100.0, "pixel_size_mm": 1e-7, "spixels": 9, "fpixels": 9,
                              "beam_center_f": 4.5e-7, "beam_center_s": 4.5e-7}),
         ((4, 5), (3, 3))),
    Case("single_precision_mosaic", replace(PLAIN, domains=by_hand.two_domains(60.0)),
         Experiment(crystal={"mosaic_spread_deg": 60.0, "mosaic_domains": 2})),
    Case("interpolation_before_size",
         replace(PLAIN, F=_nearest_listed(_grid()), counts=(5, 4, 4), sources=LONG_WAVES),
         Experiment(crystal={"N_cells": (1, 1, 1), "sample_size_mm": (2e-5, 2e-5, 2e-5)},
                    beam={"wavelength_A": 3.0}, table=_grid()), ((9, 13), (14, 10))),
]
IDS = [f"{case.quirk}-{number}" for number, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_clean_physics_agrees_with_the_reckoning(case):
    np.testing.assert_allclose(case.values(), case.reckoned(), rtol=AGREEMENT)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_fault_alone_changes_it(case):
    clean, faulty = case.values(), case.values(Quirks(**{case.quirk: True}))
    assert (np.abs(faulty - clean) > 1e4 * AGREEMENT * clean).any()


@pytest.mark.parametrize("shape", ["square", "round_crystal", "gauss", "tophat"])
def test_everything_at_once(shape):
    """Several sources of different weight, phi, domains, sub-pixels, layers, water and polarisation together."""
    reckoning = replace(PLAIN, shape=getattr(by_hand, shape), sources=THREE_SOURCES, phis_deg=(-1.0, 0.0, 1.0),
                        domains=by_hand.two_domains(0.5), oversample=2, layers=2, thickness=300e-6, depth=250e-6,
                        kahn=0.7, water_um=3.0, fluence=1e26)
    experiment = Experiment(
        crystal={"phi_start_deg": -1.0, "osc_range_deg": 3.0, "phi_steps": 3, "mosaic_spread_deg": 0.5,
                 "mosaic_domains": 2, "shape": shape.removesuffix("_crystal")},
        detector={"oversample": 2, "detector_thick_um": 300.0, "detector_abs_um": 250.0},
        beam=LISTED | {"polarization_factor": 0.7, "water_size_um": 3.0, "fluence": 1e26})
    case = Case("", reckoning, experiment)
    np.testing.assert_allclose(case.values(), case.reckoned(), rtol=AGREEMENT)


def test_resolution_limit_leaves_the_water():
    """Rays beyond dmin scatter nothing from the crystal; the water around it scatters all the same."""
    beam = {"water_size_um": 10.0, "fluence": 1e24}
    limited = Experiment(beam=beam | {"dmin_A": 20.0}).image()
    water_alone = Experiment(crystal={"default_F": 0.0}, beam=beam).image()
    assert np.array_equal(limited[:10], water_alone[:10])
    assert (Experiment(beam=beam).image()[:10] > water_alone[:10]).any()


@pytest.mark.parametrize("flag", ["oversample_thick", "oversample_polar", "oversample_omega"])
def test_oversample_flags_change_nothing(flag):
    """Every contribution has its own factors with and without them."""
    detector = {"oversample": 2, "detector_thick_um": 300.0, "detector_abs_um": 250.0}
    plain, flagged = (Experiment(detector=detector, sampling=sampling).image() for sampling in ({}, {flag: True}))
    assert np.array_equal(plain, flagged)


def test_pixels_do_not_depend_on_what_was_rendered_before():
    """phi through 0 and interpolation that is refused somewhere: state in the canonical program, none here."""
    experiment = Experiment(crystal={"osc_range_deg": 4.0, "phi_steps": 2}, beam={"wavelength_A": 3.0}, table=_grid(),
                            sampling={"interpolate": True})
    part = replace(experiment, detector={"roi_xmin": 10, "roi_xmax": 14, "roi_ymin": 9, "roi_ymax": 13})
    region = (slice(9, 14), slice(10, 15))
    np.testing.assert_allclose(part.image()[region], experiment.image()[region], rtol=AGREEMENT)
    upstream = Quirks.upstream()
    assert not np.allclose(part.image(upstream)[region], experiment.image(upstream)[region], rtol=1e-3)


def test_only_ratios_of_source_weights_count():
    tenfold = LISTED | {"source_weights": [10.0 * weight for weight in LISTED["source_weights"]]}
    np.testing.assert_allclose(Experiment(beam=tenfold).image(), Experiment(beam=LISTED).image(), rtol=AGREEMENT)


def test_reciprocal_axes_are_dual_to_the_cell_that_was_asked_for():
    model = Crystal(CrystalConfig(cell_a=45.0, cell_b=55.0, cell_c=65.0, cell_alpha=75.0, cell_beta=85.0,
                                  cell_gamma=95.0))
    axes = model.compute_cell_tensors().axes.numpy()
    lengths = np.linalg.norm(axes, axis=1)
    angles = [math.degrees(math.acos(axes[i] @ axes[j] / lengths[i] / lengths[j])) for i, j in ((1, 2), (2, 0), (0, 1))]
    np.testing.assert_allclose([*lengths, *angles], (45, 55, 65, 75, 85, 95), rtol=1e-13)
    np.testing.assert_allclose(model.compute_cell_tensors().reciprocal_axes.numpy() @ axes.T, np.eye(3), atol=1e-14)


def test_bent_pixels_all_face_the_crystal():
    simulator = Simulator(CrystalConfig(**CELL), DetectorConfig(**DETECTOR, curved=True), BeamConfig(**BEAM))
    np.testing.assert_allclose(simulator.detector.get_solid_angle().numpy(), (2.0 / 80.0) ** 2, rtol=1e-13)
