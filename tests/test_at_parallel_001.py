"""AT-PARALLEL-001: the beam centre scales with the detector size.

Setup: cubic cell of 100 Å, N 5, λ 6.2 Å, pixels of 0.1 mm, no beam centre given, detectors of 64 to 512 pixels.
Expectation: the MOSFLM default puts the beam at half the size and one pixel more on both axes, so that the direct-beam
spot moves with the detector size; both programs give one pattern (correlation ≥ 0.9999, all strongest peaks).
Command: nanoBragg -cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 6.2 -distance 100 -pixel 0.1 -detpixels N
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.model import image, setup
from parity.pattern import assert_same_pattern, brightest_near

BASE = "-cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 6.2 -distance 100 -pixel 0.1 -oversample 1"
SIZES = [(64, 64), (128, 128), (256, 256), (96, 64), (512, 128)]


def words(fast: int, slow: int) -> str:
    return f"{BASE} -detpixels_f {fast} -detpixels_s {slow}"


@pytest.mark.parametrize(("fast", "slow"), SIZES)
def test_beam_centre_is_half_the_size_and_a_pixel(fast, slow):
    found = setup(words(fast, slow))
    assert found["Fbeam_m"] == pytest.approx((fast / 2 + 1) * 1e-4, rel=1e-13)
    assert found["Sbeam_m"] == pytest.approx((slow / 2 + 1) * 1e-4, rel=1e-13)


@pytest.mark.parametrize(("fast", "slow"), SIZES[:4])
def test_direct_beam_spot_moves_with_the_size(fast, slow):
    wanted = np.array([slow / 2 + 0.5, fast / 2 + 0.5])
    assert brightest_near(image(words(fast, slow)), wanted) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("fast", "slow"), SIZES)
def test_c_program_gives_the_same_pattern(c_image, fast, slow):
    assert_same_pattern(c_image(words(fast, slow)), image(words(fast, slow)))
