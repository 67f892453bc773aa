"""AT-PARALLEL-011: polarisation against theory.

Setup: the same pattern with -nopolar and with Kahn factors from -1 to 1, two polarisation axes.
Expectation: at every pixel the ratio is ½(1 + cos²2θ - κ·cos 2ψ·sin²2θ), 2θ from the beam and ψ the azimuth about it
from the E-vector; without κ that of an unpolarised beam.
Command: nanoBragg -cell ... -polar K | -nopolar [-polar_vector x y z]
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.geometry import directions, pixels, unit
from parity.model import image, setup

BASE = ("-cell 70 80 90 75 85 95 -misset 15 20.5 30.25 -default_F 100 -N 5 -lambda 1.5 -distance 60 -detpixels 64 "
        "-pixel 1 -oversample 1")
RECIPES = {"default": ("", 0.0), "unpolarised": ("-polar 0", 0.0), "synchrotron": ("-polar 0.95", 0.95),
           "complete": ("-polar 1", 1.0), "across": ("-polar -1", -1.0),
           "turned": ("-polar_vector 0 1 1 -polar 0.9", 0.9)}


@pytest.mark.parametrize(("words", "kahn"), RECIPES.values(), ids=RECIPES)
def test_ratio_to_no_correction_is_kahns_formula(words, kahn):
    frame = " ".join(words.split()[:4]) if "-polar_vector" in words else ""
    found = setup(f"{BASE} {words}")
    rays, beam = directions(found, pixels(found)), np.asarray(found["beam_vector"])
    electric = unit(np.cross(beam, np.cross(found["polar_vector"], beam)))
    cosine, along, across = rays @ beam, rays @ electric, rays @ np.cross(beam, electric)
    with np.errstate(invalid="ignore"):
        cos_2psi = np.nan_to_num((along**2 - across**2) / (along**2 + across**2))
    expected = 0.5 * (1 + cosine**2 - kahn * cos_2psi * (1 - cosine**2))
    ratio = image(f"{BASE} {words}") / image(f"{BASE} {frame} -nopolar")
    np.testing.assert_allclose(ratio.ravel(), expected, rtol=1e-12)


def test_a_forward_ray_is_not_polarised():
    for words in ("-polar 0", "-polar 0.95", "-polar -1"):
        centred = f"{BASE} -Xbeam 32 -Ybeam 32"
        assert image(f"{centred} {words}")[32, 32] == pytest.approx(image(f"{centred} -nopolar")[32, 32], rel=1e-12)
