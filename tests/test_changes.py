"""An image is that of its models as they are now, under its simulator's own faults, eager and compiled."""

# ruff: noqa: C408 (keywords read like the calls they become)
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig
from nanobrag_torch.models import Beam, Crystal, Detector
from nanobrag_torch.quirks import Quirks
from nanobrag_torch.simulator import Simulator

CRYSTAL = dict(cell_a=50.0, cell_b=60.0, cell_c=70.0, cell_alpha=75.0, cell_beta=85.0, cell_gamma=95.0,
               misset_deg=(10.0, 20.0, 30.0), N_cells=(5, 5, 5), default_F=100.0)
DETECTOR = dict(spixels=24, fpixels=20, pixel_size_mm=2.0, oversample=1)
BEAM = dict(wavelength_A=1.5)


def models(crystal: dict | None = None, detector: dict | None = None, beam: dict | None = None,
           **given) -> tuple[Crystal, Detector, Beam]:
    """Models with fields changed; `given` goes to the crystal beside its config."""
    return (Crystal(CrystalConfig(**CRYSTAL | (crystal or {})), **given),
            Detector(DetectorConfig(**DETECTOR | (detector or {}))),
            Beam(BeamConfig(**BEAM | (beam or {}))))


def table(values: object, lowest: int = -9) -> SimpleNamespace:
    return SimpleNamespace(values=values, h_min=lowest, k_min=-9, l_min=-9)


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


def _float32(a: float, _b: float) -> tuple[dict, list[torch.Tensor]]:
    leaf = torch.tensor(a, dtype=torch.float32, requires_grad=True)
    return dict(crystal=dict(cell_a=leaf)), [leaf]


def _float64(a: float, _b: float) -> tuple[dict, list[torch.Tensor]]:
    leaf = torch.tensor([a], dtype=torch.float64, requires_grad=True)
    return dict(crystal=dict(cell_a=leaf)), [leaf]


def _sequence(a: float, b: float) -> tuple[dict, list[torch.Tensor]]:
    leaves = [torch.tensor(number, dtype=dtype, requires_grad=True) for number, dtype in (
        (a / 5.0, torch.float64), (b / 5.0, torch.float32))]
    return dict(crystal=dict(misset_deg=(leaves[0], 20.0, leaves[1]))), leaves


def _nested(a: float, b: float) -> tuple[dict, list[torch.Tensor]]:
    leaf = torch.tensor(a / 500.0, requires_grad=True)
    return dict(beam=dict(source_directions=[[-10.0, leaf, 0.0], [-10.0, 0.0, b / 500.0]])), [leaf]


def _table(a: float, b: float) -> tuple[dict, list[torch.Tensor]]:
    values = torch.linspace(a, b, 19**3, dtype=torch.float32).reshape(19, 19, 19).requires_grad_()
    return dict(structure_factors=table(values)), [values]


class TestStructureFactors:
    """No image of structure factors that are others by now."""

    CHANGES = {
        "moved": lambda crystal, values: crystal.set_structure_factors(table(values, lowest=-8)),
        "another list": lambda crystal, values: crystal.set_structure_factors(table(2.0 * values)),
        "data": lambda crystal, values: crystal.factors.data.mul_(2.0),
        "reversed": lambda crystal, values: crystal.factors.data.copy_(crystal.factors.data.flip(0)),
        "in place": lambda crystal, values: crystal.factors.mul_(2.0),
    }

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("reach", [3, 9], ids=["short", "long"])
    def test_a_changed_list_changes_the_image(self, reach: int, change: str, compile: str) -> None:
        values = np.random.default_rng(1).uniform(10.0, 500.0, (2 * reach + 1, 19, 19))
        simulator = Simulator(*models(structure_factors=table(values)), compile=compile)
        before = simulator.run()
        self.CHANGES[change](simulator.crystal, values)
        expected = Simulator(simulator.crystal, simulator.detector, simulator.beam, compile=compile).run()
        found = simulator.run()
        assert torch.equal(found, expected) and not torch.equal(found, before)

    @pytest.mark.parametrize("reach", [3, 9], ids=["short", "long"])
    def test_an_array_is_copied(self, reach: int) -> None:
        values = np.full((2 * reach + 1, 19, 19), 100.0)
        simulator = Simulator(*models(structure_factors=table(values)))
        before = simulator.run()
        values *= 2.0
        assert torch.equal(simulator.run(), before)
        assert torch.equal(Simulator(simulator.crystal, simulator.detector, simulator.beam).run(), before)


