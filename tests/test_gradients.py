"""Gradients of the image by every continuous parameter: against central differences, finite, bounded, usable."""

# ruff: noqa: C408 (keywords read like the calls they become)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck

from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig, SamplingConfig
from nanobrag_torch.models import Crystal, Detector
from nanobrag_torch.quirks import Quirks
from nanobrag_torch.simulator import Simulator

CRYSTAL = dict(
    cell_a=45.0, cell_b=55.0, cell_c=65.0, cell_alpha=82.0, cell_beta=95.0, cell_gamma=103.0,
    misset_deg=(20.0, -10.0, 35.0), phi_start_deg=5.0, osc_range_deg=1.0, phi_steps=2, mosaic_spread_deg=0.4,
    mosaic_domains=3, N_cells=(4.3, 3.7, 5.2), default_F=80.0, fudge=0.9)
DETECTOR = dict(
    distance_mm=80.0, spixels=64, fpixels=64, pixel_size_mm=0.4, oversample=1, detector_rotx_deg=4.0,
    detector_roty_deg=-3.0, detector_rotz_deg=2.0, detector_twotheta_deg=6.0, detector_thick_um=300.0,
    detector_abs_um=250.0, detector_thicksteps=2)
BEAM = dict(
    wavelength_A=1.1, dispersion_percent=1.0, dispersion_steps=2, hdiv_range_mrad=3.0, hdiv_steps=2,
    vdiv_range_mrad=2.0, vdiv_steps=2, polarization_factor=0.7, fluence=2e28, water_size_um=0.005)

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by torch's own forward mode

CORNERS = {"peak": (39, 51), "between": (56, 35)}
"""First slow and fast pixel of 2 x 2: on a reflection, and where all shapes give 1/60 to 1/200 of it."""

LISTED = dict(source_directions=((-10.0, 0.02, 0.01), (-9.0, -0.01, 0.03)), source_weights=(1.0, 2.5),
              source_wavelengths_A=(1.1, 1.12), dispersion_steps=1, hdiv_steps=1, vdiv_steps=1)
FLUX = dict(flux=1e12, exposure_s=0.3, beamsize_mm=0.2)
CUSTOM = dict(detector_convention="custom", beam_center_f=13.2, beam_center_s=13.2, twotheta_axis=(0.0, 0.1, -1.0))
MATRIX = dict(cell_a=None, orientation_matrix=((0.016, 0.005, -0.004), (-0.006, 0.015, 0.004), (0.004, -0.004, 0.013)),
              matrix_wavelength_A=1.1)


@dataclass(frozen=True)
class Parameter:
    """One differentiated field: its config, natural step, and what else the experiment has."""

    part: str
    field: str
    step: float
    settings: dict | None = None

    def experiment(self, shift: Tensor | None = None) -> dict:
        """Config keywords with the field at its start plus step·shift."""
        parts = {"crystal": dict(CRYSTAL), "detector": dict(DETECTOR), "beam": dict(BEAM)}
        parts[self.part] |= self.settings or {}
        start = torch.tensor(parts[self.part][self.field], dtype=torch.float64)
        parts[self.part][self.field] = start if shift is None else start + self.step * shift
        return parts

    def zero(self) -> Tensor:
        """The shift that changes nothing."""
        return torch.zeros_like(self.experiment()[self.part][self.field])

    def __str__(self) -> str:
        return self.field


def _many(part: str, step: float, *names: str, **settings) -> list[Parameter]:
    return [Parameter(part, name, step, settings) for name in names]


