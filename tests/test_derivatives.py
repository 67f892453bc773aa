"""Derivatives at pixels of their own kind, with and without compiled kernels: where the beam meets the detector, where
a fault of the canonical program shows; and whatever else the models are used for."""

from __future__ import annotations

import pytest
import torch

from compiler import needs_compiler
from nanobrag_torch import BeamConfig, CrystalConfig, DetectorConfig, Quirks, Simulator

CRYSTAL = {"cell_a": 50.0, "cell_b": 60.0, "cell_c": 70.0, "N_cells": (10, 7, 20), "default_F": 100.0}


def simulator(compile: str, *, dtype: str = "float64", quirks: Quirks | None = None, water_size_um: float = 0.0,
              **crystal: object) -> Simulator:
    """A crystal on a small detector, whose middle pixel the beam meets in its centre."""
    detector = DetectorConfig(spixels=33, fpixels=33, pixel_size_mm=0.2, oversample=1, beam_center_f=3.3,
                              beam_center_s=3.3)
    return Simulator(CrystalConfig(**CRYSTAL | crystal), detector, BeamConfig(1.5, water_size_um=water_size_um),
                     compile=compile, dtype=dtype, quirks=quirks)


def derivatives(experiment: Simulator) -> list[torch.Tensor]:
    """Derivative images, and the gradient of a weighted sum."""
    _, images = experiment.derivative_images(["cell_a", "misset_deg", "distance_mm"])
    experiment.crystal.refine("misset_deg")
    (experiment.run() * torch.arange(33.0)).sum().backward()
    return [*images.values(), experiment.crystal.misset_deg.grad]


@needs_compiler
@pytest.mark.parametrize("misset_deg", [(0.0, 0.0, 0.0), (37.0, 61.0, 12.0)], ids=["on axes", "turned"])
@pytest.mark.parametrize("domains", [1, 4])
@pytest.mark.parametrize(("dtype", "apart"), [("float64", 1e-9), ("mixed", 1e-3)])
def test_where_a_pixel_meets_the_beam(misset_deg, domains, dtype, apart, compiled):
    """Every index of that pixel is 0 but for rounding: a grating's slope is the quotient of two such numbers."""
    turned = {"misset_deg": misset_deg, "mosaic_domains": domains, "mosaic_spread_deg": 0.1}
    experiment = simulator("on", dtype=dtype, **turned)
    for expected, found in zip(derivatives(simulator("off", **turned)), derivatives(experiment), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=apart * float(expected.abs().max()))
    assert experiment.summary.compiled


def test_the_first_evaluation_has_its_fault_in_derivative_images_too(compile):
    experiment = simulator(compile, quirks=Quirks.upstream(), osc_range_deg=3.0, phi_steps=3,
                           misset_deg=(9.0, 20.0, 3.0))
    image, slopes = experiment.derivative_images(["cell_a"])
    torch.testing.assert_close(image, experiment.run(), rtol=1e-9, atol=1e-12 * float(image.max()))
    step = 1e-5
    moved = []
    for change in (-step, step):
        experiment.crystal.cell_a.fill_(50.0 + change)
        moved.append(experiment.run().clone())
    expected = (moved[1] - moved[0]) / (2 * step)
    torch.testing.assert_close(slopes["cell_a"][0, 0], expected[0, 0], rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("name", ["water_size_um", "distance_mm", "cell_b"])
def test_derivatives_that_others_take_change_nothing(compile, name):
    plain, refined = (simulator(compile, water_size_um=10.0, misset_deg=(9.0, 20.0, 3.0)) for _ in range(2))
    refined.crystal.refine("default_F", "cell_a")
    refined.beam.refine("polarization_factor", "fluence")
    found = refined.derivative_image(name)
    torch.testing.assert_close(found, plain.derivative_image(name), rtol=1e-12, atol=0.0)
    assert not found.requires_grad


def test_derivative_images_in_inference_mode(compile):
    expected = simulator(compile).derivative_image("cell_a")
    with torch.inference_mode():
        found = simulator(compile).derivative_image("cell_a")
    assert torch.equal(found, expected)


def test_autocasting_around_a_simulation_changes_no_number(compile):
    experiment = simulator(compile, dtype="float32", mosaic_domains=20, mosaic_spread_deg=0.5)
    expected = experiment.run().clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(experiment.run(), expected)


@pytest.mark.parametrize("names", [[], "cell_a", ["cell_d"]])
def test_what_is_no_list_of_fields_is_refused(names):
    with pytest.raises(ValueError, match="derivative_images: expected a"):
        simulator("off").derivative_images(names)