class TestTensorsOfTheConfig:
    """Whatever a config's tensors are moved to, the next image has it."""

    @pytest.mark.parametrize("given", [_float32, _float64, _sequence, _nested, _table],
                             ids=lambda given: given.__name__[1:])
    def test_an_optimiser_moves_the_image(self, given, compile: str) -> None:
        changes, leaves = given(50.3, 61.0)
        simulator = Simulator(*models(**changes), compile=compile)
        optimiser = torch.optim.SGD(leaves, lr=0.0)
        for _ in range(2):
            with torch.no_grad():
                before = simulator.run()
            optimiser.zero_grad()
            simulator.run().sum().backward()
            assert all(leaf.grad is not None and leaf.grad.abs().max() > 0 for leaf in leaves)
            optimiser.step()
            with torch.no_grad():
                for leaf in leaves:
                    leaf *= 1.02
                found, expected = simulator.run(), Simulator(*models(**changes), compile=compile).run()
            assert torch.equal(found, expected) and not torch.equal(found, before)

    @pytest.mark.parametrize("given", [_float32, _sequence, _nested])
    def test_a_derivative_image_is_taken_where_the_tensors_are(self, given, compile: str) -> None:
        changes, leaves = given(50.3, 61.0)
        simulator = Simulator(*models(**changes), compile=compile)
        name = next(name for part in changes.values() for name in part)
        before = simulator.derivative_image(name)
        leaves[0].data.mul_(1.02)
        found, expected = (either.derivative_image(name) for either in (
            simulator, Simulator(*models(**changes), compile=compile)))
        assert torch.equal(found, expected) and not torch.equal(found, before)

    @pytest.mark.parametrize("write", [lambda field: field.data.mul_(1.02), lambda field: field.mul_(1.02)],
                             ids=["data", "in place"])
    @pytest.mark.parametrize("given", [_float32, _sequence], ids=["float32", "sequence"])
    def test_tensors_are_followed_until_the_field_is_written_to(self, given, write) -> None:
        changes, leaves = given(50.3, 61.0)
        crystal = models(**changes)[0]
        name = next(iter(changes["crystal"]))
        with torch.no_grad():
            before = getattr(crystal, name).clone()
            write(leaves[0])
            assert not torch.equal(crystal.state_dict()[name], before)
            write(leaves[0])
            assert not torch.equal(getattr(crystal, name), before)
            getattr(crystal, name).fill_(7.0)
            write(leaves[0])
            assert (getattr(crystal, name) == 7.0).all()
            crystal.load_state_dict({name: before}, strict=False)
            crystal.to("cpu")
            assert torch.equal(getattr(crystal, name), before)

    @pytest.mark.parametrize("given", [_float32, _sequence], ids=["float32", "sequence"])
    def test_a_refined_field_is_a_leaf_of_its_own(self, given) -> None:
        changes, leaves = given(50.3, 61.0)
        crystal, name = models(**changes)[0], next(iter(changes["crystal"]))
        leaves[0].data.mul_(2.0)
        before = getattr(models(**changes)[0], name).detach()
        field = getattr(crystal.refine(name), name)
        leaves[0].data.mul_(2.0)
        assert field.is_leaf and torch.equal(field, before) and getattr(crystal, name) is field


class TestDecisions:
    """What takes part is decided by the fields as they are now, not as the config had them."""

    MOSAIC = dict(crystal=dict(mosaic_domains=5))
    FIELDS = {  # place, field, what else the experiment has, number
        "water": ("beam", "water_size_um", {}, 1.0),
        "flux": ("beam", "flux", {}, 1e30),
        "resolution": ("beam", "dmin_A", {}, 8.0),
        "thickness": ("detector", "detector_thick_um", dict(detector=dict(detector_thicksteps=3)), 300.0),
        "depth": ("detector", "detector_thick_um", dict(detector=dict(detector_abs_um=200.0)), 300.0),
        "spread": ("crystal", "mosaic_spread_deg", MOSAIC, 0.5),
        "divergence": ("beam", "hdiv_range_mrad", dict(beam=dict(
            hdiv_steps=5, vdiv_steps=5, vdiv_range_mrad=4.0)), 3.0),
        "cells": ("crystal", "N_cells", dict(listed=True), 2.0),
        "sub-pixels": ("detector", "distance_mm", dict(detector=dict(oversample=None, pixel_size_mm=0.5)), 20.0),
    }
    START = dict(N_cells=(5.0, 5.0, 5.0), distance_mm=80.0)

    def simulator(self, name: str, start: float | None, compile: str, quirks: Quirks) -> Simulator:
        place, field, others, _ = self.FIELDS[name]
        others = dict(others)
        listed = others.pop("listed", False)
        number = self.START.get(field, 0.0) if start is None else (start,) * 3 if field == "N_cells" else start
        given = dict(structure_factors=table(np.full((19, 19, 19), 50.0))) if listed else {}
        return Simulator(*models(**others | {place: others.get(place, {}) | {field: number}}, **given), quirks=quirks,
                         compile=compile)

    @pytest.mark.parametrize("quirks", [Quirks.clean(), Quirks.upstream()], ids=["clean", "upstream"])
    @pytest.mark.parametrize("name", FIELDS)
    def test_a_field_that_is_set_takes_part(self, name: str, quirks: Quirks, compile: str) -> None:
        place, field, _, number = self.FIELDS[name]
        simulator = self.simulator(name, None, compile, quirks)
        before = simulator.run()
        getattr(getattr(simulator, place), field).fill_(number)
        expected = self.simulator(name, number, compile, quirks)
        image = expected.run()
        assert torch.equal(simulator.run(), image) and not torch.equal(image, before)
        assert simulator.choices == expected.choices and simulator.summary == expected.summary
        getattr(getattr(simulator, place), field).copy_(torch.tensor(self.START.get(field, 0.0)))
        assert torch.equal(simulator.run(), before)

    def test_a_spread_is_refined_from_nothing(self, compile: str) -> None:
        shared = models(crystal=dict(mosaic_domains=5))
        simulator = Simulator(*shared, compile=compile)
        rate, step = simulator.derivative_image("mosaic_spread_deg"), 1e-4
        shared[0].mosaic_spread_deg.fill_(step)
        difference = (simulator.run() - Simulator(*models(), compile=compile).run()) / step
        torch.testing.assert_close(rate, difference, rtol=0.0, atol=2e-3 * float(rate.abs().max()))
        shared[0].mosaic_spread_deg.fill_(0.0)
        shared[0].refine("mosaic_spread_deg")
        simulator.run().sum().backward()
        torch.testing.assert_close(shared[0].mosaic_spread_deg.grad, rate.sum(), rtol=1e-6, atol=0.0)