PARAMETERS = [
    *_many("crystal", 0.1, "cell_a", "cell_b", "cell_c"),
    *_many("crystal", 0.1, "cell_alpha", "cell_beta", "cell_gamma"),
    *_many("crystal", 0.1, "misset_deg", "phi_start_deg", "osc_range_deg", "mosaic_spread_deg", "N_cells", "fudge"),
    *_many("crystal", 0.1, "phi_step_deg", phi_step_deg=0.6),
    *_many("crystal", 0.01, "spindle_axis", spindle_axis=(0.1, -0.2, 0.9)),
    *_many("crystal", 10.0, "default_F"),
    *_many("crystal", 1e-4, "orientation_matrix", **MATRIX),
    *_many("crystal", 0.01, "matrix_wavelength_A", **MATRIX),
    *_many("detector", 0.3, "distance_mm"),
    *_many("detector", 0.3, "close_distance_mm", close_distance_mm=80.0),
    *_many("detector", 0.01, "pixel_size_mm"),
    *_many("detector", 0.2, "size_f_mm", "size_s_mm", size_f_mm=25.6, size_s_mm=25.6),
    *_many("detector", 0.1, "beam_x_mm", "beam_y_mm", beam_x_mm=13.0, beam_y_mm=13.0),
    *_many("detector", 0.1, "beam_center_f", "beam_center_s", beam_center_f=13.2, beam_center_s=13.2),
    *_many("detector", 0.3, "orgx_px", "orgy_px", orgx_px=33.5, orgy_px=33.5, detector_pivot="sample"),
    *_many("detector", 0.1, "close_x_mm", "close_y_mm", close_x_mm=13.2, close_y_mm=13.2,
           detector_convention="custom"),
    *_many("detector", 0.2, "detector_rotx_deg", "detector_roty_deg", "detector_rotz_deg", "detector_twotheta_deg"),
    *_many("detector", 0.01, "twotheta_axis", twotheta_axis=(0.1, 0.2, -0.9)),
    *_many("detector", 0.01, "fdet_vector", **CUSTOM, fdet_vector=(0.0, 0.02, 1.0)),
    *_many("detector", 0.01, "sdet_vector", **CUSTOM, sdet_vector=(0.01, -1.1, 0.0)),
    *_many("detector", 0.01, "odet_vector", **CUSTOM, odet_vector=(0.9, 0.0, 0.02)),
    *_many("detector", 0.01, "beam_vector", **CUSTOM, beam_vector=(1.0, 0.01, -0.01)),
    *_many("detector", 1e-4, "pix0_vector_m", **CUSTOM, pix0_vector_m=(0.08, 0.0132, -0.0132)),
    *_many("detector", 10.0, "detector_thick_um", "detector_abs_um"),
    *_many("beam", 0.003, "wavelength_A"),
    *_many("beam", 0.1, "dispersion_percent", "hdiv_range_mrad", "vdiv_range_mrad"),
    *_many("beam", 0.1, "hdiv_step_mrad", "vdiv_step_mrad", hdiv_step_mrad=2.5, vdiv_step_mrad=1.8),
    *_many("beam", 0.01, "source_directions", "source_wavelengths_A", **LISTED),
    *_many("beam", 0.3, "source_weights", **LISTED),
    *_many("beam", 0.1, "polarization_factor"),
    *_many("beam", 0.1, "polarization_axis", polarization_axis=(0.1, 0.3, 0.9)),
    *_many("beam", 1e27, "fluence"),
    *_many("beam", 1e11, "flux", **FLUX),
    *_many("beam", 0.03, "exposure_s", "beamsize_mm", **FLUX),
    *_many("beam", 0.001, "water_size_um"),
]


def table() -> Tensor:
    """Structure factors 40 to 120 electrons in a box of ±16, without a pattern."""
    return 80.0 + 40.0 * torch.sin(torch.arange(33.0**3, dtype=torch.float64) ** 2).reshape(33, 33, 33)


def simulator(parts: dict, corner: tuple[int, int] | None = None, *, shape: str = "square",
              factors: Tensor | None = None, sampling: dict | None = None, quirks: Quirks | None = None) -> Simulator:
    region = {} if corner is None else dict(
        roi_ymin=corner[0], roi_ymax=corner[0] + 1, roi_xmin=corner[1], roi_xmax=corner[1] + 1)
    listed = None if factors is None else SimpleNamespace(values=factors, h_min=-16, k_min=-16, l_min=-16)
    return Simulator(Crystal(CrystalConfig(**parts["crystal"] | dict(shape=shape)), structure_factors=listed),
                     DetectorConfig(**parts["detector"] | region), BeamConfig(**parts["beam"]),
                     sampling=SamplingConfig(**sampling or {}), quirks=quirks)


def pixels(parts: dict, corner: tuple[int, int], **options) -> Tensor:
    """Photons in 2 x 2 pixels, (2, 2)."""
    slow, fast = corner
    return simulator(parts, corner, **options).run()[slow:slow + 2, fast:fast + 2]


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors are small here: a second thread only costs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def assert_differentiable(image: Callable[[Tensor], Tensor], zero: Tensor) -> None:
    """The gradient of every pixel, relative to its value, equals central differences, backward and forward."""
    level = image(zero)
    assert (level > 0).all()
    assert gradcheck(lambda shift: image(shift) / level, zero.clone().requires_grad_(), eps=1e-5, atol=2e-6,
                     rtol=1e-6, check_forward_ad=True, check_undefined_grad=False)


@pytest.mark.parametrize("place", CORNERS)
@pytest.mark.parametrize(("shape", "parameter"), [
    (shape, parameter) for parameter in PARAMETERS for shape in ("square", "round", "gauss")
    if shape != "round" or parameter.part == "crystal"], ids=str)
def test_gradient_by_every_parameter(parameter: Parameter, shape: str, place: str) -> None:
    assert_differentiable(
        lambda shift: pixels(parameter.experiment(shift), CORNERS[place], shape=shape), parameter.zero())


EXPERIMENT = {"crystal": CRYSTAL, "detector": DETECTOR, "beam": BEAM}


