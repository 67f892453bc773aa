"""Models as crystallography and as torch modules."""

# ruff: noqa: C408 (keywords read like the calls they become)
from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nanobrag_torch.config import BeamConfig, ConfigError, CrystalConfig, DetectorConfig, DetectorConvention
from nanobrag_torch.geometry import norm
from nanobrag_torch.models import Beam, Crystal, Detector
from nanobrag_torch.quirks import Quirks
from nanobrag_torch.simulator import Simulator

SETUPS = json.loads((Path(__file__).parent / "data" / "setups.json").read_text())["cells"]
TRICLINIC = dict(cell_a=70.0, cell_b=80.0, cell_c=90.0, cell_alpha=75.0, cell_beta=85.0, cell_gamma=95.0)
MATRIX = dict(orientation_matrix=((0.012, 0.003, -0.004), (-0.002, 0.015, 0.001), (0.005, -0.001, 0.011)),
              matrix_wavelength_A=1.5)
CRYSTALS = {
    "T01": dict(cell_a=100.0),
    "T02": dict(TRICLINIC, misset_deg=(15, 20.5, 30.25)),
    "T23": dict(MATRIX, cell_a=None),
    "T28": dict(MATRIX, **TRICLINIC, misset_deg=(15, 20.5, 30.25)),
    "T24": dict(TRICLINIC, misset_random_seed=42),
}


class TestCell:
    @pytest.mark.parametrize("name", CRYSTALS)
    def test_vectors_of_the_canonical_program(self, name: str) -> None:
        cell = Crystal(CrystalConfig(**CRYSTALS[name]), quirks=Quirks.upstream()).compute_cell_tensors()
        for quantity in ("a", "b", "c", "a_star", "b_star", "c_star", "V"):
            np.testing.assert_array_equal(getattr(cell, quantity), SETUPS[name][quantity], err_msg=quantity)

    def test_random_misset_of_the_canonical_program(self) -> None:
        angles = Crystal(CrystalConfig(**CRYSTALS["T24"])).misset_angles()
        np.testing.assert_allclose(angles, SETUPS["T24"]["misset_rad"], rtol=1e-13)

    @settings(max_examples=60, deadline=None)
    @given(edges=st.tuples(*[st.floats(5, 500)] * 3), angles=st.tuples(*[st.floats(50, 118)] * 3),
           misset=st.tuples(*[st.floats(-180, 180)] * 3))
    def test_reciprocal_axes_are_dual_and_the_cell_is_the_one_asked_for(self, edges, angles, misset) -> None:
        config = dict(zip(("cell_a", "cell_b", "cell_c"), edges, strict=True)) | dict(
            zip(("cell_alpha", "cell_beta", "cell_gamma"), angles, strict=True))
        try:
            crystal = Crystal(CrystalConfig(**config, misset_deg=misset))
        except ConfigError:
            return
        cell = crystal.compute_cell_tensors()
        np.testing.assert_allclose(cell.axes @ cell.reciprocal_axes.T, np.eye(3), atol=1e-12 * max(edges) / min(edges))
        np.testing.assert_allclose(norm(cell.axes), edges, rtol=1e-12)
        np.testing.assert_allclose(torch.linalg.det(cell.axes), cell.V, rtol=1e-11)
        a, b, c = (axis / norm(axis) for axis in cell.axes)
        cosines = torch.stack(((b * c).sum(), (c * a).sum(), (a * b).sum()))
        np.testing.assert_allclose(cosines, np.cos(np.radians(angles)), atol=1e-11)

    def test_missing_edges_equal_a(self) -> None:
        np.testing.assert_allclose(norm(Crystal(CrystalConfig(cell_a=37.0)).compute_cell_tensors().axes), 37.0)

    def test_attributes_are_those_of_the_cell(self) -> None:
        crystal = Crystal(CrystalConfig(**TRICLINIC))
        cell = crystal.compute_cell_tensors()
        for name in cell._fields:
            assert torch.equal(getattr(crystal, name), getattr(cell, name))


