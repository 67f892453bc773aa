"""The public Python surface: names, validation, the simulator's front."""

# ruff: noqa: C408 (keywords read like the calls they become)
from __future__ import annotations

import dataclasses
import inspect
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

import nanobrag_torch
from nanobrag_torch.config import (
    BeamConfig,
    ConfigError,
    CrystalConfig,
    CrystalShape,
    DetectorConfig,
    DetectorConvention,
    DetectorPivot,
    NoiseConfig,
    SamplingConfig,
)
from nanobrag_torch.models import Beam, Crystal, Detector
from nanobrag_torch.quirks import Quirks
from nanobrag_torch.simulator import Simulator, simulate

FIELDS = {
    CrystalConfig: """cell_a cell_b cell_c cell_alpha cell_beta cell_gamma misset_deg phi_start_deg osc_range_deg
        phi_steps spindle_axis mosaic_spread_deg mosaic_domains mosaic_seed N_cells default_F shape fudge""",
    DetectorConfig: """distance_mm pixel_size_mm spixels fpixels beam_center_s beam_center_f detector_rotx_deg
        detector_roty_deg detector_rotz_deg detector_twotheta_deg twotheta_axis detector_convention detector_pivot
        oversample roi_xmin roi_xmax roi_ymin roi_ymax mask_array""",
    BeamConfig: """wavelength_A source_directions source_weights polarization_factor nopolar polarization_axis flux
        beamsize_mm fluence water_size_um""",
}
METHODS = {
    Crystal: "a b c a_star b_star c_star V compute_cell_tensors load_hkl get_structure_factor get_rotated_real_vectors",
    Detector: "fdet_vec sdet_vec odet_vec pix0_vector get_pixel_coords get_solid_angle",
    Simulator: "run compute_statistics",
    Quirks: "upstream clean",
}
SMALL = dict(crystal=dict(cell_a=50.0, N_cells=(4, 4, 4), default_F=100.0),
             detector=dict(distance_mm=80.0, spixels=12, fpixels=10, pixel_size_mm=1.0, oversample=1))


def small(**changes: object) -> tuple[CrystalConfig, DetectorConfig]:
    return CrystalConfig(**SMALL["crystal"]), DetectorConfig(**SMALL["detector"] | changes)


class TestNames:
    def test_package_exports(self) -> None:
        assert set(nanobrag_torch.__all__) >= {
            "BeamConfig", "Beam", "Crystal", "CrystalConfig", "CrystalShape", "Detector", "DetectorConfig",
            "DetectorConvention", "DetectorPivot", "Experiment", "NoiseConfig", "Quirks", "SamplingConfig", "Simulator",
            "simulate"}
        for name in nanobrag_torch.__all__:
            assert getattr(nanobrag_torch, name).__name__ == name
            assert name in dir(nanobrag_torch)

    def test_a_name_that_is_not_there(self) -> None:
        with pytest.raises(AttributeError, match="module 'nanobrag_torch' has no attribute 'Cristal'"):
            _ = nanobrag_torch.Cristal

    @pytest.mark.parametrize("config", FIELDS, ids=lambda config: config.__name__)
    def test_fields_of_earlier_scripts(self, config: type) -> None:
        assert {field.name for field in dataclasses.fields(config)} >= set(FIELDS[config].split())

    @pytest.mark.parametrize("owner", METHODS, ids=lambda owner: owner.__name__)
    def test_methods_of_earlier_scripts_are_documented(self, owner: type) -> None:
        for name in METHODS[owner].split():
            assert inspect.getdoc(getattr(owner, name)), name

    def test_defaults(self) -> None:
        crystal, detector, beam = CrystalConfig(), DetectorConfig(), BeamConfig()
        assert (crystal.cell_a, crystal.cell_alpha, crystal.N_cells, crystal.fudge) == (100.0, 90.0, (1, 1, 1), 1.0)
        assert (detector.distance_mm, detector.pixel_size_mm, detector.spixels) == (100.0, 0.1, 1024)
        assert (beam.wavelength_A, beam.fluence) == (1.0, 125932015286227086360700780544.0)
        assert detector.detector_convention is DetectorConvention.MOSFLM and crystal.shape is CrystalShape.SQUARE

    def test_names_as_text_become_members(self) -> None:
        config = DetectorConfig(detector_convention="xds", detector_pivot="sample")
        assert config.detector_convention is DetectorConvention.XDS and config.detector_pivot is DetectorPivot.SAMPLE
        assert CrystalConfig(shape="gauss").shape is CrystalShape.GAUSS

    @pytest.mark.parametrize("config", [CrystalConfig, DetectorConfig, BeamConfig, SamplingConfig, NoiseConfig, Quirks])
    def test_configs_cannot_be_changed_by_accident(self, config: type) -> None:
        name = dataclasses.fields(config)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config(), name, 1)

    @pytest.mark.parametrize("module", ["nanobrag_torch", "nanobrag_torch.config", "nanobrag_torch.quirks",
                                        "nanobrag_torch.experiment"])
    def test_import_does_not_import_torch(self, module: str) -> None:
        program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