@pytest.mark.parametrize("place", CORNERS)
@pytest.mark.parametrize("interpolate", [False, True], ids=["nearest", "tricubic"])
def test_gradient_by_structure_factors(interpolate: bool, place: str) -> None:
    directions = torch.cos(torch.arange(4 * 33.0**3, dtype=torch.float64) ** 2).reshape(4, 33, 33, 33)

    def image(shift: Tensor) -> Tensor:
        factors = table() + 10.0 * torch.tensordot(shift, directions, 1)
        return pixels(EXPERIMENT, CORNERS[place], factors=factors, sampling=dict(interpolate=interpolate))

    assert_differentiable(image, torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("place", CORNERS)
def test_gradient_by_default_structure_factor_beside_a_list(place: str) -> None:
    def image(shift: Tensor) -> Tensor:
        parts = EXPERIMENT | {"crystal": CRYSTAL | dict(default_F=80.0 + 10.0 * shift)}
        slow, fast = CORNERS[place]
        simulation = simulator(parts, CORNERS[place])
        simulation.crystal.set_structure_factors(SimpleNamespace(values=table()[:16], h_min=-16, k_min=-16, l_min=-16))
        return simulation.run()[slow:slow + 2, fast:fast + 2]

    assert_differentiable(image, torch.tensor(0.0, dtype=torch.float64))


@pytest.mark.parametrize("place", CORNERS)
@pytest.mark.parametrize(
    "parameter", [p for p in PARAMETERS if p.field in ("cell_a", "cell_beta", "misset_deg", "wavelength_A",
                                                       "distance_mm", "mosaic_spread_deg")], ids=str)
def test_gradient_through_interpolated_structure_factors(parameter: Parameter, place: str) -> None:
    assert_differentiable(
        lambda shift: pixels(parameter.experiment(shift), CORNERS[place], factors=table(),
                             sampling=dict(interpolate=True)), parameter.zero())


@pytest.mark.parametrize("settings", [dict(curved=True), dict(point_pixel=True), dict(oversample=2)],
                         ids=lambda settings: next(iter(settings)))
@pytest.mark.parametrize(
    "parameter", [p for p in PARAMETERS if p.field in ("distance_mm", "pixel_size_mm", "detector_twotheta_deg")],
    ids=str)
def test_gradient_on_other_detectors(parameter: Parameter, settings: dict) -> None:
    def image(shift: Tensor) -> Tensor:
        parts = parameter.experiment(shift)
        return pixels(parts | {"detector": parts["detector"] | settings}, CORNERS["peak"])

    assert_differentiable(image, parameter.zero())


STILL = {
    # cubic, beam along a* of a crystal on a symmetric detector: the direct beam and exact Bragg hits on pixel centres
    "crystal": dict(cell_a=50.0, cell_b=50.0, cell_c=50.0, cell_alpha=90.0, cell_beta=90.0, cell_gamma=90.0,
                    N_cells=(5.0, 4.0, 6.0), default_F=100.0, misset_deg=(0.0, 0.0, 0.0), phi_start_deg=0.0,
                    osc_range_deg=0.5, phi_steps=2, mosaic_spread_deg=0.2, mosaic_domains=2),
    "detector": dict(distance_mm=100.0, pixel_size_mm=0.5, spixels=48, fpixels=48, oversample=1,
                     beam_center_f=12.25, beam_center_s=12.25, detector_rotx_deg=0.0, detector_roty_deg=0.0,
                     detector_rotz_deg=0.0, detector_twotheta_deg=0.0, detector_thick_um=100.0,
                     detector_abs_um=200.0),
    "beam": dict(wavelength_A=1.0, polarization_factor=0.5, dispersion_percent=0.0, dispersion_steps=3,
                 hdiv_range_mrad=0.0, hdiv_steps=1, vdiv_range_mrad=0.0, vdiv_steps=1, fluence=1e29,
                 water_size_um=0.0),
}


def with_gradients(parts: dict) -> tuple[dict, dict[str, Tensor]]:
    """The experiment with every real field a leaf that requires its gradient, and those leaves by name."""
    leaves: dict[str, Tensor] = {}

    def leaf(name: str, value: object) -> object:
        if not isinstance(value, float | tuple):
            return value
        leaves[name] = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        return leaves[name]

    return {part: {name: leaf(name, value) for name, value in fields.items()}
            for part, fields in parts.items()}, leaves


@pytest.mark.parametrize("shape", ["square", "round", "gauss", "tophat"])
def test_every_pixel_of_an_image_has_finite_gradients_by_everything(shape: str) -> None:
    parts, leaves = with_gradients(STILL)
    leaves["table"] = table().requires_grad_()
    simulation = simulator(parts, shape=shape, factors=leaves["table"], sampling=dict(interpolate=False))
    geometry = simulation.detector.geometry()
    assert geometry.beam_f == 24.5 * geometry.pixel_size, "the direct beam hits a pixel centre"
    image = simulation.run()
    assert torch.isfinite(image).all()
    image.backward(0.5 + torch.rand(48, 48, generator=torch.manual_seed(1)).double())
    for name, value in leaves.items():
        assert value.grad is None or torch.isfinite(value.grad).all(), name
    moving = sum(value.grad is not None and bool((value.grad != 0).any()) for value in leaves.values())
    assert moving >= (14 if shape == "tophat" else 20), "a tophat spot has no slope, its brightness has"


def slopes(sampling: dict, quirks: Quirks, **detector: object) -> tuple[Tensor, dict[str, Tensor]]:
    """Image of 3 x 4 pixels and the gradient of its weighted sum."""
    parts, leaves = with_gradients(EXPERIMENT | {"detector": DETECTOR | detector})
    parts["detector"] |= dict(roi_xmin=50, roi_xmax=53, roi_ymin=38, roi_ymax=40)
    leaves["table"] = table().requires_grad_()
    image = simulator(parts, factors=leaves["table"], sampling=dict(interpolate=False) | sampling, quirks=quirks).run()
    torch.sum(image * torch.cos(torch.arange(64.0))).backward()
    return image, {name: value.grad for name, value in leaves.items() if value.grad is not None}


@pytest.mark.parametrize("quirks", [Quirks.clean(), Quirks(running_product=True)], ids=["clean", "running-product"])
@pytest.mark.parametrize("budget", [2**16, 2**18, 2**21])
def test_a_small_memory_budget_changes_no_gradient(budget: int, quirks: Quirks) -> None:
    """Pieces of one sub-pixel, of one pixel, and of a few pixels give what the whole gives."""
    flags = dict(oversample_omega=True)
    whole_image, whole = slopes(flags, quirks, oversample=2)
    image, parts = slopes(flags | dict(memory_budget_bytes=budget), quirks, oversample=2)
    torch.testing.assert_close(image, whole_image, rtol=1e-12, atol=0)
    assert parts.keys() == whole.keys()
    for name, slope in whole.items():
        torch.testing.assert_close(parts[name], slope, rtol=1e-9, atol=1e-11 * float(slope.abs().max()))


def test_functional_transforms() -> None:
    """`torch.func` and dual numbers see the same derivative as backward."""
    def brightness(shift: Tensor) -> Tensor:
        return pixels(PARAMETERS[0].experiment(shift), CORNERS["peak"]).sum()

    start = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    expected, = torch.autograd.grad(brightness(start), start)
    start = start.detach()
    torch.testing.assert_close(torch.func.grad(brightness)(start), expected)
    torch.testing.assert_close(torch.func.jvp(brightness, (start,), (torch.ones_like(start),))[1], expected)
    with forward_ad.dual_level():
        dual = brightness(forward_ad.make_dual(start, torch.ones_like(start)))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, expected)


