"""AT-PARALLEL-015: every option is read in its own unit.

Setup: mm, µm, Å, eV, degrees, mrad and per cent in one command line.
Expectation: the resolved experiment holds the same quantities in m, rad and fractions; an energy of 12398.42/λ eV is
the wavelength λ, and sizes said in mm or in pixels or cells give the same bits.
Command: nanoBragg -energy E -distance mm -detector_thick µm -hdivrange mrad -dispersion % ...
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from parity.model import image, setup, simulator

BASE = "-cell 100 100 100 90 90 90 -misset 5 10 15 -default_F 100 -oversample 1"
PLAIN = "-lambda 1.5 -distance 100 -detpixels 64 -pixel 0.5 -N 5"
MIXED = ("-energy 8265.61333333 -distance 123.4 -pixel 0.25 -detpixels 32 -detector_thick 450 -detector_abs 500 "
         "-hdivrange 4 -hdivsteps 3 -dispersion 1.5 -dispsteps 3 -phi 30 -osc 0.5 -phisteps 2 -detector_rotx 5 "
         "-mosaic_spread 0.5 -mosaic_domains 2 -N 5")
RESOLVED = {
    "lambda0_m": 12398.42 / 8265.61333333 * 1e-10, "distance_m": 0.1234, "pixel_size_m": 2.5e-4, "detsize_f_m": 0.008,
    "detector_thick_m": 4.5e-4, "detector_mu_per_m": 2000, "hdivrange_rad": 0.004, "hdivstep_rad": 0.002,
    "dispersion": 0.015, "phi0_rad": math.radians(30), "osc_rad": math.radians(0.5), "rotx_rad": math.radians(5),
    "mosaic_spread_rad": math.radians(0.5), "a_len_A": 100, "alpha_rad": math.pi / 2,
}


@pytest.fixture(scope="module")
def mixed() -> dict:
    return setup(f"{BASE} {MIXED}")


@pytest.mark.parametrize("name", RESOLVED)
def test_quantity_in_si_units(mixed, name):
    assert mixed[name] == pytest.approx(RESOLVED[name], rel=1e-12)


@pytest.mark.parametrize(
    ("one", "other"),
    [("-lambda 1.5 ", f"-energy {12398.42 / 1.5!r} "), ("-detpixels 64", "-detsize 32"), ("-N 5", "-xtalsize 4.95e-5"),
     ("-distance 100", "-distance 1e2"), ("-N 5", "-Na 5 -Nb 5 -Nc 5")])
def test_said_in_another_unit_the_image_is_the_same(one, other):
    words = f"{BASE} {PLAIN}"
    assert one in words
    np.testing.assert_allclose(image(words.replace(one, other)), image(words), rtol=1e-9)


def test_water_is_in_micrometres():
    """2.57² (g/cm³ → molecules/m³) w³: (1 µm)³ of water holds 1e-12/18·6.02214179e23 molecules."""
    background = float(simulator(f"{BASE} {PLAIN} -water 1").scene().background)
    assert background == pytest.approx(2.57**2 * 1e-12 / 18 * 6.02214179e23, rel=1e-12)