NAN, INF = math.nan, math.inf
REFUSED = [
    (CrystalConfig, dict(cell_a=0.0), "cell_a: expected a finite edge above 0"),
    (CrystalConfig, dict(cell_b=-1.0), "cell_b: expected a finite edge above 0"),
    (CrystalConfig, dict(cell_c=NAN), "cell_c: expected a finite edge above 0"),
    (CrystalConfig, dict(cell_c=torch.tensor(INF)), "cell_c: expected a finite edge above 0"),
    (CrystalConfig, dict(cell_alpha=0.0), "cell_alpha: expected an angle between 0 and 180"),
    (CrystalConfig, dict(cell_gamma=180.0), "cell_gamma: expected an angle between 0 and 180"),
    (CrystalConfig, dict(cell_alpha=100.0, cell_beta=40.0, cell_gamma=50.0), "angles that close a cell"),
    (CrystalConfig, dict(cell_alpha=120.0, cell_beta=120.0, cell_gamma=120.0), "angles that close a cell"),
    (CrystalConfig, dict(cell_a=None), "cell_a: expected a cell edge or an orientation matrix"),
    (CrystalConfig, dict(orientation_matrix=np.zeros((3, 3))), "orientation_matrix: expected a finite, invertible"),
    (CrystalConfig, dict(orientation_matrix=np.eye(3) * NAN), "orientation_matrix: expected a finite, invertible"),
    (CrystalConfig, dict(misset_deg=(0.0, INF, 0.0)), "misset_deg: expected a finite number"),
    (CrystalConfig, dict(misset_deg="upright"), "misset_deg: expected a number"),
    (CrystalConfig, dict(misset_deg=(1.0, 2.0)), "misset_deg: expected a number"),
    (CrystalConfig, dict(misset_deg=5.0), "misset_deg: expected a number for each of three axes, got 5.0"),
    (CrystalConfig, dict(misset_deg=(1.0, "2", 3.0)), "misset_deg: expected a number for each of three axes, got '2'"),
    (CrystalConfig, dict(misset_deg=(1.0, torch.ones(1), 3.0)), "misset_deg: expected a number for each of three axes"),
    (CrystalConfig, dict(misset_deg=None), "misset_deg: expected a number for each of three axes, got None"),
    (CrystalConfig, dict(N_cells=5.0), "N_cells: expected a number for each of three axes, got 5.0"),
    (CrystalConfig, dict(spindle_axis=5.0), "spindle_axis: expected a number for each of three axes, got 5.0"),
    (CrystalConfig, dict(cell_a=(50.0, 60.0, 70.0)), r"cell_a: expected a number, got 'shape \(3,\)'"),
    (CrystalConfig, dict(cell_a=[50.0]), "cell_a: expected a number, got"),
    (CrystalConfig, dict(cell_a="50"), "cell_a: expected a number, got '50'"),
    (CrystalConfig, dict(cell_a=True), "cell_a: expected a number, got True"),
    (CrystalConfig, dict(cell_a=1j), "cell_a: expected a number, got 1j"),
    (CrystalConfig, dict(cell_a=torch.tensor(1j)), "cell_a: expected a number, got"),
    (CrystalConfig, dict(cell_a=torch.tensor([[50.0]])), r"cell_a: expected a number, got 'shape \(1, 1\)'"),
    (CrystalConfig, dict(cell_a=None, orientation_matrix=np.eye(3), cell_b="2"), "cell_b: expected a number, got '2'"),
    (CrystalConfig, dict(cell_alpha=None), "cell_alpha: expected a number, got None"),
    (CrystalConfig, dict(default_F=(50.0, 60.0, 70.0)), "default_F: expected a number, got"),
    (CrystalConfig, dict(default_F=torch.ones(3)), "default_F: expected a number, got"),
    (CrystalConfig, dict(fudge=(1.0, 1.0, 1.0)), "fudge: expected a number, got"),
    (CrystalConfig, dict(fudge=10**400), "fudge: expected a number, got 1000"),
    (CrystalConfig, dict(orientation_matrix=[["1", 0, 0], [0, 1, 0], [0, 0, 1]]), "orientation_matrix: expected 3"),
    (CrystalConfig, dict(shape="sphere"), "shape: expected one of square, round, gauss, tophat, got 'sphere'"),
    (CrystalConfig, dict(shape=None), "shape: expected one of square, round, gauss, tophat, got None"),
    (CrystalConfig, dict(phi_steps=2.0), "phi_steps: expected a whole number, 1 or above, got 2.0"),
    (CrystalConfig, dict(mosaic_seed=2.0), "mosaic_seed: expected a whole number from 1 to 2147483647, got 2.0"),
    (CrystalConfig, dict(phi_steps=0), "phi_steps: expected a whole number, 1 or above"),
    (CrystalConfig, dict(phi_steps=2.5), "phi_steps: expected a whole number, 1 or above"),
    (CrystalConfig, dict(spindle_axis=(0, 0, 0)), "spindle_axis: expected a vector that is not zero"),
    (CrystalConfig, dict(mosaic_spread_deg=-0.1), "mosaic_spread_deg: expected a finite number, 0 or above"),
    (CrystalConfig, dict(mosaic_domains=True), "mosaic_domains: expected a whole number"),
    (CrystalConfig, dict(N_cells=(5, -1, 5)), "N_cells: expected a finite number, 0 or above"),
    (DetectorConfig, dict(distance_mm=0.0), "distance_mm: expected a finite number above 0"),
    (DetectorConfig, dict(distance_mm=torch.tensor(-5.0, requires_grad=True)), "distance_mm: expected a finite"),
    (DetectorConfig, dict(pixel_size_mm=-0.1), "pixel_size_mm: expected a finite number above 0"),
    (DetectorConfig, dict(spixels=0), "spixels: expected a whole number, 1 or above"),
    (DetectorConfig, dict(oversample=0), "oversample: expected a whole number, 1 or above"),
    (DetectorConfig, dict(distance_mm=(50.0, 60.0, 70.0)), "distance_mm: expected a number, got"),
    (DetectorConfig, dict(distance_mm=None), "distance_mm: expected a number, got None"),
    (DetectorConfig, dict(detector_abs_um="thin"), "detector_abs_um: expected a number, got 'thin'"),
    (DetectorConfig, dict(detector_convention="cif"), "detector_convention: expected one of adxv, mosflm, .*got 'cif'"),
    (DetectorConfig, dict(detector_pivot=3), "detector_pivot: expected one of beam, sample, got 3"),
    (DetectorConfig, dict(spixels=2.0), "spixels: expected a whole number, 1 or above, got 2.0"),
    (DetectorConfig, dict(oversample=2.0), "oversample: expected a whole number, 1 or above, got 2.0"),
    (DetectorConfig, dict(roi_xmin=1.5), "roi_xmin: expected a whole number, got 1.5"),
    (DetectorConfig, dict(roi_ymax=5.0), "roi_ymax: expected a whole number, got 5.0"),
    (DetectorConfig, dict(beam_x_mm=NAN), "beam_x_mm: expected a finite number"),
    (DetectorConfig, dict(detector_abs_um=0.0), "detector_abs_um: expected an attenuation depth above 0"),
    (DetectorConfig, dict(twotheta_axis=(0, 0, 0)), "twotheta_axis: expected a vector that is not zero"),
    (DetectorConfig, dict(fdet_vector=(0, 0, 1)), "fdet_vector: expected the CUSTOM convention"),
    (DetectorConfig, dict(beam_center_f=1.0, orgx_px=5.0), "beam_center_f: expected no other beam-centre field"),
    (DetectorConfig, dict(roi_xmin=9, roi_xmax=3), "roi: expected bounds in ascending order"),
    (DetectorConfig, dict(roi_xmin=5000), "roi: expected bounds in ascending order that meet the detector"),
    (DetectorConfig, dict(mask_array=np.ones((3, 3), bool)), r"mask_array: expected shape \(1024, 1024\)"),
    (BeamConfig, dict(wavelength_A=10**400), "wavelength_A: expected a number, got 10"),
    (BeamConfig, dict(wavelength_A=0.0), "wavelength_A: expected a finite number above 0"),
    (BeamConfig, dict(dispersion_percent=200.0), "dispersion_percent: expected below 200"),
    (BeamConfig, dict(hdiv_range_mrad=-1.0), "hdiv_range_mrad: expected a finite number, 0 or above"),
    (BeamConfig, dict(polarization_axis=(0, 0, 0)), "polarization_axis: expected a vector that is not zero"),
    (BeamConfig, dict(fluence=(1.0, 2.0, 3.0)), "fluence: expected a number, got"),
    (BeamConfig, dict(wavelength_A="1"), "wavelength_A: expected a number, got '1'"),
    (BeamConfig, dict(source_directions=[["a", 0, 0]]), "source_directions: expected three numbers for every source"),
    (BeamConfig, dict(source_directions=torch.eye(1, 3), source_weights=["2"]), "source_weights: expected a number"),
    (BeamConfig, dict(fluence=INF), "fluence: expected a finite number, 0 or above"),
    (BeamConfig, dict(source_directions=[1.0, 0.0, 0.0]), r"source_directions: expected shape \(n, 3\), got \(3,\)"),
    (BeamConfig, dict(source_directions=[[1.0, 0, 0], [1.0, 0]]), r"source_directions: expected shape \(n, 3\)"),
    (BeamConfig, dict(source_directions=[]), r"source_directions: expected shape \(n, 3\), got \(0,\)"),
    (BeamConfig, dict(source_directions=torch.eye(3), source_weights=[1, 2]),
     r"source_weights: expected shape \(3,\), got \(2,\)"),
    (SamplingConfig, dict(memory_budget_bytes=0), "memory_budget_bytes: expected a whole number, 1 or above"),
    (NoiseConfig, dict(seed=0), "seed: expected a whole number from 1 to 2147483647"),
    (SamplingConfig, dict(memory_budget_bytes=1e9), "memory_budget_bytes: expected a whole number, 1 or above"),
    (NoiseConfig, dict(adc_offset=(1.0, 2.0, 3.0)), "adc_offset: expected a number, got"),
    (NoiseConfig, dict(adc_offset=NAN), "adc_offset: expected a finite number"),
]


