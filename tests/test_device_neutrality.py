"""No operation mixes devices: the whole forward path on tensors that claim to be on a graphics card.

Under `FakeTensorMode` nothing is computed, but every operation checks devices and shapes; real runs on a card follow
where there is one. Excluded, because they decide by computed values and so need real ones: the automatic number of
sub-pixels (`oversample=None`) and interpolation by a crystal size in mm, which read lattice lengths once; and the
canonical program's order-dependent faults, which search the raster for the pixel where they change state.
"""

# ruff: noqa: C408 (keywords read like the calls they become)
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

from nanobrag_torch import kernel
from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig, SamplingConfig
from nanobrag_torch.models import Beam, Crystal, Detector
from nanobrag_torch.quirks import Quirks
from nanobrag_torch.simulator import Simulator

CARD = "cuda:0"

CRYSTAL = dict(cell_a=45.0, cell_b=55.0, cell_c=65.0, cell_beta=95.0, misset_deg=(20.0, -10.0, 35.0),
               N_cells=(4, 3, 5), default_F=80.0, phi_start_deg=5.0, osc_range_deg=1.0, phi_steps=2,
               mosaic_spread_deg=0.5, mosaic_domains=3)
DETECTOR = dict(distance_mm=80.0, spixels=4, fpixels=5, pixel_size_mm=8.0, oversample=1, detector_thick_um=300.0,
                detector_abs_um=200.0, detector_thicksteps=2, detector_rotx_deg=3.0, detector_twotheta_deg=8.0)
BEAM = dict(wavelength_A=1.1, hdiv_range_mrad=2.0, hdiv_steps=2, vdiv_range_mrad=3.0, vdiv_steps=3,
            dispersion_percent=1.0, dispersion_steps=2, polarization_factor=0.8, water_size_um=0.01, dmin_A=2.0)
LISTED = dict(source_directions=((-10.0, 0.1, 0.0), (-9.0, 0.0, 0.2)), source_weights=(1.0, 3.0),
              source_wavelengths_A=(1.1, float("nan")))
VECTORS = dict(detector_convention="custom", fdet_vector=(0.0, 0.1, 1.0), sdet_vector=(0.0, -1.0, 0.1),
               odet_vector=(1.0, 0.0, 0.0), beam_vector=(1.0, 0.01, 0.0), twotheta_axis=(0.0, 1.0, 0.0),
               pix0_vector_m=(0.08, 0.02, -0.02))
MATRIX = dict(cell_a=None, orientation_matrix=np.array([[16, 5, -4], [-6, 15, 4], [4, -4, 13]]) / 1000)

EXPERIMENTS = {
    "square": {},
    "round": dict(crystal=dict(shape="round")),
    "gauss": dict(crystal=dict(shape="gauss")),
    "tophat": dict(crystal=dict(shape="tophat")),
    "orientation-matrix": dict(crystal=MATRIX),
    "random-orientation": dict(crystal=dict(misset_random_seed=4)),
    "sample-size": dict(crystal=dict(sample_size_mm=(1e-5, 2e-5, 3e-5))),
    "spindle": dict(crystal=dict(spindle_axis=(0.1, 0.2, 1.0), phi_step_deg=0.3)),
    "list-nearest": dict(listed=True, sampling=dict(interpolate=False)),
    "list-tricubic": dict(listed=True, sampling=dict(interpolate=True)),
    "list-automatic": dict(listed=True),
    "region-and-mask": dict(detector=dict(roi_xmin=1, roi_xmax=3, roi_ymin=1, roi_ymax=3,
                                          mask_array=np.arange(20).reshape(4, 5) % 7 > 0)),
    "sub-pixels": dict(detector=dict(oversample=2, detector_thicksteps=1)),
    "curved": dict(detector=dict(curved=True)),
    "point-pixel": dict(detector=dict(point_pixel=True)),
    "vectors": dict(detector=VECTORS),
    "xds": dict(detector=dict(detector_convention="xds", orgx_px=2.0, orgy_px=3.0)),
    "adxv": dict(detector=dict(detector_convention="adxv", beam_x_mm=20.0, beam_y_mm=15.0)),
    "beam-centre": dict(detector=dict(beam_center_f=20.0, beam_center_s=15.0, close_distance_mm=80.0)),
    "source-list": dict(beam=LISTED),
    "flux": dict(beam=dict(flux=1e12, exposure_s=0.1, beamsize_mm=0.1, nopolar=True, polarization_axis=(0, 0.1, 1))),
    "small-budget": dict(detector=dict(roi_xmin=1, roi_xmax=2, roi_ymin=1, roi_ymax=1), sampling=dict(
        memory_budget_bytes=2**17)),
    "oversampled-factors": dict(sampling=dict(oversample_thick=True, oversample_polar=True, oversample_omega=True),
                                quirks=Quirks(running_product=True)),
    "faults": dict(quirks=Quirks.upstream()),
}


