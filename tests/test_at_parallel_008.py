"""AT-PARALLEL-008: registration of many peaks of a triclinic crystal.

Setup: cell 70 80 90 75 85 95, N 5, 256 x 256 pixels of 0.2 mm.
Expectation: the Hungarian method pairs each of the C program's 50 strongest peaks with one of its own here within half
a pixel; a shift of the detector is found again as the shift of all pairs; the peaks lie at whole Miller indices.
Command: nanoBragg -cell 70 80 90 75 85 95 -misset 10 20 30 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 256
-pixel 0.2
"""

from __future__ import annotations

import numpy as np

from nanobrag_torch.compare import match_peaks
from parity.geometry import directions, miller_indices
from parity.model import image, setup
from parity.pattern import assert_same_pattern, matched, strongest

WORDS = ("-cell 70 80 90 75 85 95 -misset 10 20 30 -default_F 100 -N 5 -lambda 1.5 -distance 100 -detpixels 256 "
         "-pixel 0.2 -oversample 1 -Xbeam 25.7")


def test_c_program_gives_the_same_pattern(c_image):
    assert_same_pattern(c_image(f"{WORDS} -Ybeam 25.7"), image(f"{WORDS} -Ybeam 25.7"))


def test_fifty_strongest_peaks_pair_one_to_one(c_image):
    match = match_peaks(c_image(f"{WORDS} -Ybeam 25.7"), image(f"{WORDS} -Ybeam 25.7"), 50)
    assert match.found == match.wanted == 50
    assert len(set(match.pairs[:, 1])) == 50
    assert match.distances_px.max() < 1e-5


def test_shift_of_the_detector_is_the_shift_of_all_pairs():
    here, shifted = (strongest(image(f"{WORDS} -Ybeam {y_mm}"), 400) for y_mm in (25.7, 25.7 + 3 * 0.2))
    wanted = here[:50] + [0, 3]
    wanted = wanted[wanted[:, 1] < 250]
    assert len(wanted) > 40
    assert matched(wanted, shifted, radius_px=1e-3) == len(wanted)


def test_strongest_peaks_have_nearly_whole_indices():
    words = f"{WORDS} -Ybeam 25.7"
    found = setup(words)
    indices = miller_indices(found, directions(found, strongest(image(words), 50)))
    assert np.abs(indices - np.rint(indices)).max() < 1 / found["Na"]
