"""The examples: the made-up structure factors obey their symmetry, the rotation image is a plausible measurement."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nanobrag_torch.io.smv import read_smv

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def factors(tmp_path_factory):
    path = tmp_path_factory.mktemp("factors") / "lysozyme.hkl"
    program = EXAMPLES / "lysozyme_structure_factors.py"
    subprocess.run([sys.executable, program, path, "--resolution", "3"], check=True, capture_output=True)
    return {tuple(row[:3].astype(int)): row[3] for row in np.loadtxt(path)}


class TestStructureFactors:
    def test_laue_symmetry_and_friedel_mates(self, factors):
        for (h, k, l), value in factors.items():  # noqa: E741
            assert factors[-h, -k, -l] == factors[-k, h, l] == factors[k, h, -l] == value

    def test_absences_of_p43212(self, factors):
        assert (0, 0, 4) in factors and (0, 2, 0) in factors and (4, 0, 0) in factors
        assert not {(0, 0, 2), (0, 0, 5), (3, 0, 0), (0, 5, 0), (0, 0, 0)} & factors.keys()

    def test_amplitudes_follow_wilson(self, factors):
        """<|F|>² / <|F|²> of acentric reflections is π/4, shell by shell."""
        hkl, values = np.array(list(factors)), np.array(list(factors.values()))
        inverse_d = np.sqrt((hkl[:, 0] ** 2 + hkl[:, 1] ** 2) / 79.1**2 + hkl[:, 2] ** 2 / 38.4**2)
        shell = values[(inverse_d > 0.31)]
        assert np.mean(shell) ** 2 / np.mean(shell**2) == pytest.approx(np.pi / 4, abs=0.02)
        assert np.sqrt(np.mean(shell**2)) < np.sqrt(np.mean(values[(inverse_d > 0.2) & (inverse_d < 0.23)] ** 2))


def test_rotation_image(tmp_path):
    program = [sys.executable, EXAMPLES / "rotation_image.py", tmp_path / "demo", "--pixels", "96", "--resolution", "3"]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"Look at {tmp_path / 'demo'}/noise.png" in done.stdout
    mean = np.fromfile(tmp_path / "demo" / "float.bin", "<f4").reshape(96, 96).astype(float)
    photons = read_smv(tmp_path / "demo" / "noise.img").data - 40.0
    faint = mean < 10_000
    assert photons[faint].sum() == pytest.approx(mean[faint].sum(), abs=5 * mean[faint].sum() ** 0.5)
    assert np.median(mean) < 0.1 * mean.max()
    assert Image.open(tmp_path / "demo" / "noise.png").size == (48, 48)
