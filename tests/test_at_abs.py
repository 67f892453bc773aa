"""AT-ABS: absorption in the sensor (spec-a-core § 11.6)."""

from __future__ import annotations

import numpy as np
import pytest

from acceptance import image, simulator, traced, working_folder  # noqa: F401

pytestmark = pytest.mark.usefixtures("folder")

FLAT = "$D -cell 100 -default_F 100 -N 1 -oversample 1 -nopolar"


@pytest.mark.parametrize(("options", "layers", "canonical_um", "clean_layers", "clean_um", "per_m"), [
    ("-detector_thick 450", 2, 225, 2, 225, 1 / 450e-6),
    ("-detector_thick 450 -detector_thicksteps 1", 2, 450, 1, 0, 1 / 450e-6),
    ("-detector_thick 450 -detector_thicksteps 4 -detector_abs 500", 4, 150, 4, 112.5, 1 / 500e-6),
])
def test_at_abs_001_layers(options, layers, canonical_um, clean_layers, clean_um, per_m):
    setup = traced(f"{FLAT} {options}", 0, 0)["setup"]
    assert setup["detector_thicksteps"] == layers
    assert setup["detector_thickstep_m"] == pytest.approx(canonical_um * 1e-6, rel=1e-14)
    assert setup["detector_mu_per_m"] == pytest.approx(per_m, rel=1e-14)
    clean = traced(f"{FLAT} {options} -clean", 0, 0)["setup"]
    assert clean["detector_thicksteps"] == clean_layers
    assert clean["detector_thickstep_m"] == pytest.approx(clean_um * 1e-6, rel=1e-14)


@pytest.mark.parametrize("options", ["", "-detector_thicksteps 4", "-detector_thick 450 -detector_abs inf"])
def test_at_abs_001_no_sensor(options):
    assert simulator(f"{FLAT} {options}").choices.layers == 1
    assert np.array_equal(image(f"{FLAT} {options}"), image(FLAT))


def test_at_abs_002_the_last_layer_counts():
    sensor = "-detector_abs 500 -detector_thick 450 -detector_thicksteps 4"
    trace = traced(f"$D $TRI -oversample 1 {sensor} -twotheta 20", 39, 51)
    fractions = [layer["capture_fraction"] for layer in trace["subpixels"]]
    assert fractions == pytest.approx(
        [0.27183866283947, 0.197924659300998, 0.144123575618372, 0.104958175283419], rel=1e-12)
    assert [term["I_term"] for term in trace["terms"]] == pytest.approx(
        [139070833.306459, 148690388.365254, 143101942.83752, 123730454.666596], rel=1e-8)
    assert trace["values"]["capture_fraction_used"] == fractions[-1]
    assert trace["values"]["intensity_f64"] == pytest.approx(1387.06824731971, rel=1e-8)


@pytest.mark.parametrize("layers", [2, 5])
def test_at_abs_003_fractions_add_up(layers):
    """Of a single cell every layer scatters alike, but for its place 0.45 µm deep at most."""
    bare = "-detector_roty 20"
    sensor = f"{bare} -detector_abs 300 -detector_thick 0.45 -detector_thicksteps {layers}"
    front = simulator(f"{FLAT} {bare}").detector.get_pixel_coords().detach().numpy()
    normal = np.array(traced(f"{FLAT} {bare}", 0, 0)["setup"]["odet_vector"])
    mu, depth = 1 / 300e-6, 0.45e-6
    absorbed = 1 - np.exp(-mu * depth / slant(front, normal))
    assert image(f"{FLAT} {sensor} -clean") / image(f"{FLAT} {bare}") == pytest.approx(absorbed, rel=2e-5)
    step = depth / (layers - 1)
    ahead = mu * step / slant(front + (layers - 1) * step * normal, normal)
    last = np.exp(-(layers - 1) * ahead) - np.exp(-layers * ahead)
    assert image(f"{FLAT} {sensor}") / image(f"{FLAT} {bare}") == pytest.approx(layers * last, rel=1e-9)


def slant(places: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Cosine between the way to each place and the detector's normal."""
    return places @ normal / np.linalg.norm(places, axis=-1)
