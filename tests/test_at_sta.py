"""AT-STA: statistics of an image (spec-a-core § 11.9)."""

from __future__ import annotations

import numpy as np
import pytest

from acceptance import PUBLISHED, run, simulator, working_folder  # noqa: F401
from nanobrag_torch.statistics import image_statistics

SCENE = "$D $CUB -misset 5 10 15 -detpixels 24 -oversample 1"


def test_at_sta_001_printed(folder, capsys):
    run(PUBLISHED)
    printed = capsys.readouterr().out
    assert "max_I = 104.364  at 0.00025 0.00025" in printed
    assert "mean= 30.6491 rms= 54.3377 rmsd= 44.1655" in printed


def test_a_bent_detector_subtends_the_angle_of_its_pixels(folder, capsys):
    run("-cell 100 -default_F 100 -N 1 -lambda 6 -detpixels 64 -pixel 2 -distance 80 -oversample 1 -detector_rotx 5 "
        "-detector_roty 30 -curved_det -clean -nonoise -nopgm")
    assert f"= {(64 * 2 / 80)**2:g} steradian" in capsys.readouterr().out  # each at a right angle to its ray


def test_at_sta_002_masked_pixels(folder):
    run(f"{SCENE} -floatfile whole.bin -intfile mask.img -scale 1e9 -adc 0 -roi 0 17 0 23")
    x = np.fromfile("whole.bin", np.float32).reshape(24, 24)[:, :18].astype(np.float64)
    common = f"{SCENE} -mask mask.img -Xbeam 6.25 -Ybeam 6.25"
    squares = np.float32(x * x).astype(np.float64).sum()
    for extra, pixels in (("", 24 * 24), (" -clean", x.size)):
        masked = simulator(common + extra)
        found = masked.compute_statistics(masked.run())
        assert found.mean == pytest.approx(x.mean(), rel=1e-7)
        assert found.rms == pytest.approx(np.sqrt(squares / (x.size - 1)), rel=1e-7)
        left_out = (pixels - x.size) * x.mean()**2
        assert found.rmsd == pytest.approx(np.sqrt((((x - x.mean())**2).sum() + left_out) / (pixels - 1)), rel=1e-7)


def test_at_sta_003_the_first_of_equals():
    heights = np.zeros((4, 5), np.float32)
    heights[1, 3] = heights[1, 4] = heights[3, 0] = 7
    everywhere = np.ones_like(heights, dtype=bool)
    found = image_statistics(heights, everywhere, everywhere, rmsd_includes_masked=True)
    assert (found.max_I, found.max_slow, found.max_fast) == (7, 1, 3)
