"""AT-PARALLEL-004: MOSFLM adds half a pixel to a beam centre, XDS does not.

Setup: one triclinic crystal; the same nominal centre in MOSFLM, DENZO (no half pixel) and XDS.
Expectation: MOSFLM's pattern is that of DENZO moved by half a pixel on both axes; a MOSFLM centre given half a pixel
lower is DENZO's image; both programs give one pattern in every convention.
Command: nanoBragg -cell 70 80 90 75 85 95 -misset 15 20.5 30.25 ... -mosflm|-denzo|-xds
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.model import image, setup
from parity.pattern import assert_same_pattern

BASE = ("-cell 70 80 90 75 85 95 -misset 15 20.5 30.25 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 96 "
        "-pixel 0.4 -oversample 1")
PIXEL_MM = 0.4


def centre_px(words: str) -> np.ndarray:
    found = setup(f"{BASE} {words}")
    return np.array([found["Sbeam_m"], found["Fbeam_m"]]) * 1000 / PIXEL_MM


def test_mosflm_adds_half_a_pixel_on_both_axes():
    denzo, mosflm = (centre_px(f"{name} -Xbeam 12.8 -Ybeam 15.2") for name in ("-denzo", "-mosflm"))
    assert mosflm - denzo == pytest.approx([0.5, 0.5], abs=1e-12)


def test_xds_adds_nothing():
    """ORGX counts pixels from 1 at their centres: 0.5 is the outer edge."""
    assert centre_px("-xds -ORGX 20.5 -ORGY 30.5") == pytest.approx([30, 20], abs=1e-12)


def test_half_a_pixel_less_in_mosflm_is_denzo():
    mosflm = image(f"{BASE} -mosflm -Xbeam {12.8 - PIXEL_MM / 2} -Ybeam {15.2 - PIXEL_MM / 2}")
    np.testing.assert_allclose(image(f"{BASE} -denzo -Xbeam 12.8 -Ybeam 15.2"), mosflm, rtol=1e-9)


def test_defaults_lie_half_a_pixel_apart():
    default, mosflm = (centre_px(name) for name in ("-denzo", "-mosflm"))
    assert default == pytest.approx([48.5, 48.5])
    assert mosflm == pytest.approx([49, 49])


@pytest.mark.parametrize("convention", ["-mosflm", "-denzo", "-adxv", "-xds", "-dials"])
def test_c_program_gives_the_same_pattern(c_image, convention):
    words = f"{BASE} {convention} -Xbeam 17.3 -Ybeam 20.1 -ORGX 40 -ORGY 52"
    assert_same_pattern(c_image(words), image(words))
