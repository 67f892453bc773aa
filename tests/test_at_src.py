"""AT-SRC: sources (spec-a-core § 11.4)."""

from __future__ import annotations

import numpy as np
import pytest

from acceptance import image, traced, working_folder  # noqa: F401

pytestmark = pytest.mark.usefixtures("folder")


def sources(options: str) -> np.ndarray:
    """Unit position, weight and wavelength (m) of every source, (n, 5)."""
    return np.array(traced(f"$D $CUB -oversample 1 {options}", 0, 0)["setup"]["sources_unit_xyz_weight_lambda_m"])


def test_at_src_001_divergence_and_dispersion():
    found = sources("-hdivrange 4 -hdivsteps 3 -vdivrange 6 -vdivsteps 3 -dispersion 2 -dispsteps 2")
    side, up = (-0.999998000000667, 0, 0.00199999866666693), (-0.999995500003375, 0.00299999550000203, 0)
    places = [side, up, (-1, 0, 0), (up[0], -up[1], 0), (side[0], 0, -side[2])]
    assert found[:, :3] == pytest.approx(np.repeat(places, 2, axis=0), abs=1e-15)
    assert found[:, 4] == pytest.approx(np.tile([1.485e-10, 1.515e-10], 5), rel=1e-14)


@pytest.mark.parametrize(("options", "kept"), [
    ("-divergence 2 -divsteps 2", 4), ("-divergence 2 -divsteps 3", 5), ("-divergence 2 -divsteps 4", 12),
    ("-hdivrange 0.28 -hdivstep 0.02 -vdivrange 0.28 -vdivstep 0.02", 167),
    ("-divergence 2 -divsteps 4 -square_div", 16), ("-hdivrange 2 -hdivsteps 9", 9)])
def test_at_src_002_round_and_square_grids(options, kept):
    assert len(sources(options)) == kept


def test_at_src_003_weights(folder):
    lines = (folder / "sources.txt").read_text().splitlines()
    alike = ("{0} {1} {2} 1 {4}".format(*line.split()) for line in lines)
    (folder / "alike.txt").write_text("\n".join(alike) + "\n")
    base = "$D $TRI -oversample 1 -nopolar"
    assert np.array_equal(image(f"{base} -sourcefile sources.txt"), image(f"{base} -sourcefile alike.txt"))
    singles = []
    for line in lines:
        (folder / "single.txt").write_text(line + "\n")
        singles.append(image(f"{base} -clean -sourcefile single.txt"))
    weights = np.array([1.0, 0.5, 2.0])
    expected = np.tensordot(weights / weights.mean(), singles, axes=1) / 3
    assert image(f"{base} -clean -sourcefile sources.txt") == pytest.approx(expected, rel=1e-10)


def test_at_src_004_listed_sources():
    found = traced("$D $TRI -oversample 1 -polar 0.7 -sourcefile sources.txt", 62, 59)["values"]
    assert found["intensity_f64"] == pytest.approx(2122.60237506511, rel=1e-8)
