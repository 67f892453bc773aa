"""AT-PARALLEL-009: intensity goes with N⁶ and with F².

Setup: the beam on the centre of a pixel (reflection 000), and 010 in reflecting position on the centre of another.
Expectation: both pixels grow by N⁶ over N = 1 to 20, and the whole image by F² and by the fluence.
Command: nanoBragg -cell 100 100 100 90 90 90 -N N -default_F F -lambda 1.5 -distance 100 ...
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from parity.model import image

BRAGG = math.asin(1.5 / 200)
BEAM_PX = 60
CELLS = [1, 2, 5, 10, 20]
ORIENTED = f"-cell 100 100 100 90 90 90 -misset 0 0 {math.degrees(BRAGG)!r} -lambda 1.5 -distance 100 -pixel 0.1"


def words(cells: int, factor: float, beam_slow_px: float) -> str:
    """A beam centre in MOSFLM's millimetres: whole pixels are pixel centres."""
    return (f"{ORIENTED} -N {cells} -default_F {factor} -detpixels 80 -oversample 1 "
            f"-Xbeam {beam_slow_px * 0.1!r} -Ybeam {BEAM_PX * 0.1!r}")


def peak_intensities(cells: int) -> tuple[float, float]:
    """Pixels at the beam and at 010."""
    offset = 100 * math.tan(2 * BRAGG) / 0.1
    whole = math.floor(offset)
    direct = image(words(cells, 100, BEAM_PX))[BEAM_PX, BEAM_PX]
    diffracted = image(words(cells, 100, BEAM_PX + offset - whole))[BEAM_PX - whole, BEAM_PX]
    return float(direct), float(diffracted)


@pytest.mark.parametrize("reflection", [0, 1], ids=["000", "010"])
def test_peak_grows_with_the_sixth_power_of_n(reflection):
    intensities = np.array([peak_intensities(cells)[reflection] for cells in CELLS])
    np.testing.assert_allclose(intensities / intensities[0], np.array(CELLS, float) ** 6, rtol=1e-9)


@pytest.mark.parametrize("factor", [1e-3, 50, 200, 1e5])
def test_image_grows_with_the_square_of_f(factor):
    unit = image(words(5, 1, BEAM_PX))
    np.testing.assert_allclose(image(words(5, factor, BEAM_PX)), unit * factor**2, rtol=1e-13)


def test_image_grows_with_the_fluence():
    image_of = {fluence: image(f"{words(5, 100, BEAM_PX)} -fluence {fluence}") for fluence in (1e20, 3e24)}
    np.testing.assert_allclose(image_of[3e24], image_of[1e20] * 3e4, rtol=1e-12)


def test_flux_times_time_over_area_is_a_fluence():
    """1e12 photons/s for 0.1 s on (0.05 mm)²."""
    by_flux = image(f"{words(5, 100, BEAM_PX)} -flux 1e12 -exposure 0.1 -beamsize 0.05")
    np.testing.assert_allclose(by_flux, image(f"{words(5, 100, BEAM_PX)} -fluence {1e11 / (5e-5) ** 2!r}"), rtol=1e-12)
