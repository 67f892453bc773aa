"""AT-STR: structure factors (spec-a-core § 11.2)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acceptance import image, reflections, traced, working_folder  # noqa: F401
from nanobrag_torch import Crystal, CrystalConfig
from nanobrag_torch.io.hkl import read_hkl
from nanobrag_torch.physics.structure_factor import tricubic_factor

GRID = ("-lambda 3 -distance 100 -detpixels 64 -pixel 0.5 -nonoise -nopgm -cell 70 80 90 75 85 95 "
        "-misset 15 20.5 30.25 -N 3 -oversample 1 -hkl grid.hkl")


def worked_factor(h: int, k: int, l: int) -> int:  # noqa: E741
    return 40 + 4 * ((7 * (h + 9) + 11 * (k + 9) + 13 * (l + 9)) % 23)


def crystal_of(folder, text: str, default_F: float) -> Crystal:
    (folder / "list.hkl").write_text(text)
    table = read_hkl(folder / "list.hkl", default_F)
    return Crystal(CrystalConfig(cell_a=50.0, default_F=default_F), structure_factors=table)


def factors(crystal: Crystal, *indices: tuple[float, float, float]) -> list[float]:
    return crystal.get_structure_factor(*torch.tensor(indices, dtype=torch.float64).unbind(-1)).tolist()


def test_at_str_001_ties_go_down(folder):
    crystal = crystal_of(folder, "".join(f"{h} 0 0 {100 + h}\n" for h in range(-3, 4)), 0.0)
    ties = [(x, 0.0, 0.0) for x in (0.5, 1.5, -0.5, -1.5)]
    assert factors(crystal, *ties) == [100, 101, 99, 98]


def test_at_str_002_gaps_and_outside_have_the_default(folder):
    crystal = crystal_of(folder, "0 0 0 100\n1 0 0 50\n0 1 0 25\n-1 0 0 33\n0 0 1 10\n0 0 1 11\n", 20.0)
    listed = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, 0, 1)]
    assert factors(crystal, *listed) == [100, 50, 25, 33, 11]
    assert factors(crystal, (1, 1, 0), (-1, 0, 1), (2, 0, 0), (0, 0, -1), (500, -500, 0)) == [20] * 5


def test_at_str_003_cubic_interpolation(folder):
    reflections(folder, "grid.hkl", 8, worked_factor)
    found = traced(f"{GRID} -interpolate", 41, 47)["values"]
    assert found["F_cell"] == pytest.approx(123.626849729213, rel=1e-12)
    assert found["intensity_f64"] == pytest.approx(236.355705223221, rel=1e-8)


def test_at_str_003_a_cubic_polynomial_is_met_exactly(folder):
    def polynomial(h, k, l):  # noqa: E741
        return 500 + h**3 - 2 * h * k**2 + 3 * l**3 * k - l**2 * h**2 + 5 * k

    reflections(folder, "cubic.hkl", 5, polynomial)
    grid = crystal_of(folder, (folder / "cubic.hkl").read_text(), 0.0).factor_grid()
    h, k, l = torch.rand(3, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 5 - 2.5  # noqa: E741
    assert tricubic_factor(grid, h, k, l).numpy() == pytest.approx(polynomial(h, k, l).numpy(), rel=1e-12, abs=1e-10)


def test_at_str_004_interpolation_ends_where_the_box_does(folder):
    """A list too small for the corners of the detector: its first pixel switches interpolation off for good."""
    reflections(folder, "grid.hkl", 4, worked_factor)
    nearest = image(f"{GRID} -nointerpolate")
    assert np.array_equal(image(f"{GRID} -interpolate"), nearest)
    clean, clean_nearest = image(f"{GRID} -interpolate -clean"), image(f"{GRID} -nointerpolate -clean")
    assert clean[0, 0] == clean_nearest[0, 0]
    assert clean[33, 33] != pytest.approx(clean_nearest[33, 33], rel=1e-3)