@pytest.mark.parametrize(("config", "values", "message"), REFUSED, ids=lambda part: getattr(part, "__name__", None))
def test_impossible_values_are_refused_by_name(config: type, values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        config(**values)
    assert "\n" not in str(caught.value) and isinstance(caught.value, ValueError)


class TestSimulator:
    def test_image_is_slow_by_fast_and_not_negative(self) -> None:
        image = Simulator(*small()).run()
        assert image.shape == (12, 10) and image.dtype == torch.float64 and (image >= 0).all() and image.max() > 0

    def test_configs_models_and_the_one_liner_are_the_same_experiment(self) -> None:
        crystal, detector = small()
        expected, beam = Simulator(crystal, detector, BeamConfig(wavelength_A=1.2)).run(), BeamConfig(wavelength_A=1.2)
        assert torch.equal(Simulator(Crystal(crystal), Detector(detector), Beam(beam)).run(), expected)
        assert torch.equal(Simulator(crystal, detector, beam_config=beam).run(), expected)
        assert torch.equal(simulate(crystal, detector, beam), expected)

    def test_clean_physics_is_the_default(self) -> None:
        assert Simulator(*small()).quirks == Quirks.clean() == Quirks()

    def test_outside_region_and_mask_is_zero_and_inside_unchanged(self) -> None:
        whole = Simulator(*small()).run()
        mask = np.random.default_rng(1).random((12, 10)) > 0.3
        part = Simulator(*small(roi_xmin=2, roi_xmax=7, roi_ymin=3, roi_ymax=9, mask_array=mask)).run()
        inside = torch.zeros(12, 10, dtype=torch.bool)
        inside[3:10, 2:8] = True
        inside &= torch.as_tensor(mask)
        assert torch.equal(part, torch.where(inside, whole, 0.0))

    def test_a_mask_that_hides_everything(self) -> None:
        image = Simulator(*small(mask_array=np.zeros((12, 10), dtype=bool))).run()
        assert torch.equal(image, torch.zeros(12, 10, dtype=torch.float64))

    def test_statistics_and_summary(self) -> None:
        simulator = Simulator(*small(oversample=2))
        image = simulator.run()
        statistics = simulator.compute_statistics(image)
        assert statistics.max_I == image.float().max() == image.float()[statistics.max_slow, statistics.max_fast]
        assert statistics.rendered == 120 and statistics.mean == pytest.approx(float(image.mean()), rel=1e-6)
        assert (simulator.summary.oversample, simulator.summary.steps, simulator.summary.sources) == (2, 4, 1)

    def test_progress_counts_pixels_to_the_end(self) -> None:
        seen: list[tuple[int, int]] = []
        Simulator(*small(), sampling=SamplingConfig(memory_budget_bytes=2**17)).run(lambda *at: seen.append(at))
        assert [done for done, _ in seen] == sorted({done for done, _ in seen}) and len(seen) > 1
        assert seen[-1] == (120, 120)

    @pytest.mark.parametrize("budget", [2**13, 2**16, 2**22])
    def test_memory_budget_does_not_change_the_image(self, budget: int) -> None:
        crystal = CrystalConfig(**SMALL["crystal"], mosaic_spread_deg=1.0, mosaic_domains=7)
        detector, beam = small()[1], BeamConfig(dispersion_percent=1.0, dispersion_steps=3)
        whole = Simulator(crystal, detector, beam).run()
        cut = Simulator(crystal, detector, beam, sampling=SamplingConfig(memory_budget_bytes=budget)).run()
        torch.testing.assert_close(cut, whole, rtol=1e-10, atol=0)

    def test_a_run_does_not_depend_on_the_one_before(self) -> None:
        simulator = Simulator(*small())
        first = simulator.run()
        assert torch.equal(simulator.run(), first)

    def test_changed_parameters_change_the_next_image(self) -> None:
        simulator = Simulator(*small())
        simulator.crystal.refine("cell_a")
        first = simulator.run()
        with torch.no_grad():
            simulator.crystal.cell_a += 1.0
        expected = Simulator(CrystalConfig(**SMALL["crystal"] | dict(cell_a=51.0, cell_b=51.0)), small()[1]).run()
        second = simulator.run()
        assert not torch.equal(second, first)
        torch.testing.assert_close(second, expected, rtol=1e-12, atol=0, check_stride=False)
