"""AT-PARALLEL-005: each convention heeds its own beam-centre options.

Setup: a centre of 17 mm (fast) and 14 mm (slow) said in the options of each convention.
Expectation: the direct beam stands there; options that the convention does not heed change no pixel: -ORGX and
-Xclose in MOSFLM, ADXV, DENZO, and -Xbeam in XDS and DIALS.
Command: nanoBragg -cell 100 100 100 90 90 90 -misset 5 10 15 ... -xds -ORGX 34.5 -ORGY 28.5
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.model import image, setup

BASE = ("-cell 100 100 100 90 90 90 -misset 5 10 15 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 64 "
        "-pixel 0.5 -oversample 1")
SAID = {
    "mosflm": "-mosflm -Xbeam 13.75 -Ybeam 16.75",
    "denzo": "-denzo -Xbeam 14 -Ybeam 17",
    "adxv": "-adxv -Xbeam 17 -Ybeam 18",
    "xds": "-xds -ORGX 34.5 -ORGY 28.5",
    "dials": "-dials -ORGX 34.5 -ORGY 28.5",
    "custom-beam": "-fdet_vector 0 0 1 -Xbeam 17 -Ybeam 14",
    "custom-close": "-fdet_vector 0 0 1 -Xclose 17 -Yclose 14",
    "custom-origin": "-fdet_vector 0 0 1 -ORGX 34.5 -ORGY 28.5",
}


@pytest.mark.parametrize("words", SAID.values(), ids=SAID)
def test_direct_beam_stands_where_it_was_said(words):
    found = setup(f"{BASE} {words}")
    corner, beam = (np.asarray(found[name]) for name in ("pix0_vector_m", "beam_vector"))
    spot = beam * (corner @ found["odet_vector"]) / (beam @ found["odet_vector"]) - corner
    assert spot @ found["fdet_vector"] == pytest.approx(0.017, rel=1e-12)
    assert spot @ found["sdet_vector"] == pytest.approx(0.014, rel=1e-12)


@pytest.mark.parametrize(
    ("convention", "unheeded"),
    [(name, words) for name in ("-mosflm", "-adxv", "-denzo") for words in ("-ORGX 5 -ORGY 6", "-Xclose 5 -Yclose 6")]
    + [(name, "-Xbeam 5 -Ybeam 6") for name in ("-xds", "-dials")])
def test_unheeded_options_change_no_pixel(convention, unheeded):
    np.testing.assert_array_equal(image(f"{BASE} {convention} {unheeded}"), image(f"{BASE} {convention}"))


def test_close_distance_is_along_the_normal():
    found = setup(f"{BASE} -close_distance 90 -detector_roty 20")
    assert found["close_distance_m"] == pytest.approx(0.09, rel=1e-13)
    assert found["distance_m"] == pytest.approx(0.09 / np.cos(np.radians(20)), rel=1e-12)
