"""Peak resident memory of runs in a process of their own.

What one chunk of pixels needs does not depend on how many pixels, directions or sub-pixels follow, so a small region
of a large detector with all its mosaic domains shows the peak of the whole.
"""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

GIB = 2**30

COMMON = """
    import resource, sys
    import torch
    from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig, SamplingConfig
    from nanobrag_torch.simulator import Simulator

    torch.set_num_threads(2)
    cell_a = torch.tensor(70.0, dtype=torch.float64, requires_grad=DIFFERENTIATE)
    distance = torch.tensor(100.0, dtype=torch.float64, requires_grad=DIFFERENTIATE)
    simulator = Simulator(
        CrystalConfig(cell_a=cell_a, cell_b=80.0, cell_c=90.0, N_cells=(5, 5, 5), default_F=100.0,
                      mosaic_spread_deg=0.5, CRYSTAL),
        DetectorConfig(distance_mm=distance, DETECTOR), BeamConfig(BEAM),
        sampling=SamplingConfig(memory_budget_bytes=BUDGET))
    image = simulator.run()
    if DIFFERENTIATE:
        image.sum().backward()
        assert torch.isfinite(cell_a.grad) and cell_a.grad != 0
    assert image.max() > 0
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
IMPORT_ONLY = "import resource, torch, torch._dynamo; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"


def peak_bytes(program: str) -> int:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    return int(done.stdout.split()[-1])


def run(*, crystal: str, detector: str, beam: str = "", differentiate: bool = False, budget: int = GIB) -> int:
    program = dedent(COMMON)
    for word, value in (("DIFFERENTIATE", differentiate), ("CRYSTAL", crystal), ("DETECTOR", detector),
                        ("BEAM", beam), ("BUDGET", budget)):
        program = program.replace(word, str(value))
    return peak_bytes(program)


@pytest.fixture(scope="module")
def imports() -> int:
    """What torch occupies before any work."""
    return peak_bytes(IMPORT_ONLY)


REGION = "spixels=1024, fpixels=1024, oversample=1, roi_xmin=480, roi_xmax=543, roi_ymin=480, roi_ymax=543"
SMALL = "spixels=64, fpixels=64, pixel_size_mm=1.0, roi_xmin=20, roi_xmax=27, roi_ymin=20, roi_ymax=27"


def test_a_million_pixels_and_five_hundred_domains(imports: int) -> None:
    peak = run(crystal="mosaic_domains=500", detector=REGION)
    assert peak < 2 * GIB
    assert peak - imports < 0.15 * GIB


def test_derivatives_do_not_multiply_it(imports: int) -> None:
    """500 domains, 16 sub-pixels and 4 sources: 2 million evaluations, of which the derivative keeps a part."""
    peak = run(crystal="mosaic_domains=500", detector=f"{SMALL}, oversample=4", differentiate=True,
               beam="hdiv_range_mrad=1.0, hdiv_steps=2, vdiv_range_mrad=1.0, vdiv_steps=2")
    assert peak < 2 * GIB
    assert peak - imports < 0.15 * GIB


def test_a_smaller_budget_is_kept_by_a_single_pixel(imports: int) -> None:
    """1.8 million evaluations, whose derivative would keep some 400 MiB if it kept all."""
    peak = run(crystal="mosaic_domains=1000, phi_steps=50, osc_range_deg=1.0", differentiate=True, budget=32 * 2**20,
               detector="spixels=64, fpixels=64, oversample=6, roi_xmin=20, roi_xmax=20, roi_ymin=20, roi_ymax=20")
    assert peak - imports < 0.1 * GIB
