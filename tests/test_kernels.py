"""The fast kernels: the same images, derivatives and refusals as the program's own order of operations gives.

Eagerly the kernels are plain functions of tensors and need no compiler; `test_packages` runs the compiled ones.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nanobrag_torch import fused, order
from nanobrag_torch.config import BeamConfig, CrystalConfig, CrystalShape, DetectorConfig, SamplingConfig
from nanobrag_torch.kernel import aim, passes, ray_sums
from nanobrag_torch.lanes import Lanes, suits
from nanobrag_torch.models import Crystal
from nanobrag_torch.packages import Kernels
from nanobrag_torch.physics.singularities import sinc3, sincg
from nanobrag_torch.quirks import Quirks
from nanobrag_torch.rates import moved
from nanobrag_torch.simulator import Simulator
from nanobrag_torch.views import look

CELL = {"cell_a": 70.0, "cell_b": 80.0, "cell_c": 90.0, "cell_alpha": 75.0, "cell_beta": 85.0, "cell_gamma": 95.0,
        "misset_deg": (15.0, 20.0, 30.0), "default_F": 100.0, "N_cells": (5, 4, 7)}
DETECTOR = {"spixels": 24, "fpixels": 20, "pixel_size_mm": 2.0, "oversample": 1}
DOMAINS = {"mosaic_spread_deg": 0.5, "mosaic_domains": 7}
COLOURS = {"dispersion_percent": 1.0, "dispersion_steps": 2, "hdiv_range_mrad": 2.0, "hdiv_steps": 2,
           "round_div": False}
MODES = {
    "plain": ({}, {}, {}, {}),
    "domains": (DOMAINS, {}, {}, {}),
    "phi": ({"osc_range_deg": 1.0, "phi_start_deg": 1.0, "phi_steps": 3, **DOMAINS}, {}, {}, {}),
    "sources": ({}, {}, COLOURS, {}),
    "sources and domains": (DOMAINS, {}, COLOURS, {}),
    "sub-pixels": ({}, {"oversample": 3}, {}, {}),
    "layers": ({}, {"detector_thick_um": 300.0, "detector_abs_um": 250.0, "detector_thicksteps": 3}, {}, {}),
    "layers and domains": (DOMAINS, {"detector_thick_um": 300.0, "detector_abs_um": 250.0, "oversample": 2,
                                     "detector_thicksteps": 3}, {}, {}),
    "point pixels": (DOMAINS, {"point_pixel": True, "oversample": 2}, {}, {}),
    "water": ({"default_F": 1.0}, {"oversample": 2}, {"water_size_um": 5.0, **COLOURS}, {}),
    "water, once": ({"default_F": 1.0}, {}, {"water_size_um": 5.0}, {}),
    "unpolarised": ({}, {}, {"nopolar": True}, {}),
    "region": (DOMAINS, {"roi_xmin": 3, "roi_xmax": 12, "roi_ymin": 5, "roi_ymax": 19}, {}, {}),
    "turned detector": ({}, {"detector_rotx_deg": 5.0, "detector_twotheta_deg": 12.0}, {}, {}),
    "table": ({}, {"oversample": 2}, {"wavelength_A": 3.0}, {"interpolate": False}),
    "table and domains": (DOMAINS, {}, {"wavelength_A": 3.0}, {"interpolate": False}),
    "tricubic": ({}, {}, {"wavelength_A": 3.0}, {"interpolate": True}),
    "tricubic and domains": (DOMAINS, {}, {"wavelength_A": 3.0}, {"interpolate": True}),
}


def _table(reach: int = 9) -> SimpleNamespace:
    values = np.random.default_rng(3).uniform(10.0, 500.0, (2 * reach + 1,) * 3)
    return SimpleNamespace(values=values, h_min=-reach, k_min=-reach, l_min=-reach)


def simulator(mode: str, *, shape: CrystalShape = CrystalShape.SQUARE, quirks: Quirks | None = None,
              compile: str = "off", dtype: str = "float64", **changes: float) -> Simulator:
    """The experiment of a mode, with fields of cell, detector or sampling changed."""
    crystal, detector, beam, sampling = MODES[mode]
    table = _table() if sampling else None
    detector = DETECTOR | detector | {name: value for name, value in changes.items() if name in DETECTOR}
    sampling = sampling | {name: value for name, value in changes.items() if name == "memory_budget_bytes"}
    fields = CELL | {"shape": shape} | crystal | {name: value for name, value in changes.items() if name in CELL}
    return Simulator(Crystal(CrystalConfig(**fields), structure_factors=table), DetectorConfig(**detector),
                     BeamConfig(**{"wavelength_A": 1.5} | beam), sampling=SamplingConfig(**sampling), quirks=quirks,
                     dtype=dtype, compile=compile)


def by_lanes(experiment: Simulator, kernels: Kernels) -> torch.Tensor:
    """The image with these kernels, the pixels that need an order of their own aside."""
    with torch.no_grad():
        scene, raster = experiment.scene(), experiment.raster
        assert suits(scene, experiment.choices)
        lanes = Lanes(kernels, scene, experiment.choices, raster)
        values = [lanes.photons(part, segment.interpolate) for segment in experiment.segments(scene)
                  for part in experiment._parts(scene, segment, lanes)]
        return raster.image(torch.cat(values))


@pytest.mark.parametrize("quirks", [Quirks.upstream(), Quirks.clean()], ids=["upstream", "clean"])
@pytest.mark.parametrize("mode", MODES)
def test_image_is_that_of_the_programs_own_order(mode, quirks):
    experiment = simulator(mode, quirks=quirks)
    with torch.no_grad():
        expected = experiment.run()
    image = by_lanes(experiment, Kernels("float64"))
    ordinary = torch.ones(len(experiment.raster), dtype=torch.bool)
    for segment in experiment.segments(experiment.scene()):
        ordinary[segment.start:segment.stop] = not segment.explicit
    kept = experiment.raster.image(ordinary.to(torch.float64)) > 0
    torch.testing.assert_close(image[kept], expected[kept], rtol=2e-9, atol=float(expected.max()) * 1e-12)


@pytest.mark.parametrize("shape", CrystalShape)
@pytest.mark.parametrize("mode", ["plain", "domains", "table and domains"])
def test_every_shape(mode, shape):
    experiment = simulator(mode, shape=shape, quirks=Quirks.clean())
    with torch.no_grad():
        expected = experiment.run()
    image = by_lanes(experiment, Kernels("float64"))
    torch.testing.assert_close(image, expected, rtol=1e-9, atol=float(expected.max()) * 1e-12)


@pytest.mark.parametrize("cells", [(5, 4, 7), (12, 1, 6)])
@pytest.mark.parametrize("mode", ["plain", "domains", "sources and domains", "table and domains"])
def test_few_cells_give_the_same_by_zeros_as_by_quotients(mode, cells):
    experiment = simulator(mode, N_cells=cells)
    scene, choices = experiment.scene(), experiment.choices
    assert scene.lattice.few == cells
    bearing = aim(scene, choices, *experiment.raster.coordinates(None, torch.float64), passes(choices)[0]).bearing
    quotients = scene._replace(lattice=scene.lattice._replace(few=None))
    found, expected = (ray_sums(either, choices, bearing, False, torch.float64, (slice(None), slice(None)))
                       for either in (scene, quotients))
    torch.testing.assert_close(found, expected, rtol=2e-12, atol=float(expected.max()) * 1e-14)


@pytest.mark.parametrize("mode", ["plain", "domains", "sub-pixels", "table"])
def test_mixed_precision_keeps_the_image(mode):
    experiment, single = simulator(mode), simulator(mode, dtype="mixed")
    expected, image = by_lanes(experiment, Kernels("float64")), by_lanes(single, Kernels("mixed"))
    bright = expected > 1e-3 * expected.max()
    assert ((image - expected).abs() / expected)[bright].max() < 1e-4
    assert 1.0 - np.corrcoef(image.flatten(), expected.flatten())[0, 1] < 1e-12


def test_chosen_pixels_alone_are_computed_and_equal():
    mask = np.zeros((24, 20), dtype=bool)
    mask[[3, 3, 17, 23], [0, 19, 4, 19]] = True
    whole = simulator("domains")
    chosen = Simulator(whole.crystal, DetectorConfig(**DETECTOR, mask_array=mask), whole.beam, compile="off")
    image = by_lanes(chosen, Kernels("float64"))
    expected = by_lanes(whole, Kernels("float64")) * torch.as_tensor(mask)
    torch.testing.assert_close(image, expected, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("dtype", fused.SINPI)
def test_sine_polynomials_are_as_good_as_they_claim(dtype):
    x = torch.linspace(-0.5, 0.5, 20001, dtype=torch.float64)
    value, slope = fused.sine_and_slope(x.to(dtype))
    claimed = {torch.float64: 3e-13, torch.float32: 4e-7}[dtype]
    expected = torch.sin(torch.pi * x.to(dtype).to(torch.float64))
    assert ((value - expected).abs() <= claimed * expected.abs()).all()
    # a derivative of the polynomial, which is chosen for the sine, is less good at the ends
    rough = {torch.float64: 4e-11, torch.float32: 3e-6}[dtype]
    assert ((slope - torch.pi * torch.cos(torch.pi * x)).abs() <= rough).all()


@pytest.mark.parametrize(("dtype", "cosine", "power"), [(torch.float64, 3e-15, 5e-15), (torch.float32, 4e-7, 4e-7)])
def test_cosine_and_power_are_as_good_as_they_claim(dtype, cosine, power):
    x = torch.linspace(-0.5, 0.5, 20001, dtype=torch.float64).to(dtype)
    found = fused.polynomial(fused.COSPI[dtype], x * x).to(torch.float64)
    assert (found - torch.cos(np.pi * x.to(torch.float64))).abs().max() < cosine
    x = torch.linspace(-100.0, 0.0, 20001, dtype=torch.float64).to(dtype)
    expected = torch.exp2(x.to(torch.float64))
    assert ((fused.power_of_two(x).to(torch.float64) - expected) / expected).abs().max() < power
    far = fused.power_of_two(torch.tensor([-1e3, -1e9, -1e300], dtype=torch.float64).to(dtype))
    assert (far >= 0).all() and (far <= 1e-35).all()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 2e-12), (torch.float32, 3e-6)])
def test_sphere_is_its_transform_on_either_side_of_the_series(dtype, error):
    x = torch.cat((torch.linspace(0.01, 3.0, 300, dtype=torch.float64), torch.linspace(3.0, 60.0, 300).double()))
    one = torch.zeros(12, dtype=dtype)
    one[0] = 1.0 / torch.pi
    found = fused.sphere(tuple(part.to(dtype) for part in (x, 0 * x, 0 * x)), one).to(torch.float64)
    x = x.to(dtype).to(torch.float64)
    expected = sinc3(x * x) ** 2
    assert ((found - expected) * x ** 4).abs().max() < error * 60.0**2
    assert ((found - expected)[:200] / expected[:200]).abs().max() < error
    assert fused.sphere((x[:1] * 0, x[:1] * 0, x[:1] * 0), one.to(torch.float64)).item() == 1.0


def test_tangents_are_taken_through_a_function():
    x, y = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor(4.0).double()
    along = torch.tensor([[1.0, 0, 0], [0, 2, 0]]).double(), torch.tensor([0.0, 1.0]).double()
    square, product, fixed = moved(lambda x, y: (x * x, y * x.sum(), torch.ones(2)), (x, y), along)
    assert square.tolist() == [[2.0, 0.0, 0.0], [0.0, 8.0, 0.0]]
    assert product.tolist() == [4.0, 8.0 + 6.0]
    assert fixed.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    other = torch.ones(2, requires_grad=True)
    for still in (torch.ones(2), other):
        assert moved(lambda x, y, still=still: (still * 2,), (x, y), along)[0].tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_node_itself_gives_the_height_of_the_peak():
    lattice = torch.zeros(12, dtype=torch.float64)
    lattice[:3] = torch.tensor([5.0, 4.0, 7.0])
    lattice[3:6] = fused.TINY[torch.float64] * lattice[:3] ** 2
    zero = torch.zeros(1, dtype=torch.float64)
    assert float(fused.grating((zero, zero, zero), lattice)) == pytest.approx((5 * 4 * 7) ** 2, rel=1e-14)
    value, *rates = fused.grating_slopes((zero, zero, zero), lattice)
    assert float(value) == pytest.approx((5 * 4 * 7) ** 2, rel=1e-14)
    assert all(float(rate) == 0.0 for rate in rates)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 3e-13), (torch.float32, 1.5e-6)])
@pytest.mark.parametrize("axis", range(3))
def test_grating_is_the_squared_quotient_of_sines_at_every_scale(axis, dtype, error):
    cells = (5.0, 4.0, 7.0)
    lattice = torch.zeros(12, dtype=dtype)
    lattice[:3] = torch.tensor(cells)
    f = torch.logspace(-20, np.log10(0.5), 20001, dtype=torch.float64)
    f = torch.cat((f, torch.zeros(1), -f)).to(dtype)
    others = np.prod(cells) / cells[axis]
    found = fused.grating(tuple(f if place == axis else torch.zeros_like(f) for place in range(3)), lattice) / others**2
    expected = torch.square(sincg(f.to(torch.float64), torch.tensor(cells[axis], dtype=torch.float64)))
    apart = (found - expected).abs() / cells[axis] ** 2
    assert apart[f.abs() > 1e-12].max() < error
    assert apart.max() < 2e-4  # where what is added at the node is the opposite of the sine


@pytest.mark.parametrize(("fraction", "oversample", "alone"), [
    (0.5, 1, True), (0.55, 1, True), (0.65, 1, False), (0.0, 1, False), (0.5, 2, False), (0.25, 2, True),
    (1 / 6, 3, True)])
def test_beam_on_a_point_of_evaluation_takes_a_round_crystals_pixel_out(fraction, oversample, alone):
    def cut(fast: float, slow: float) -> tuple[list, tuple[float, float]]:
        experiment = Simulator(CrystalConfig(**CELL | {"shape": CrystalShape.ROUND}), DetectorConfig(
            **DETECTOR | {"beam_center_f": fast, "beam_center_s": slow, "oversample": oversample}),
            BeamConfig(wavelength_A=1.5), quirks=Quirks.upstream(), compile="off")
        return experiment.segments(experiment.scene()), order._beam_spot(experiment.scene())

    pixel_mm = DETECTOR["pixel_size_mm"]
    _, (fast, slow) = cut(1.0, 1.0)
    pieces, spot = cut(*(1.0 + pixel_mm * (5.0 + fraction - place) for place in (fast, slow)))
    assert spot == pytest.approx((5.0 + fraction, 5.0 + fraction), abs=1e-9)
    singled = [piece for piece in pieces if piece.alone]
    assert [piece.start for piece in singled] == ([5 * DETECTOR["fpixels"] + 5] if alone else [])


def test_a_table_is_read_within_its_ends_only():
    """Compiled, a place beyond would be another program's memory."""
    table = fused.Table(torch.arange(64.0).double(), torch.tensor([-1.0, -1.0, -1.0, 4.0, 4.0, 4.0]).double())
    far = torch.tensor([-float("inf"), -1e300, -5.0, 1.2, 5.0, 1e300, float("inf"), float("nan")]).double()
    low, high = 0.0, 3.0
    places = torch.tensor([low, low, low, 2.0, high, high, high, high]).double()
    found = fused.nearest((far, far, far), table)
    assert found.tolist() == (places * 21.0).tolist()
    for layer in fused.CUBIC_LAYERS:
        fused.cubic_layer(far, far.flip(0), far, 0.0 * far, torch.tensor(layer).double(), table)


