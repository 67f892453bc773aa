"""AT-POL: polarisation against theory (spec-a-core § 11.5)."""

from __future__ import annotations

import numpy as np
import pytest

from acceptance import image, simulator, working_folder  # noqa: F401

pytestmark = pytest.mark.usefixtures("folder")

RUN = "$D $TRI -oversample 1 -distance 40"


def ratio(options: str) -> np.ndarray:
    """Polarisation factor of every pixel: the image over that without polarisation."""
    return image(f"{RUN} {options}") / image(f"{RUN} {options} -nopolar")


def directions(options: str) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors to the pixels (slow, fast, 3) and along the beam (3,)."""
    detector = simulator(f"{RUN} {options}").detector
    places = detector.get_pixel_coords().detach().numpy()
    return places / np.linalg.norm(places, axis=-1, keepdims=True), detector.beam_direction().detach().numpy()


def test_at_pol_001_unpolarised():
    d, beam = directions("-twotheta 25")
    assert ratio("-twotheta 25") == pytest.approx(0.5 * (1 + (d @ beam)**2), rel=1e-12)


@pytest.mark.parametrize("kahn", [0.95, -1.0])
@pytest.mark.parametrize(("options", "axis"), [("-mosflm", (0, 0, 1)), ("-dials", (0, 1, 0)),
                                               ("-polar_vector 0 1 1", (0, 1, 1))])
def test_at_pol_002_polarised(kahn, options, axis):
    """ψ is the azimuth of the scattering direction about the beam, from the E-vector."""
    d, beam = directions(options)
    e_vector = np.array(axis) / np.linalg.norm(axis)
    across = np.cross(beam, e_vector)
    cosine = d @ beam
    psi = np.arctan2(d @ across, d @ e_vector)
    expected = 0.5 * (1 + cosine**2 - kahn * np.cos(2 * psi) * (1 - cosine**2))
    assert ratio(f"{options} -polar {kahn}").ravel() == pytest.approx(expected.ravel(), rel=1e-12, abs=1e-14)


def test_at_pol_003_nopolar_with_oversample_polar():
    run, without = f"{RUN} -oversample_polar", f"{RUN} -nopolar -oversample_polar"
    assert np.array_equal(image(without), image(run))
    assert np.array_equal(image(f"{without} -clean"), image(f"{RUN} -nopolar -clean"))
