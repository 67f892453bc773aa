"""Chunks side by side: the same image whatever the number of threads, in order, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nanobrag_torch import BeamConfig, CrystalConfig, DetectorConfig, SamplingConfig, Simulator
from nanobrag_torch.threads import AHEAD, side_by_side

MANY = [{"pixels": 256, "domains": 1}, {"pixels": 64, "domains": 20}, {"pixels": 64, "domains": 30, "dtype": "mixed"},
        {"pixels": 64, "domains": 30, "dtype": "float32"}, {"pixels": 20, "domains": 20, "budget": 2**22}]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def scene(*, pixels: int = 64, domains: int = 20, dtype: str = "float64", budget: int = 2**30,
          cell_a=70.0) -> Simulator:
    return Simulator(
        CrystalConfig(cell_a=cell_a, cell_b=80.0, cell_c=90.0, N_cells=(5, 5, 5), default_F=100.0,
                      mosaic_domains=domains, mosaic_spread_deg=0.5),
        DetectorConfig(spixels=pixels, fpixels=pixels, pixel_size_mm=0.5, oversample=1),
        BeamConfig(wavelength_A=1.5), sampling=SamplingConfig(memory_budget_bytes=budget), dtype=dtype, compile="off")


class Interrupted(Exception):
    pass


def interrupt(*_) -> None:
    raise Interrupted


@pytest.mark.parametrize("what", MANY, ids=str)
def test_the_image_does_not_depend_on_the_number_of_threads(what):
    images = []
    for count in (1, 2, 3, 8):
        torch.set_num_threads(count)
        images.append(scene(**what).run())
        assert torch.get_num_threads() == count
    torch.set_num_threads(3)
    assert images[0].max() > 0
    assert all(torch.equal(image, images[0]) for image in images)


def test_progress_counts_up_in_the_calling_thread():
    told = []
    scene(pixels=96).run(lambda done, total: told.append((done, total, threading.current_thread())))
    assert len(told) > 3
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})
    assert {(total, thread) for _, total, thread in told} == {(96 * 96, threading.current_thread())}
    assert told[-1][0] == 96 * 96


def test_an_exception_of_the_caller_leaves_no_thread():
    before = threading.active_count()
    with pytest.raises(Interrupted):
        scene().run(interrupt)
    assert (torch.get_num_threads(), threading.active_count()) == (3, before)


@pytest.mark.parametrize("error", [Interrupted, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_of_a_worker_surfaces(error, workers):
    def third(number: int) -> int:
        if number == 2:
            raise error
        return number

    before, found = threading.active_count(), []
    with pytest.raises(error), side_by_side(workers) as mapping:
        found += [0]
        for number in mapping(third, ((number,) for number in range(1, 9))):
            found.append(number)
    assert found == [0, 1]
    assert (torch.get_num_threads(), threading.active_count()) == (3, before)


def test_results_in_order_and_few_pieces_under_way():
    taken: list[int] = []

    def pieces() -> Iterator[tuple[int]]:
        for number in range(40):
            taken.append(number)
            yield (number,)

    with side_by_side(3) as mapping:
        for place, (number, thread, count) in enumerate(mapping(
                lambda number: (number, threading.current_thread(), torch.get_num_threads()), pieces())):
            assert (number, count) == (place, 1)
            assert thread is not threading.current_thread()
            assert len(taken) - place <= 3 * AHEAD


def test_a_parameter_under_no_grad_records_nothing():
    cell_a = torch.tensor(70.0, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        image = scene(cell_a=cell_a).run()
    with torch.inference_mode():
        inferred = scene().run()
    assert not image.requires_grad and image.grad_fn is None
    assert torch.equal(image, scene().run()) and torch.equal(image, inferred)
    assert torch.allclose(scene(cell_a=cell_a).run(), image, rtol=1e-12, atol=0)


def test_whoever_watches_operations_sees_all():
    class Watched(TorchDispatchMode):
        sines = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.sines += args[0].numel() if function.overloadpacket is torch.ops.aten.sin_ else 0
            return function(*args, **(kwargs or {}))

    with Watched() as watched:
        scene().run()
    assert watched.sines == 3 * 20 * 64 * 64
