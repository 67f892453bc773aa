"""AT-PERF: pieces, operations and memory are counted, never timed (spec-a-performance § 5.1)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from acceptance import simulator, working_folder  # noqa: F401
from nanobrag_torch import BeamConfig, CrystalConfig, DetectorConfig, SamplingConfig, Simulator
from nanobrag_torch.simulator import BYTES_PER_ELEMENT, CHUNK_ELEMENTS

BUDGETS = (2**12, 2**16, 2**20, 2**30)


def scene(*, domains: int = 1, sources: int = 1, pixels: int = 6, budget: int = 2**30, cell_a=70.0, distance_mm=100.0,
          wavelength_A=1.5) -> Simulator:
    return Simulator(
        CrystalConfig(cell_a=cell_a, cell_b=80.0, cell_c=90.0, N_cells=(5, 5, 5), default_F=100.0,
                      mosaic_domains=domains, mosaic_spread_deg=0.5),
        DetectorConfig(distance_mm=distance_mm, spixels=pixels, fpixels=pixels, pixel_size_mm=1.0, oversample=1),
        BeamConfig(wavelength_A=wavelength_A, hdiv_range_mrad=2.0, hdiv_steps=sources),
        sampling=SamplingConfig(memory_budget_bytes=budget))


def pieces(run: Simulator) -> list[int]:
    """Pixels of every piece, in order."""
    ends = [0]
    run.run(lambda done, total: ends.append(done))
    return [end - start for start, end in pairwise(ends)]


class Counted(TorchDispatchMode):
    """Operations on tensors, and the largest result of one in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.largest_bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations += 1
        if isinstance(result, torch.Tensor):
            self.largest_bytes = max(self.largest_bytes, result.untyped_storage().nbytes())
        return result


def counted(run: Simulator) -> Counted:
    with torch.no_grad(), Counted() as count:
        run.run()
    return count


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(("domains", "sources"), [(1, 1), (6, 2)])
def test_at_perf_001_pieces(budget, domains, sources):
    directions = domains * sources
    elements = min(CHUNK_ELEMENTS, budget // BYTES_PER_ELEMENT)
    sizes = pieces(scene(domains=domains, sources=sources, budget=budget))
    assert sum(sizes) == 6 * 6
    assert max(sizes) <= max(1, elements // directions)


def test_at_perf_002_the_budget_does_not_change_the_image():
    images = [scene(domains=6, sources=2, budget=budget).run().numpy() for budget in BUDGETS]
    for image in images[:-1]:
        assert image == pytest.approx(images[-1], rel=1e-12)


@pytest.mark.parametrize("more", [{"domains": 40}, {"domains": 4, "sources": 9}])
def test_at_perf_003_no_loop_over_directions(more):
    few = {"domains": 2, "sources": 2}
    runs = [scene(**few), scene(**({"sources": 2} | more))]
    assert [len(pieces(run)) for run in runs] == [1, 1]
    assert counted(runs[0]).operations == counted(runs[1]).operations


def test_at_perf_004_the_largest_tensor_does_not_grow_with_the_detector():
    budget = 2**20
    sizes = {pixels: counted(scene(domains=4, pixels=pixels, budget=budget)).largest_bytes for pixels in (16, 48)}
    lists = {pixels: pixels**2 * 8 for pixels in sizes}
    assert sizes[16] <= budget
    assert sizes[48] <= max(sizes[16], lists[48])


@pytest.mark.parametrize("domains", [4, 400])
def test_at_perf_005_derivatives_keep_inputs_only(domains):
    parameters = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (70.0, 100.0, 1.5)]
    run = scene(domains=domains, cell_a=parameters[0], distance_mm=parameters[1], wavelength_A=parameters[2])
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        image = run.run()
    assert sum(kept.values()) < 1024 * domains + 16 * 1024
    image.sum().backward()
    assert all(parameter.grad is not None and parameter.grad != 0 for parameter in parameters)


@pytest.mark.usefixtures("folder")
def test_at_perf_006_a_quarter_of_the_pixels():
    whole = simulator("$D $CUB -oversample 1")
    quarter = simulator("$D $CUB -oversample 1 -roi 0 31 32 63")
    assert (sum(pieces(whole)), sum(pieces(quarter))) == (4096, 1024)
    assert np.array_equal(quarter.run()[32:, :32], whole.run()[32:, :32])