def simulator(device: str, *, crystal: dict | None = None, detector: dict | None = None, beam: dict | None = None,
              sampling: dict | None = None, listed: bool = False, quirks: Quirks | None = None,
              dtype: str = "float64") -> Simulator:
    factors = SimpleNamespace(values=np.full((13, 13, 13), 50.0), h_min=-6, k_min=-6, l_min=-6) if listed else None
    return Simulator(
        Crystal(CrystalConfig(**CRYSTAL | (crystal or {})), structure_factors=factors, device=device),
        Detector(DetectorConfig(**DETECTOR | (detector or {})), device=device),
        Beam(BeamConfig(**BEAM | (beam or {})), device=device), sampling=SamplingConfig(**sampling or {}),
        quirks=quirks, device=device, dtype=dtype)


class WithoutShortCuts(TorchFunctionMode):
    """Indexing and inversion as dispatched operators.

    The short cuts that `tensor[...]` and `~tensor` take otherwise select the card before `FakeTensorMode` is asked,
    which fails where torch has no CUDA.
    """

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function is Tensor.__invert__:
            return torch.bitwise_not(*arguments)
        if function is not Tensor.__getitem__ or not isinstance(arguments[0], FakeTensor):
            return function(*arguments, **options or {})
        tensor, index = arguments
        index = index if isinstance(index, tuple) else (index,)
        if Ellipsis in [entry for entry in index if not isinstance(entry, Tensor)]:
            place = index.index(Ellipsis)
            consumed = sum(entry is not None for entry in index) - 1
            index = index[:place] + (slice(None),) * (tensor.dim() - consumed) + index[place + 1:]
        return self.indexed(tensor, index)

    @staticmethod
    def indexed(tensor: Tensor, index: tuple) -> Tensor:
        axis = 0
        for entry in index:
            match entry:
                case None:
                    tensor = torch.unsqueeze(tensor, axis)
                case slice():
                    tensor = torch.ops.aten.slice(tensor, axis, entry.start, entry.stop, entry.step or 1)
                case int():
                    tensor, axis = torch.select(tensor, axis, entry), axis - 1
                case _:
                    if not isinstance(entry, Tensor):
                        entry = torch.as_tensor(entry, device=tensor.device)
                    tensor = torch.ops.aten.index(tensor, [None] * axis + [entry])
            axis += 1
        return tensor


def fake_image(dtype: str = "float64", **experiment) -> torch.Tensor:
    with torch.no_grad(), FakeTensorMode(), WithoutShortCuts():
        return simulator(CARD, dtype=dtype, **experiment).run()


@pytest.mark.parametrize(("name", "dtype"), [
    *[(name, "float64") for name in EXPERIMENTS],
    *[(name, dtype) for name in ("square", "curved", "list-tricubic") for dtype in ("mixed", "float32")]])
