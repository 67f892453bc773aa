"""Lower precision against float64: "mixed" for everyday use, "float32" for speed on graphics cards."""

# ruff: noqa: C408 (keywords read like the calls they become)
from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from nanobrag_torch.config import BeamConfig, ConfigError, CrystalConfig, DetectorConfig, SamplingConfig
from nanobrag_torch.models import Crystal
from nanobrag_torch.quirks import Quirks
from nanobrag_torch.simulator import Simulator

CRYSTAL = dict(cell_a=45.0, cell_b=55.0, cell_c=65.0, misset_deg=(20.0, -10.0, 35.0), N_cells=(4, 4, 4), default_F=80.0)
TRICLINIC = dict(cell_a=70.0, cell_b=80.0, cell_c=90.0, cell_alpha=75.0, cell_beta=85.0, cell_gamma=95.0)
DETECTOR = dict(distance_mm=80.0, spixels=112, fpixels=112, pixel_size_mm=0.4, oversample=1)
BEAM = dict(wavelength_A=1.1)


def case(crystal: dict | None = None, detector: dict | None = None, beam: dict | None = None,
         sampling: dict | None = None, factors: bool = False, quirks: Quirks | None = None) -> dict:
    listed = None
    if factors:
        values = 60.0 + 50.0 * torch.sin(torch.arange(37.0**3, dtype=torch.float64) ** 2).reshape(37, 37, 37)
        listed = SimpleNamespace(values=values, h_min=-18, k_min=-18, l_min=-18)
    return dict(crystal=Crystal(CrystalConfig(**CRYSTAL | (crystal or {})), structure_factors=listed),
                detector=DetectorConfig(**DETECTOR | (detector or {})), beam=BeamConfig(**BEAM | (beam or {})),
                sampling=SamplingConfig(**sampling or {}), quirks=quirks)


CASES = {
    "cubic-long-wave": lambda: case(
        dict(cell_a=100.0, cell_b=100.0, cell_c=100.0, misset_deg=(0.0, 0.0, 0.0), N_cells=(5, 5, 5)),
        dict(distance_mm=100.0), dict(wavelength_A=6.2)),
    "triclinic": lambda: case(dict(TRICLINIC, N_cells=(5, 5, 5)), dict(spixels=256, fpixels=256, pixel_size_mm=0.2)),
    "large-crystal": lambda: case(
        dict(cell_a=79.1, cell_b=79.1, cell_c=38.4, N_cells=(40, 40, 60), mosaic_spread_deg=0.2, mosaic_domains=4),
        dict(distance_mm=130.0, spixels=200, fpixels=200), dict(wavelength_A=1.0)),
    "phi-through-zero": lambda: case(dict(osc_range_deg=6.0, phi_steps=3), quirks=Quirks.upstream()),
    "mosaic-rotation": lambda: case(dict(phi_start_deg=5.0, osc_range_deg=3.0, phi_steps=2, mosaic_spread_deg=2.0,
                                         mosaic_domains=10)),
    "tilted-thick-sensor": lambda: case(detector=dict(
        detector_abs_um=400.0, detector_thick_um=450.0, detector_thicksteps=5, detector_roty_deg=20.0)),
    "two-theta-sub-pixels": lambda: case(detector=dict(
        detector_convention="xds", orgx_px=55.5, orgy_px=71.25, detector_twotheta_deg=18.0, oversample=3,
        spixels=64, fpixels=64)),
    "running-product": lambda: case(detector=dict(oversample=2, spixels=64, fpixels=64), sampling=dict(
        oversample_omega=True), quirks=Quirks.upstream()),
    "curved-divergence": lambda: case(detector=dict(curved=True), beam=dict(
        hdiv_range_mrad=6.0, vdiv_range_mrad=6.0, hdiv_steps=3, vdiv_steps=3)),
    "round": lambda: case(dict(shape="round", N_cells=(6, 5, 4))),
    "gauss": lambda: case(dict(shape="gauss", N_cells=(7, 7, 7))),
    "tophat-dispersion": lambda: case(dict(shape="tophat", fudge=0.6, N_cells=(6, 6, 6)), beam=dict(
        dispersion_percent=2.0, dispersion_steps=5)),
    "dmin-water": lambda: case(detector=dict(distance_mm=60.0), beam=dict(
        dmin_A=3.6, water_size_um=0.02, dispersion_percent=8.0, dispersion_steps=3)),
    "list-nearest": lambda: case(factors=True, sampling=dict(interpolate=False)),
    "list-tricubic": lambda: case(dict(N_cells=(2, 2, 2)), factors=True),
}
"""One or two of each branch of the kernel; the largest crystal is the hardest for float32."""


def errors(name: str, precision: str) -> tuple[float, float, float]:
    """1 - correlation, largest error over the maximum, largest relative error above 1e-3 of the maximum."""
    with torch.no_grad():
        exact = Simulator(**CASES[name]()).run()
        found = Simulator(**CASES[name](), dtype=precision).run()
    assert found.dtype == (torch.float32 if precision == "float32" else torch.float64)
    found, difference = found.double(), (found.double() - exact).abs()
    bright = exact > 1e-3 * exact.max()
    return (lack_of_correlation(found, exact), float(difference.max() / exact.max()),
            float((difference / exact)[bright].max()))


def lack_of_correlation(x: Tensor, y: Tensor) -> float:
    """1 - r, formed from the difference of the normalised images so that it keeps its digits."""
    x, y = x - x.mean(), y - y.mean()
    return float(torch.sum(torch.square(x / x.norm() - y / y.norm())) / 2)


@pytest.mark.parametrize("name", CASES)
def test_mixed(name: str) -> None:
    correlation, _, relative = errors(name, "mixed")
    assert correlation <= 1e-12 and relative <= 2e-5


@pytest.mark.parametrize("name", CASES)
def test_float32(name: str) -> None:
    correlation, absolute, _ = errors(name, "float32")
    assert correlation <= 2e-8 and absolute <= 4e-4


@pytest.mark.parametrize(("precision", "tolerance"), [("mixed", 1e-5), ("float32", 2e-4)])
def test_gradients_in_lower_precision(precision: str, tolerance: float) -> None:
    def slopes(dtype: str) -> Tensor:
        misset = torch.tensor([20.0, -10.0, 35.0], dtype=torch.float64, requires_grad=True)
        experiment = case(dict(misset_deg=misset), dict(spixels=64, fpixels=64, pixel_size_mm=0.7))
        Simulator(**experiment, dtype=dtype).run().double().square().mean().backward()
        return misset.grad

    torch.testing.assert_close(slopes(precision), slopes("float64"), rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype", ["float64", "mixed", "float32", torch.float64, torch.float32])
def test_names_of_precisions(dtype: str | torch.dtype) -> None:
    image = Simulator(**case(detector=dict(spixels=4, fpixels=4)), dtype=dtype).run()
    assert image.dtype == (torch.float32 if "float32" in str(dtype) else torch.float64)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dtype: expected .*float64.*mixed.*float32.* got 'float16'"):
        Simulator(**case(), dtype="float16")
