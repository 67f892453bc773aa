"""AT-BKG: water background (spec-a-core § 11.7)."""

from __future__ import annotations

import pytest

from acceptance import image, traced, working_folder  # noqa: F401

pytestmark = pytest.mark.usefixtures("folder")

RUN = "$D $TRI -water 1 -dmin 8 -oversample 1"
EMPTY = "$D -cell 100 -default_F 1e-30 -water 1 -nopolar -point_pixel"
"""No crystal to speak of."""


def test_at_bkg_001_worked_pixels():
    value = traced(RUN, 26, 29)["values"]
    assert value["I_bg"] == pytest.approx(220975801715.394, rel=1e-14)
    assert value["intensity_f64"] == pytest.approx(5509439.92411936, rel=1e-8)
    assert image(RUN)[2, 2] == 0.0
    assert image(f"{RUN} -clean")[2, 2] > 5e6


def test_at_bkg_002_scaling_of_the_canonical_program():
    whole = image(f"{EMPTY} -oversample 1")
    ratio = 125932015286227086360700780544 / 1e28
    assert image(f"{EMPTY} -oversample 1 -fluence 1e28") * ratio**2 == pytest.approx(whole, rel=1e-12)
    assert traced(f"{EMPTY} -oversample 3", 0, 0)["values"]["steps"] == 9
    omega = traced(f"{EMPTY} -oversample 3", 5, 5)["values"]["omega_used_sr"] / traced(
        f"{EMPTY} -oversample 1", 5, 5)["values"]["omega_used_sr"]
    assert image(f"{EMPTY} -oversample 3")[5, 5] == pytest.approx(whole[5, 5] * omega / 9, rel=1e-12)


def test_at_bkg_002_scaling_in_clean_mode():
    whole = image(f"{EMPTY} -oversample 1 -clean")
    assert image(f"{EMPTY} -oversample 1 -clean -fluence 1e28") * 12.593201528622709 == pytest.approx(whole, rel=1e-12)
    assert image(f"{EMPTY} -oversample 3 -clean") == pytest.approx(whole, rel=1e-4)
    assert image(f"{EMPTY} -oversample 1 -clean -water 2") == pytest.approx(8 * whole, rel=1e-12)
