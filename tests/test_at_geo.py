"""AT-GEO: detector geometry (spec-a-core § 11.1)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from acceptance import image, numbers, simulator, tables, traced, working_folder  # noqa: F401

pytestmark = pytest.mark.usefixtures("folder")

CRYSTAL = "-cell 100 -default_F 100 -N 5 -nonoise -nopgm -oversample 1"
SETUPS, = tables("spec-a-core.md", "10.2")
CUSTOM = "-fdet_vector 0 0 1"


def setup(command: str) -> dict:
    return traced(command, 0, 0)["setup"]


def test_at_geo_001_mosflm_origin():
    found = setup(f"{CRYSTAL} -detpixels 1024 -pixel 0.1 -distance 100 -Xbeam 51.2 -Ybeam 51.2")
    assert found["pix0_vector_m"] == pytest.approx([0.1, 0.05125, -0.05125], abs=1e-15, rel=0)
    assert [found[f"{axis}det_vector"] for axis in "fso"] == [[0, 0, 1], [0, -1, 0], [1, 0, 0]]


@pytest.mark.parametrize("asked", ["beam", "sample"])
@pytest.mark.parametrize("convention", ["adxv", "mosflm", "denzo", "xds", "dials", "custom"])
def test_at_geo_002_pivots_of_the_conventions(convention, asked):
    switch = CUSTOM if convention == "custom" else f"-{convention}"
    run = f"{CRYSTAL} -detpixels 16 -pixel 2 -twotheta 20 {switch} -pivot {asked}"
    imposed = {"xds": "SAMPLE", "dials": "SAMPLE", "custom": asked.upper()}.get(convention, "BEAM")
    assert setup(run)["pivot"] == imposed
    assert setup(f"{run} -clean")["pivot"] == asked.upper()
    if convention != "custom":
        assert np.array_equal(image(run), image(run.replace(f" -pivot {asked}", "")))


@pytest.mark.parametrize("row", SETUPS, ids=lambda row: row[0])
def test_at_geo_003_setups_of_conventions_and_pivots(row):
    command = SETUPS[-2][0].replace("-pivot beam", "-pivot sample") if row[0].startswith("the same") else row[0]
    found = setup(f"{command} $CUB -oversample 1")
    names = ("pix0_vector_m", "distance_m", "close_distance_m", "Fbeam_m", "Sbeam_m", "Fclose_m", "Sclose_m")
    measured = np.hstack([found[name] for name in names])
    assert measured == pytest.approx(numbers(" ".join(row[1:])), rel=1e-12, abs=1e-16)


@pytest.mark.parametrize("oversample", [1, 2])
def test_at_geo_004_pixel_positions(oversample):
    trace = traced(f"$D $CUB $ROT -oversample {oversample}", 12, 45)
    f, s, pix0 = (np.array(trace["setup"][name]) for name in ("fdet_vector", "sdet_vector", "pix0_vector_m"))
    sub = 0.0005 / oversample
    steps = range(oversample)
    for (i_s, i_f), found in zip(itertools.product(steps, steps), trace["subpixels"], strict=True):
        fast, slow = sub * (45 * oversample + i_f) + sub / 2, sub * (12 * oversample + i_s) + sub / 2
        position = fast * f + slow * s + pix0
        assert found["pixel_pos_m"] == pytest.approx(position, abs=1e-15, rel=0)
        assert found["airpath_m"] == pytest.approx(np.linalg.norm(position), rel=1e-14)
    close = pix0 @ np.array(trace["setup"]["odet_vector"])
    assert trace["setup"]["close_distance_m"] == pytest.approx(close, rel=1e-13)


def test_at_geo_005_curved_detector():
    run = "$D $TRI -oversample 1 -curved_det -Xbeam 14 -Ybeam 19"
    found = traced(run, 2, 18)["values"]["pixel_pos_m"]
    assert found == pytest.approx([0.0986608214377181, -0.00989910116663464, 0.0129634142619695], rel=1e-13)
    detector = simulator(run).detector
    airpath = np.linalg.norm(detector.get_pixel_coords().detach().numpy(), axis=-1)
    assert airpath == pytest.approx(np.full((64, 64), 0.1), rel=1e-13)
