"""AT-PARALLEL-016: extreme scales.

Setup: cells of 3 to 1100 Å, wavelengths of 0.05 to 40 Å, distances of 1 mm to 20 m, 2 to 1000 cells, structure factors
of 1e-6 to 1e6, a detector of a single pixel.
Expectation: every pixel is finite and not negative; the pixel at the direct beam, where all indices are 0, holds
r_e²·fluence·F²·N⁶·ω exactly.
Command: nanoBragg -cell A B C 90 90 90 -N N -lambda W -distance D -pixel P -default_F F
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.model import image

SCALES = {
    "small-cell": "-cell 3 4 5 -N 20 -lambda 0.5 -distance 30 -pixel 1 -default_F 100",
    "large-cell": "-cell 900 1000 1100 -N 2 -lambda 2 -distance 800 -pixel 0.2 -default_F 100",
    "short-wavelength": "-cell 50 60 70 -N 5 -lambda 0.05 -distance 500 -pixel 0.5 -default_F 100",
    "long-wavelength": "-cell 50 60 70 -N 5 -lambda 40 -distance 40 -pixel 1 -default_F 100",
    "close-by": "-cell 50 60 70 -N 5 -lambda 1 -distance 1 -pixel 0.2 -default_F 100",
    "far-away": "-cell 50 60 70 -N 100 -lambda 1 -distance 20000 -pixel 5 -default_F 100",
    "strong": "-cell 50 60 70 -N 1000 -lambda 1 -distance 100 -pixel 0.1 -default_F 1e6",
    "weak": "-cell 50 60 70 -N 3 -lambda 1 -distance 100 -pixel 0.1 -default_F 1e-6",
}


def value(words: str, option: str) -> float:
    given = words.split()
    return float(given[given.index(option) + 1])


@pytest.mark.parametrize("words", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("pixels", [1, 49])
def test_scale(words, pixels):
    """A MOSFLM centre of a whole number of pixels is the centre of a pixel; r_e²·fluence is 1 by default."""
    middle, size = pixels // 2, value(words, "-pixel")
    centred = f"{words} -detpixels {pixels} -Xbeam {middle * size!r} -Ybeam {middle * size!r} -oversample 1"
    found = image(centred)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    omega = (size / value(words, "-distance")) ** 2
    expected = value(words, "-default_F") ** 2 * value(words, "-N") ** 6 * omega
    assert found[middle, middle] == pytest.approx(expected, rel=1e-9)