@pytest.mark.parametrize("shape", fused.SLOPES)
def test_slopes_are_the_derivatives_of_the_sum(shape):
    generator = torch.Generator().manual_seed(1)
    x, y, z = torch.nn.functional.normalize(torch.rand(6, 3, dtype=torch.float64, generator=generator)).unbind(1)
    maps = 40.0 * torch.rand(4, 12, dtype=torch.float64, generator=generator)
    forms = torch.rand(4, 7, dtype=torch.float64, generator=generator)
    lattice = torch.tensor([5.0, 4, 7, 1e-90, 1e-90, 1e-90, -25, -16, -49, -1, -2, -3], dtype=torch.float64)
    from nanobrag_torch.sums import Sum, direction_sum

    def total(x, y, z, maps, *forms: torch.Tensor) -> torch.Tensor:
        return direction_sum(Kernels("float64"), shape, Sum(x, y, z, maps, lattice, *forms))

    inputs = tuple(tensor.clone().requires_grad_() for tensor in (x, y, z, maps, forms))
    for given in (inputs[:4], inputs):
        assert torch.autograd.gradcheck(total, given, check_forward_ad=True, eps=1e-7, rtol=1e-5, atol=1e-5)


def test_views_have_their_derivatives():
    generator = torch.Generator().manual_seed(2)
    raster = torch.tensor([0.0, 1 / 7, 7, 1, 2], dtype=torch.float64)
    axes = torch.tensor([[0.1, 0.01, 0], [0, 0.1, 0.02], [0.3, 0.2, 1.1]], dtype=torch.float64)
    omega, form = torch.rand(10, dtype=torch.float64, generator=generator).split((3, 7))
    sensor = torch.tensor([0.1, 0.2, 0.9, 0.2, 0.6, -0.3, -0.5], dtype=torch.float64)
    ordinal = torch.arange(20, dtype=torch.float64)

    def views(*frame: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(look(Kernels("float64"), ordinal, fused.Frame(raster, *frame)))

    inputs = tuple(tensor.clone().requires_grad_() for tensor in (axes, omega, form, sensor))
    assert torch.autograd.gradcheck(views, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(views, inputs)


@pytest.mark.parametrize("quirks", [Quirks.upstream(), Quirks.clean()], ids=["upstream", "clean"])
@pytest.mark.parametrize("mode", [mode for mode in MODES if not mode.startswith("tricubic")])
def test_derivative_images_are_those_of_the_programs_own_order(mode, quirks, monkeypatch):
    experiment = simulator(mode, quirks=quirks)
    names = ["cell_a", "cell_beta", "misset_deg", "distance_mm", "wavelength_A", "polarization_factor", "fluence"]
    image, expected = experiment.derivative_images(names)
    monkeypatch.setattr(experiment, "kernels", lambda scene, moving=(): Kernels("float64"))
    found_image, found = experiment.derivative_images(names)
    assert torch.allclose(found_image, image, rtol=1e-8, atol=0)
    for name in names:
        height = expected[name].abs().max()
        assert (found[name] - expected[name]).abs().max() <= 1e-8 * height, name


def test_unknown_choice_is_refused_with_its_name(monkeypatch):
    from nanobrag_torch.config import ConfigError

    with pytest.raises(ConfigError, match="compile"):
        simulator("plain", compile="sometimes")
    monkeypatch.setenv("NANOBRAG_COMPILE", "perhaps")
    with pytest.raises(ConfigError, match="NANOBRAG_COMPILE"):
        Simulator(CrystalConfig(**CELL), DetectorConfig(**DETECTOR))


def test_changed_value_makes_a_new_scene():
    experiment = simulator("plain")
    with torch.no_grad():
        before, again = experiment.run(), experiment.run()
        assert experiment.scene() is experiment.scene()
        experiment.crystal.cell_a.data.mul_(1.01)
        changed = experiment.run()
    assert torch.equal(before, again)
    assert torch.equal(changed, simulator("plain", cell_a=70.0 * 1.01).run())
    assert not torch.equal(changed, before)


def test_image_that_is_held_is_never_written_to_again():
    experiment = simulator("plain")
    with torch.no_grad():
        first = experiment.run()
        kept, as_array = first.clone(), first.numpy()
        del first
        experiment.crystal.cell_a.data.mul_(1.01)
        second = experiment.run()
        assert np.array_equal(as_array, kept.numpy())
        assert second.data_ptr() != as_array.ctypes.data
        place = second.data_ptr()
        del second
        with torch.inference_mode():
            assert experiment.run().data_ptr() == place
        third = experiment.run()
        third *= experiment.crystal.cell_b
        del third
    assert not experiment.run().requires_grad
