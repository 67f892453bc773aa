"""AT-PARALLEL-017: detectors at grazing incidence.

Setup: detectors turned by 60 to 88° and swung by 88°.
Expectation: every pixel is that of its Miller indices and of a solid angle that falls with the cosine of incidence,
reckoned from the set-up alone; a detector that the beam never meets is refused in one line.
Command: nanoBragg ... -detector_roty 80 | -detector_rotz 85 | -twotheta 88
"""

from __future__ import annotations

import numpy as np
import pytest

from parity.geometry import miller_indices, pixels, vectors
from parity.model import image, setup
from parity.programs import run_this_program

BASE = ("-cell 60 70 80 90 95 90 -misset 3 5 7 -default_F 100 -N 5 -lambda 1.3 -distance 50 -detpixels 128 -pixel 0.5 "
        "-oversample 1")
GRAZING = {"roty-60": "-detector_roty 60", "roty-80": "-detector_roty 80", "rotz-85": "-detector_rotz 85",
           "twotheta-88": "-twotheta 88"}


@pytest.mark.parametrize("words", GRAZING.values(), ids=GRAZING)
def test_intensity_is_that_of_indices_and_oblique_solid_angle(words):
    """F²·(Π sin(πNh)/sin(πh))²·polarisation·ω."""
    found = setup(f"{BASE} {words} -nopolar")
    points = vectors(found, pixels(found))
    reach = np.linalg.norm(points, axis=1)
    indices = miller_indices(found, points / reach[:, None])
    offsets = np.pi * (indices - np.rint(indices))
    gratings = np.where(offsets == 0, 5, np.sin(5 * offsets) / np.where(offsets == 0, 1, np.sin(offsets)))
    omega = 0.25e-6 * (points @ found["odet_vector"]) / reach**3
    expected = (100 * gratings.prod(1)) ** 2 * omega
    simulated = image(f"{BASE} {words} -nopolar").ravel()
    np.testing.assert_allclose(simulated, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("words", ["-detector_roty 90", "-odet_vector 0 1 0"])
def test_detector_along_the_beam_is_refused(tmp_path, words):
    outcome = run_this_program(f"{BASE} {words}", tmp_path / "run")
    assert outcome.status == 2
    assert len(outcome.stderr.splitlines()) == 1
    assert list(outcome.folder.iterdir()) == []
