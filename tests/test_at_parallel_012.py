"""AT-PARALLEL-012: correlation with the C program's patterns.

Setup: a simple cubic cell on 1024 x 1024 pixels (λ 6.2 Å), a triclinic P1 cell, and a cubic cell on a tilted detector.
Expectation: correlation ≥ 0.9999 and ≥ 48 of the 50 strongest peaks within half a pixel, from the image before it is
rounded to float32; here 1 - correlation ≤ 1e-12, all peaks, a·a* = b·b* = c·c* = 1 to 1e-12 with the actual volume.
Command: nanoBragg -cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 6.2 -distance 100 -detpixels 1024 -pixel 0.1

These comparisons always run: the C program is built where there is none.
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.model import image, setup, simulator
from parity.pattern import assert_same_pattern

SIMPLE_CUBIC = ("-cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 6.2 -distance 100 -detpixels 1024 -pixel 0.1 "
                "-oversample 1")
TRICLINIC = ("-cell 70 80 90 75 85 95 -misset -89.968546 -31.328953 177.753396 -default_F 100 -N 5 -lambda 1 "
             "-distance 100 -detpixels 512 -pixel 0.1 -oversample 1")
TILTED_CUBIC = ("-cell 100 100 100 90 90 90 -default_F 100 -N 5 -lambda 1 -distance 100 -detpixels 512 -pixel 0.2 "
                "-detector_rotx 5 -detector_roty 3 -detector_rotz 2 -twotheta 15 -oversample 1")


class TestATParallel012ReferencePatternCorrelation:
    def test_simple_cubic_correlation(self, built_c_image):
        assert_same_pattern(built_c_image(SIMPLE_CUBIC), image(SIMPLE_CUBIC))

    def test_tilted_cubic_correlation(self, built_c_image):
        assert_same_pattern(built_c_image(TILTED_CUBIC), image(TILTED_CUBIC))


class TestATParallel012Triclinic:
    def test_triclinic_p1(self, built_c_image):
        assert_same_pattern(built_c_image(TRICLINIC), image(TRICLINIC))

    @pytest.mark.parametrize("words", [SIMPLE_CUBIC, TRICLINIC, f"{TRICLINIC} -clean"],
                             ids=["cubic", "triclinic", "triclinic-clean"])
    def test_axes_and_reciprocal_axes_are_dual(self, words):
        """With the volume that the axes span: the canonical program skews the c* of a triclinic cell, so that its
        reciprocal axes, made with the cell's volume, are too long by the ratio of the two."""
        cell = simulator(words).crystal.compute_cell_tensors()
        axes, reciprocal = cell.axes.numpy(), cell.reciprocal_axes.numpy()
        products = axes @ reciprocal.T * float(cell.V) / np.linalg.det(axes)
        np.testing.assert_allclose(products, np.eye(3), atol=1e-12)

    def test_clean_cell_has_the_volume_of_its_axes(self):
        found = setup(TRICLINIC.replace("-detpixels 512", "-detpixels 8 -clean"))
        volume = np.linalg.det([found["a_A"], found["b_A"], found["c_A"]])
        assert found["V_cell_A3"] == pytest.approx(volume, rel=1e-12)
        assert found["V_star_invA3"] * volume == pytest.approx(1, rel=1e-12)