class TestOrientations:
    def test_shape_units_and_first_domain(self) -> None:
        crystal = Crystal(CrystalConfig(**TRICLINIC, phi_start_deg=3.0, osc_range_deg=2.0, phi_steps=4,
                                        mosaic_spread_deg=1.0, mosaic_domains=5))
        vectors = crystal.get_rotated_real_vectors()
        assert vectors.shape == (4, 5, 3, 3)
        still = Crystal(CrystalConfig(**TRICLINIC, phi_start_deg=4.0)).get_rotated_real_vectors()
        np.testing.assert_allclose(vectors[2, 0], still[0, 0], rtol=1e-14)
        np.testing.assert_allclose(norm(vectors) * 1e10, np.broadcast_to([70.0, 80.0, 90.0], (4, 5, 3)), rtol=1e-13)

    def test_steps_begin_at_the_start_of_each_interval(self) -> None:
        crystal = Crystal(CrystalConfig(phi_start_deg=10.0, osc_range_deg=3.0, phi_steps=3))
        np.testing.assert_allclose(torch.rad2deg(crystal.phi_angles()), [10.0, 11.0, 12.0], rtol=1e-14)
        assert crystal.plain_phi_angles() == crystal.phi_angles().tolist()

    def test_domains_turn_by_at_most_the_spread(self) -> None:
        crystal = Crystal(CrystalConfig(mosaic_spread_deg=2.0, mosaic_domains=200))
        rotations = crystal.domain_rotations(torch.eye(3, dtype=torch.float64))
        cosines = (rotations.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2
        angles = torch.rad2deg(torch.acos(cosines.clamp(-1, 1)))
        assert angles[0] == 0 and angles.max() <= 2.0 + 1e-9
        assert angles[1:].mean() == pytest.approx(0.841 * 2.0, rel=0.05)

    def test_cells_fill_the_size(self) -> None:
        crystal = Crystal(CrystalConfig(cell_a=100.0, N_cells=(3, 4, 5), sample_size_mm=(1.05e-4, 0.0, 1e-9)))
        assert crystal.cell_counts().tolist() == [11.0, 4.0, 1.0]

    @pytest.mark.parametrize(("edges", "angles", "misset", "whole", "counts"), [
        ((68.8, 40.0, 30.5), (90, 90, 90), (34.753, -40.974, 100.886), (8, 10, 20), [9, 11, 20]),
        ((76.0, 60.4, 52.0), (77.617, 81.823, 98.782), (91.483, 23.985, -39.693), (10, 26, 4), [11, 27, 5]),
        ((53.0, 56.3, 62.0), (90, 90, 120), (149.945, -29.444, 106.54), (14, 12, 1), [14, 12, 2]),
    ])
    def test_sizes_of_whole_cells_round_as_in_the_canonical_program(self, edges, angles, misset, whole, counts) -> None:
        """The last digit of the turned edges decides between a number of cells and one more."""
        sizes = tuple(float(f"{edge * count * 1e-7:.12g}") for edge, count in zip(edges, whole, strict=True))
        config = CrystalConfig(**dict(zip(("cell_a", "cell_b", "cell_c"), edges, strict=True)),
                               **dict(zip(("cell_alpha", "cell_beta", "cell_gamma"), angles, strict=True)),
                               misset_deg=misset, sample_size_mm=sizes)
        assert Crystal(config, quirks=Quirks.upstream()).cell_counts().tolist() == counts


class TestStructureFactors:
    @pytest.fixture
    def crystal(self) -> Crystal:
        values = np.arange(3 * 4 * 5, dtype=float).reshape(3, 4, 5)
        return Crystal(CrystalConfig(default_F=7.5), structure_factors=SimpleNamespace(
            values=values, h_min=-1, k_min=0, l_min=2))

    def test_nearest_node_ties_to_the_lower(self, crystal: Crystal) -> None:
        h = torch.tensor([-1.0, -0.5, -0.49, 1.5, 1.51], dtype=torch.float64)
        zero, two = torch.zeros_like(h), torch.full_like(h, 2.0)
        assert crystal.get_structure_factor(h, zero, two).tolist() == [0.0, 0.0, 20.0, 40.0, 7.5]

    def test_default_outside_the_box_however_far(self, crystal: Crystal) -> None:
        far = torch.tensor([-2.0, 2.0, 1e6, -1e6], dtype=torch.float64)
        assert crystal.get_structure_factor(far, far * 0, far * 0 + 2).tolist() == [7.5] * 4

    def test_without_a_list_all_are_the_default(self) -> None:
        crystal, index = Crystal(CrystalConfig(default_F=12.0)), torch.zeros(2, 3)
        assert torch.equal(crystal.get_structure_factor(index, index, index), torch.full((2, 3), 12.0).double())


    @pytest.mark.parametrize(("values", "message"), [
        (np.full((3, 3, 3), np.nan), "structure_factors: expected finite numbers"),
        (torch.full((3, 3, 3), torch.inf), "structure_factors: expected finite numbers"),
        (np.ones((3, 3, 3), dtype=complex), "structure_factors: expected real numbers"),
        (torch.ones(3, 3, 3, dtype=torch.complex64), "structure_factors: expected real numbers"),
        (np.ones((3, 3)), "structure_factors: expected a box of shape"),
        (torch.ones(3, 0, 3), "structure_factors: expected a box of shape"),
    ])
    def test_what_is_no_box_of_numbers_is_refused(self, values: object, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            Crystal(CrystalConfig(), structure_factors=SimpleNamespace(values=values, h_min=0, k_min=0, l_min=0))

    def test_lowest_indices_are_whole(self) -> None:
        with pytest.raises(ConfigError, match=r"k_min: expected a whole number, got 0\.5"):
            Crystal(CrystalConfig(), structure_factors=SimpleNamespace(values=np.ones((3, 3, 3)), h_min=0, k_min=0.5,
                                                                       l_min=0))


class TestSources:
    def test_grid_order_wavelength_innermost(self) -> None:
        beam = Beam(BeamConfig(wavelength_A=1.5, dispersion_percent=2.0, dispersion_steps=2, hdiv_range_mrad=4.0,
                               hdiv_steps=3, vdiv_range_mrad=6.0, vdiv_steps=3))
        sources = beam.sources(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
        expected = [(-0.999998000000667, 0, 0.00199999866666693), (-0.999995500003375, 0.00299999550000203, 0),
                    (-1, 0, 0), (-0.999995500003375, -0.00299999550000203, 0),
                    (-0.999998000000667, 0, -0.00199999866666693)]
        np.testing.assert_allclose(-sources.incident[::2], expected, atol=1e-14)
        np.testing.assert_allclose(sources.wavelength, [1.485e-10, 1.515e-10] * 5, rtol=1e-14)

    def test_listed_sources(self) -> None:
        beam = Beam(BeamConfig(wavelength_A=1.2, source_directions=[[-5, 0, 0], [0, -2, 0]], source_weights=[1, 3],
                               source_wavelengths_A=[float("nan"), 1.3]))
        sources = beam.sources(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
        assert sources.incident.tolist() == [[1, 0, 0], [0, 1, 0]] and sources.weight.tolist() == [0.5, 1.5]
        np.testing.assert_allclose(sources.wavelength, [1.2e-10, 1.3e-10])

    def test_flux_overrides_fluence(self) -> None:
        assert Beam(BeamConfig(fluence=5.0)).fluence_per_m2 == 5.0
        beam = Beam(BeamConfig(fluence=5.0, flux=1e12, exposure_s=0.5, beamsize_mm=0.1))
        assert beam.fluence_per_m2.item() == pytest.approx(5e19)

    @pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (-3.0, 0.0, 0.0), torch.tensor([2.0, 0.0, 0.0])])
    @pytest.mark.parametrize("needs", [dict(polarization_factor=0.5), dict(vdiv_range_mrad=1.0, vdiv_steps=2)],
                             ids=["polarised", "diverging"])
    def test_polarization_along_the_beam_is_refused(self, axis: object, needs: dict) -> None:
        with pytest.raises(ConfigError, match="polarization_axis: expected a direction that is not parallel"):
            Simulator(CrystalConfig(default_F=1.0), DetectorConfig(), BeamConfig(polarization_axis=axis, **needs))

    def test_polarization_along_the_beam_is_harmless_without_either(self) -> None:
        images = [Simulator(CrystalConfig(default_F=1.0), DetectorConfig(fpixels=4, spixels=4), beam).run()
                  for beam in (BeamConfig(), BeamConfig(polarization_axis=(1.0, 0.0, 0.0)))]
        assert torch.equal(*images)

    def test_dials_origin_has_no_signed_zero(self) -> None:
        detector = Detector(DetectorConfig(detector_convention=DetectorConvention.DIALS, orgx_px=0.5))
        assert str(detector.geometry().dials_origin_m[2].item()) == "0.0"


MODELS = [(Crystal, CrystalConfig, "cell_b", dict(cell_b=50.0)), (Detector, DetectorConfig, "distance_mm", {}),
          (Beam, BeamConfig, "wavelength_A", {})]


@pytest.mark.parametrize(("model", "config", "field", "start"), MODELS, ids=["crystal", "detector", "beam"])
class TestModules:
    """Models are `torch.nn.Module`s."""

    def test_numbers_are_buffers_until_refined(self, model, config, field, start) -> None:
        module = model(config(**start))
        assert list(module.parameters()) == []
        before = getattr(module, field).item()
        assert module.refine(field) is module
        parameter, = module.parameters()
        assert getattr(module, field) is parameter and parameter.item() == before and parameter.requires_grad
        module.refine(field)
        assert list(module.parameters()) == [parameter], "refining twice changes nothing"

    def test_a_parameter_in_the_config_stays_one(self, model, config, field, start) -> None:
        for dtype in (torch.float64, torch.float32):
            given = nn.Parameter(torch.tensor(3.25, dtype=dtype))
            module = model(config(**start | {field: given}))
            assert next(module.parameters()) is given
            assert getattr(module, field).dtype == torch.float64
            getattr(module, field).square().backward()
            assert given.grad == 6.5

    def test_a_tensor_in_the_config_receives_gradients(self, model, config, field, start) -> None:
        for dtype in (torch.float64, torch.float32):
            given = torch.tensor(3.25, dtype=dtype, requires_grad=True)
            module = model(config(**start | {field: given}))
            assert list(module.parameters()) == []
            getattr(module, field).square().backward()
            assert given.grad == 6.5

    def test_state_dict_round_trip(self, model, config, field, start) -> None:
        module, other = model(config(**start | {field: 7.125})).refine(field), model(config(**start | {field: 2.0}))
        missing, unexpected = other.load_state_dict(module.state_dict())
        assert not missing and not unexpected and getattr(other, field).item() == 7.125

    def test_storage_type_does_not_lower_the_precision_of_set_up(self, model, config, field, start) -> None:
        module = model(config(**start | {field: 7.125})).to(torch.float32)
        assert module.state_dict()[field].dtype == torch.float32
        assert getattr(module, field).dtype == torch.float64 and getattr(module, field).item() == 7.125

    def test_refining_what_has_no_value_is_refused(self, model, config, field, start) -> None:
        with pytest.raises(ValueError, match="cannot refine nonsense: there is no such field"):
            model(config(**start)).refine("nonsense")


def test_refining_a_missing_value_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot refine cell_b: it has no value"):
        Crystal(CrystalConfig()).refine("cell_b")


def test_modules_nest() -> None:
    bench = nn.ModuleDict(dict(crystal=Crystal(CrystalConfig()).refine("cell_a"),
                               detector=Detector(DetectorConfig()).refine("distance_mm", "detector_rotx_deg")))
    assert dict(bench.named_parameters()).keys() == {
        "crystal.cell_a", "detector.distance_mm", "detector.detector_rotx_deg"}


def test_sequences_of_tensors_keep_their_gradients() -> None:
    angles = [torch.tensor(value, requires_grad=True) for value in (1.0, 2.0, 3.0)]
    Crystal(CrystalConfig(misset_deg=(angles[0], 5.0, angles[2]))).misset_deg.sum().backward()
    assert angles[0].grad == 1 and angles[1].grad is None and angles[2].grad == 1
    entry = torch.tensor(0.5, requires_grad=True)
    beam = Beam(BeamConfig(source_directions=[[-10.0, entry, 0.0], [-10.0, 0.0, 0.0]],
                           source_weights=[entry, 1.0], source_wavelengths_A=[entry, 1.0]))
    (beam.source_directions.sum() + beam.source_weights.sum() + beam.source_wavelengths_A.sum()).backward()
    assert entry.grad == 3


def test_tensors_of_every_kind_make_an_image() -> None:
    """Float32, integer, one-element and parameter tensors in configs of all three models."""
    image = Simulator(
        CrystalConfig(cell_a=torch.tensor(50.0), cell_alpha=torch.tensor([90]), N_cells=torch.tensor([5, 5, 5]),
                      misset_deg=torch.tensor([1.0, 2.0, 3.0]), default_F=nn.Parameter(torch.tensor(100.0))),
        DetectorConfig(distance_mm=nn.Parameter(torch.tensor(80.0)), spixels=8, fpixels=8, pixel_size_mm=1.0,
                       oversample=1),
        BeamConfig(wavelength_A=torch.tensor([1.0], requires_grad=True),
                   source_directions=torch.tensor([[-1.0, 0, 0]]),
                   source_weights=torch.tensor([2.0]))).run()
    plain = Simulator(
        CrystalConfig(cell_a=50.0, N_cells=(5, 5, 5), misset_deg=(1.0, 2.0, 3.0), default_F=100.0),
        DetectorConfig(distance_mm=80.0, spixels=8, fpixels=8, pixel_size_mm=1.0, oversample=1),
        BeamConfig(wavelength_A=1.0)).run()
    assert image.shape == (8, 8) and torch.equal(image.detach(), plain)
