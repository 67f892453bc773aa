"""An image is that of its models as they are now, under its simulator's own faults, eager and compiled."""

# ruff: noqa: C408 (keywords read like the calls they become)
from __future__ import annotations

import pytest
import torch

from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig
from nanobrag_torch.models import Beam, Crystal, Detector
from nanobrag_torch.quirks import Quirks
from nanobrag_torch.simulator import Simulator
from test_packages import compiled, needs_compiler  # noqa: F401

CRYSTAL = dict(cell_a=50.0, cell_b=60.0, cell_c=70.0, cell_alpha=75.0, cell_beta=85.0, cell_gamma=95.0,
               misset_deg=(10.0, 20.0, 30.0), N_cells=(5, 5, 5), default_F=100.0)
DETECTOR = dict(spixels=24, fpixels=20, pixel_size_mm=2.0, oversample=1)
BEAM = dict(wavelength_A=1.5)


@pytest.fixture(params=["off", pytest.param("on", marks=needs_compiler)])
def compile(request) -> str:
    """With and without compiled kernels."""
    if request.param == "on":
        request.getfixturevalue("compiled")
    return request.param


def models(crystal: dict | None = None, detector: dict | None = None, beam: dict | None = None,
           **given) -> tuple[Crystal, Detector, Beam]:
    """Models with fields changed; `given` goes to the crystal beside its config."""
    return (Crystal(CrystalConfig(**CRYSTAL | (crystal or {})), **given),
            Detector(DetectorConfig(**DETECTOR | (detector or {}))),
            Beam(BeamConfig(**BEAM | (beam or {}))))


class TestSharedModels:
    """What one simulator does with its models is nothing to another that shares them."""

    SETUP = dict(crystal=dict(osc_range_deg=30.0, phi_steps=3), detector=dict(detector_twotheta_deg=10.0))
    OTHERS = {"convention": dict(detector=dict(detector_convention="xds")), "faults": dict(quirks=Quirks.upstream())}

    @pytest.mark.parametrize("other", OTHERS)
    def test_each_has_its_own_frame_and_faults(self, other: str, compile: str) -> None:
        changes = dict(self.OTHERS[other])
        crystal, detector, beam = models(**self.SETUP)
        quirks = changes.pop("quirks", None)
        second = models(**self.SETUP | changes)
        expected = [Simulator(*models(**self.SETUP), compile=compile).run(),
                    Simulator(*second, quirks=quirks, compile=compile).run()]
        simulators = [Simulator(crystal, detector, beam, compile=compile), Simulator(
            crystal, detector if quirks else second[1], beam, quirks=quirks, compile=compile)]
        assert not torch.equal(*expected)
        for _ in range(2):
            for simulator, image in zip(simulators, expected, strict=True):
                assert torch.equal(simulator.run(), image)

    def test_questions_are_answered_for_the_simulator_that_is_asked(self) -> None:
        shared, sets = models(**self.SETUP), (Quirks.clean(), Quirks.upstream())
        for found, quirks in [(Simulator(*shared, quirks=quirks), quirks) for quirks in sets]:
            alone = Simulator(*(model.config for model in shared), quirks=quirks)
            assert found.detector.geometry().distance == alone.detector.geometry().distance
            assert torch.equal(found.crystal.get_rotated_real_vectors(), alone.crystal.get_rotated_real_vectors())

    def test_fields_are_shared(self, compile: str) -> None:
        shared = models()
        upstream, clean = (Simulator(*shared, quirks=quirks, compile=compile)
                           for quirks in (Quirks.upstream(), Quirks.clean()))
        before = upstream.run()
        upstream.crystal.refine("cell_a")
        assert clean.crystal.cell_a is shared[0].cell_a is upstream.crystal.cell_a
        with torch.no_grad():
            shared[0].cell_a += 1.0
            shared[1].distance_mm += 5.0
            changed = upstream.run()
            expected = Simulator(*shared, quirks=Quirks.upstream(), compile=compile).run()
        assert not torch.equal(changed, before) and torch.equal(changed, expected)
        clean.run().sum().backward()
        assert shared[0].cell_a.grad != 0
