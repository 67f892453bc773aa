"""AT-SAM: crystals, lattice factors, steps (spec-a-core § 11.3)."""

from __future__ import annotations

import numpy as np
import pytest

from acceptance import image, numbers, simulator, tables, traced, working_folder  # noqa: F401

pytestmark = pytest.mark.usefixtures("folder")

CELLS, = tables("spec-a-core.md", "10.1")
PIXELS, = tables("spec-a-core.md", "10.3")
CELL_COMMANDS = {"`trace.mat`, λ 1.5": "-mat trace.mat -lambda 1.5 -default_F 100"}
SWEEP = "$D $TRI -oversample 1 -phi 0 -osc 1.5 -phisteps 3"


@pytest.mark.parametrize("row", CELLS, ids=lambda row: row[0])
def test_at_sam_001_cell_vectors(row):
    found = traced(f"{CELL_COMMANDS.get(row[0], row[0])} -nonoise -nopgm -detpixels 8 -oversample 1", 0, 0)["setup"]
    expected = numbers(" ".join(row[1:]))
    assert found["V_cell_A3"] == pytest.approx(expected[0], rel=1e-12)
    direct = np.array([found[f"{axis}_A"] for axis in "abc"])
    assert direct.ravel() == pytest.approx(expected[1:], rel=1e-12, abs=1e-13)
    reciprocal = np.array([found[f"{axis}_star_invA"] for axis in "abc"])
    actual = np.linalg.det(direct) / found["V_cell_A3"]
    assert direct @ reciprocal.T == pytest.approx(actual * np.eye(3), abs=1e-12)


@pytest.mark.parametrize("command", ["$CUB", "$TRI", "-mat trace.mat -default_F 100", "-cell 50 60 70 110 100 115"])
def test_at_sam_001_duality(command):
    """The volume is the actual one and a·a* = 1 in clean mode."""
    cell = simulator(f"{command} -lambda 1.5 -default_F 100 -clean -nonoise").crystal.compute_cell_tensors()
    assert (cell.axes @ cell.reciprocal_axes.T).numpy() == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(cell.axes.numpy()) == pytest.approx(cell.V.item(), rel=1e-12)


@pytest.mark.parametrize("row", PIXELS, ids=lambda row: f"{row[0]} {row[1]}")
def test_at_sam_002_pixels(row):
    """Indices, lattice factor, factors and intensity of every pixel of the table."""
    fast, slow = map(int, row[1].split(","))
    found = traced(f"$D {row[0]} -oversample 1", slow, fast)
    value, indices, lattice, factors = found["values"], numbers(row[2]), numbers(row[3]), numbers(row[4])
    if len(indices) == 3:
        assert [value[axis] for axis in "hkl"] == pytest.approx(indices, rel=1e-12, abs=1e-13)
    if lattice:
        assert value["F_latt"] == pytest.approx(lattice[0], rel=1e-8)
    assert [value["omega_used_sr"], value["polar_used"]] == pytest.approx(factors[:2], rel=1e-12)
    assert value["capture_fraction_used"] == pytest.approx((factors + [1.0])[2], rel=1e-12)
    assert value["intensity_f64"] == pytest.approx(float(row[5]), rel=1e-8)


def test_at_sam_003_the_sum_is_divided_by_steps(folder):
    (folder / "same.txt").write_text("-10 0 0 1 1.5e-10\n" * 3)
    still = image("$D $TRI -oversample 1")
    assert image("$D $TRI -oversample 1 -phi 0 -osc 0") == pytest.approx(still, rel=1e-14)
    assert image("$D $TRI -oversample 1 -sourcefile same.txt") == pytest.approx(still, rel=1e-14)
    assert simulator("$D $TRI -oversample 1 -osc 0 -sourcefile same.txt -detector_thick 9").choices.steps == 6


def test_at_sam_004_carry_over_at_zero():
    last, middle = image("$D $TRI -oversample 1 -phi 1"), image("$D $TRI -oversample 1 -phi 0.5")
    still = image("$D $TRI -oversample 1")
    swept = image(SWEEP)
    carried = (2 * last + middle) / 3
    true = (still + middle + last) / 3
    assert swept.ravel()[1:] == pytest.approx(carried.ravel()[1:], rel=1e-9)
    assert swept[0, 0] == pytest.approx(true[0, 0], rel=1e-12)
    assert image(f"{SWEEP} -clean") == pytest.approx(
        sum(image(f"$D $TRI -oversample 1 -clean -phi {angle}") for angle in (0, 0.5, 1)) / 3, rel=1e-9)


def test_at_sam_005_mosaic_domains():
    setup = traced("$D $TRI -oversample 1 -mosaic 0.5 -mosaic_domains 3", 0, 0)["setup"]
    first, second, third = np.array(setup["mosaic_umats_row_major"])
    assert np.array_equal(first, np.eye(3).ravel())
    assert second == pytest.approx(
        [0.999965920897845, -0.00797516809145802, 0.00213394864943091, 0.0079761872189556, 0.999968079496629,
         -0.000469494698829757, -0.00213013623357463, 0.000486499472815474, 0.999997612916096], abs=1e-12)
    assert third == pytest.approx(
        [0.999991435992216, 0.00284164410300477, 0.00300882053583839, -0.00285848579190532, 0.999980189430753,
         0.00560801257246951, -0.00299282495353471, -0.00561656521615826, 0.999979748391921], abs=1e-12)