def test_forward_path_stays_on_the_device(name: str, dtype: str) -> None:
    image = fake_image(dtype, **EXPERIMENTS[name])
    assert isinstance(image, FakeTensor) and image.device.type == "cuda" and image.shape == (4, 5)
    assert image.dtype == (torch.float32 if dtype == "float32" else torch.float64)


@pytest.mark.parametrize("name", ["square", "list-tricubic", "region-and-mask"])
def test_models_made_on_the_host_move_to_the_device(name: str) -> None:
    settings = EXPERIMENTS[name]
    factors = SimpleNamespace(values=np.full((13, 13, 13), 50.0), h_min=-6, k_min=-6, l_min=-6)
    with torch.no_grad(), FakeTensorMode(), WithoutShortCuts():
        crystal = Crystal(CrystalConfig(**CRYSTAL), structure_factors=factors)
        detector = Detector(DetectorConfig(**DETECTOR | settings.get("detector", {})))
        simulation = Simulator(crystal, detector, BeamConfig(**BEAM), device=CARD,
                               sampling=SamplingConfig(interpolate=name == "list-tricubic"))
        assert simulation.run().device.type == crystal.cell_a.device.type == "cuda"


def test_every_public_quantity_of_the_models_is_on_the_device() -> None:
    with torch.no_grad(), FakeTensorMode(), WithoutShortCuts():
        simulation = simulator(CARD, listed=True)
        crystal, detector, beam = simulation.crystal, simulation.detector, simulation.beam
        index = torch.zeros(5, device=CARD, dtype=torch.float64)
        quantities = [
            crystal.a, crystal.b, crystal.c, crystal.a_star, crystal.b_star, crystal.c_star, crystal.V,
            *crystal.compute_cell_tensors(), crystal.get_rotated_real_vectors(), crystal.misset_angles(),
            crystal.get_structure_factor(index, index, index), crystal.cell_counts(), detector.fdet_vec,
            detector.sdet_vec, detector.odet_vec, detector.pix0_vector, *detector.geometry(),
            detector.get_pixel_coords(), detector.get_solid_angle(), *beam.sources(detector.beam_direction()),
            beam.polarization_direction(), beam.fluence_per_m2]
        assert {quantity.device.type for quantity in quantities} == {"cuda"}


def test_a_mixed_device_operation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: one constant left on the host fails the run."""
    honest = kernel.solid_angle

    def careless(*arguments: object, **options: object) -> torch.Tensor:
        return honest(*arguments, **options) * torch.ones(1)

    monkeypatch.setattr(kernel, "solid_angle", careless)
    with pytest.raises(RuntimeError, match="same device|two different devices"):
        fake_image()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA graphics card")
class TestOnACard:
    @pytest.mark.parametrize("dtype", ["float64", "mixed", "float32"])
    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_image_equals_that_of_the_processor(self, name: str, dtype: str) -> None:
        with torch.no_grad():
            expected = simulator("cpu", **EXPERIMENTS[name]).run()
            found = simulator("cuda", dtype=dtype, **EXPERIMENTS[name]).run()
        assert found.device.type == "cuda"
        scale = {"float64": 1e-11, "mixed": 1e-5, "float32": 1e-3}[dtype] * float(expected.max())
        torch.testing.assert_close(found.cpu().double(), expected, rtol=0, atol=scale)

    def test_gradients_equal_those_of_the_processor(self) -> None:
        slopes = {}
        for device in ("cpu", "cuda"):
            simulation = simulator(device, detector=dict(oversample=1))
            simulation.crystal.refine("cell_a", "misset_deg", "mosaic_spread_deg")
            simulation.run().sum().backward()
            slopes[device] = [parameter.grad.cpu() for parameter in simulation.crystal.parameters()]
        for on_card, on_processor in zip(slopes["cuda"], slopes["cpu"], strict=True):
            torch.testing.assert_close(on_card, on_processor, rtol=1e-8, atol=0)