def test_second_derivative() -> None:
    """Newton's method and error estimates need it: backward of backward equals the difference of gradients."""
    def slope(shift: Tensor, *, create_graph: bool) -> Tensor:
        image = pixels(PARAMETERS[0].experiment(shift), CORNERS["peak"])
        return torch.autograd.grad(image.sum(), shift, create_graph=create_graph)[0]

    start = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    second, = torch.autograd.grad(slope(start, create_graph=True), start)
    step = 1e-5
    up, down = (slope((start.detach() + sign * step).requires_grad_(), create_graph=False) for sign in (1, -1))
    torch.testing.assert_close(second, (up - down) / (2 * step), rtol=1e-6, atol=0)


def test_an_optimiser_finds_cell_and_distance() -> None:
    truth = dict(cell_a=50.0, cell_b=60.0, cell_c=70.0, N_cells=(4, 4, 4), default_F=100.0, misset_deg=(20, -10, 35))
    screen = dict(spixels=48, fpixels=48, pixel_size_mm=0.5, oversample=1)
    target = Simulator(CrystalConfig(**truth), DetectorConfig(distance_mm=80.0, **screen)).run()
    crystal = Crystal(CrystalConfig(**truth | dict(cell_a=50.3, cell_b=59.6))).refine("cell_a", "cell_b")
    detector = Detector(DetectorConfig(distance_mm=80.4, **screen)).refine("distance_mm")
    simulation = Simulator(crystal, detector)
    optimiser = torch.optim.LBFGS([*crystal.parameters(), *detector.parameters()], max_iter=40,
                                  line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        misfit = torch.mean(torch.square(simulation.run() - target)) / torch.mean(torch.square(target))
        misfit.backward()
        return misfit

    optimiser.step(loss)
    found = [crystal.cell_a.item(), crystal.cell_b.item(), detector.distance_mm.item()]
    assert found == pytest.approx([50.0, 60.0, 80.0], abs=1e-4)
