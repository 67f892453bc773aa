"""AT-PARALLEL-014: photon noise follows its seed and leaves the pattern where it is.

Setup: a bright pattern with noise images of twelve seeds.
Expectation: one seed, one image; other seeds, other images; pixel means and variances over the seeds are those of
Poisson counts about the noiseless image; strong peaks stay within a pixel.
Command: nanoBragg ... -noisefile noise.img -seed S -adc 0
"""

from __future__ import annotations

import numpy as np
import pytest

from nanobrag_torch.compare import correlation
from nanobrag_torch.io.smv import read_smv
from parity.pattern import matched, strongest
from parity.programs import run_this_program

WORDS = ("-cell 100 100 100 90 90 90 -misset 5 10 15 -default_F 300 -N 5 -lambda 1.5 -distance 100 -detpixels 48 "
         "-pixel 0.5 -oversample 1 -noisefile noise.img -adc 0")
SEEDS = range(1, 13)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Noise images of all seeds, (seeds, slow, fast), and the image without noise."""
    folder = tmp_path_factory.mktemp("noise")
    runs = [run_this_program(f"{WORDS} -seed {seed}", folder / str(seed)) for seed in SEEDS]
    counts = np.stack([read_smv(run.folder / "noise.img").data for run in runs]).astype(float)
    return counts, runs[0].image().astype(float)


def test_one_seed_gives_one_image(noisy, tmp_path):
    again = run_this_program(f"{WORDS} -seed {SEEDS[0]}", tmp_path / "again")
    np.testing.assert_array_equal(read_smv(again.folder / "noise.img").data, noisy[0][0])


def test_every_seed_gives_another_image(noisy):
    assert len({counts.tobytes() for counts in noisy[0]}) == len(SEEDS)


def test_mean_over_seeds_is_the_image(noisy):
    """Deviation of the mean of n Poisson counts: standard normal in units of √(mean/n)."""
    counts, mean = noisy
    bright = mean > 20
    deviation = (counts.mean(0) - mean)[bright] / np.sqrt(mean[bright] / len(SEEDS))
    assert bright.sum() > 500
    assert abs(deviation.mean()) < 5 / np.sqrt(bright.sum())
    assert deviation.std() == pytest.approx(1, abs=0.1)


def test_variance_over_seeds_is_the_mean(noisy):
    counts, mean = noisy
    bright = mean > 20
    assert (counts.var(0, ddof=1) / mean)[bright].mean() == pytest.approx(1, abs=0.05)


def test_pattern_survives(noisy):
    counts, mean = noisy
    for one in counts:
        assert correlation(mean, one) > 0.99
        assert matched(strongest(mean, 20), strongest(one, 60), radius_px=1) >= 19
