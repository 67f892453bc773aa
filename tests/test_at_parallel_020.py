"""AT-PARALLEL-020: all features together.

Setup: reflection list, rotation, mosaicity, divergence, dispersion, thick sensor, swung and turned detector, polarised
beam, sub-pixels, water, resolution limit and region of interest in one command line.
Expectation: both programs give one pattern; each feature changes it; nothing outside the region of interest is touched.
Command: nanoBragg -hkl block.hkl -phi 10 -osc 2 -phisteps 3 -mosaic_spread 0.8 ... -roi 3 44 5 40
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.model import image
from parity.pattern import assert_same_pattern
from parity.programs import reflection_block

FILES = {"block.hkl": reflection_block(6)}
BASE = ("-cell 40 45 50 80 85 95 -hkl block.hkl -default_F 20 -N 4 -lambda 1.5 -distance 90 -detpixels 48 -pixel 0.6 "
        "-oversample 2")
FEATURES = {
    "orientation": "-misset 8 16 24", "rotation": "-phi 10 -osc 2 -phisteps 3",
    "mosaicity": "-mosaic_spread 0.8 -mosaic_domains 3", "dispersion": "-dispersion 1 -dispsteps 2",
    "divergence": "-hdivrange 3 -hdivsteps 2", "sensor": "-detector_thick 300 -detector_abs 400 -detector_thicksteps 3",
    "swing": "-twotheta 12", "tilt": "-detector_rotx 4", "polarisation": "-polar 0.9", "water": "-water 3",
    "cutoff": "-dmin 12", "shape": "-gauss_xtal", "region": "-roi 3 44 5 40",
}


def words(*without: str) -> str:
    return " ".join([BASE, *(text for name, text in FEATURES.items() if name not in without)])


@pytest.fixture(scope="module")
def everything() -> np.ndarray:
    return image(words(), FILES)


def test_c_program_gives_the_same_pattern(c_image, everything):
    assert_same_pattern(c_image(words(), FILES), everything)


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_matters(everything, feature):
    assert np.mean(image(words(feature), FILES) != everything) > 0.01


def test_region_of_interest_is_inclusive_and_the_rest_empty(everything):
    full = image(words("region"), FILES)
    np.testing.assert_allclose(everything[5:41, 3:45], full[5:41, 3:45], rtol=1e-12)
    assert np.count_nonzero(everything) == np.count_nonzero(everything[5:41, 3:45]) > 1000
