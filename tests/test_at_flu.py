"""AT-FLU: amount of light and clipping of the crystal (spec-a-core § 11.8)."""

from __future__ import annotations

import pytest

from acceptance import image, simulator, working_folder  # noqa: F401
from nanobrag_torch.constants import CLASSICAL_ELECTRON_RADIUS_SQUARED_M2, DEFAULT_FLUENCE_PER_M2

pytestmark = pytest.mark.usefixtures("folder")

RUN = "$D $TRI -oversample 1 -detpixels 16"


def test_at_flu_001_the_default_counts_photons_per_electron():
    assert DEFAULT_FLUENCE_PER_M2 == 125932015286227086360700780544
    assert CLASSICAL_ELECTRON_RADIUS_SQUARED_M2 * DEFAULT_FLUENCE_PER_M2 == 1.0


@pytest.mark.parametrize(("options", "fluence"), [
    ("-exposure 3", DEFAULT_FLUENCE_PER_M2), ("-flux 1e12", 1e20),
    ("-flux 1e12 -exposure 2 -beamsize 0.05", 8e20), ("-fluence 1e25", 1e25),
    ("-flux 1e12 -fluence 1e25", 1e20), ("-fluence 1e25 -flux 1e12", 1e20)])
def test_at_flu_002_fluence(options, fluence):
    run = f"{RUN} {options}"
    assert simulator(run).beam.fluence_per_m2.item() == pytest.approx(fluence, rel=1e-14)
    assert image(run) * (DEFAULT_FLUENCE_PER_M2 / fluence) == pytest.approx(image(RUN), rel=1e-12)


@pytest.mark.parametrize(("options", "edge_mm"), [("", 0.1), ("-beamsize 0.05", 0.05), ("-beamsize 0.9", 0.5)])
def test_at_flu_003_edges_are_cut_to_the_beam(options, edge_mm):
    found = simulator(f"{RUN} -samplesize 0.5 {options}").crystal.config.sample_size_mm
    assert found == (0.5, edge_mm, edge_mm)
