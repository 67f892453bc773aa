"""AT-NOISE: random streams and the noise image (spec-a-cli § 8.2)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from acceptance import numbers, run, section, tables, working_folder  # noqa: F401
from nanobrag_torch.deviates import DeviateStream, random_misset
from nanobrag_torch.io.smv import read_smv

UNIFORM, = tables("spec-a-cli.md", "5.2")
METHODS, POISSON = tables("spec-a-cli.md", "5.5")
ROTATIONS, = tables("spec-a-cli.md", "5.6")
_, RUNS = tables("spec-a-cli.md", "4.9")
COMMON = ("-cell 70 80 90 75 85 95 -default_F 100 -lambda 1 -N 3 -distance 60 -detpixels 16 -pixel 1 -oversample 1 "
          "-seed 42 -nopgm")


@pytest.mark.parametrize("row", UNIFORM, ids=lambda row: row[0])
def test_at_noise_001_uniform(row):
    stream = DeviateStream(int(row[0]))
    assert [stream.uniform() for _ in range(6)] == pytest.approx(numbers(row[1]), abs=5e-10, rel=0)


@pytest.mark.parametrize("seed", [1, 42])
def test_at_noise_002_gaussian(seed):
    text = " ".join(section("spec-a-cli.md", "5.3")).replace("−", "-").replace("\n", " ")
    expected = numbers(re.search(rf"[Ss]eed {seed}: ([-\d. ]+\d)", text)[1])
    stream = DeviateStream(seed)
    assert len(expected) == 5
    assert [stream.gaussian() for _ in expected] == pytest.approx(expected, rel=5e-9)


@pytest.mark.parametrize("row", POISSON, ids=lambda row: row[0])
def test_at_noise_003_poisson(row):
    for seed, column in ((1, row[1]), (42, row[2])):
        stream = DeviateStream(seed)
        assert [stream.poisson(float(row[0])) for _ in range(10)] == numbers(column)


@pytest.mark.parametrize("row", ROTATIONS, ids=lambda row: row[0])
def test_at_noise_004_random_orientation(row):
    assert np.degrees(random_misset(int(row[0]))) == pytest.approx(numbers(row[1]), abs=1e-9)


@pytest.mark.parametrize("row", RUNS, ids=lambda row: row[0])
def test_at_noise_005_noise_images(folder, capsys, row):
    run(f"{COMMON} {row[0]}")
    real = np.fromfile("floatimage.bin", np.float32).reshape(16, 16)
    assert real[8, 4:12] == pytest.approx(numbers(row[1]), rel=2.5e-7)
    assert read_smv("noiseimage.img").data[8, 4:12].tolist() == numbers(row[2])
    assert f"{row[3]} photons on noise image" in capsys.readouterr().out
    assert Path("intimage.img").exists()
