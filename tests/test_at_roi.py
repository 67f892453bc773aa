"""AT-ROI: region of interest and mask (spec-a-core § 11.10)."""

from __future__ import annotations

import numpy as np
import pytest

from acceptance import image, run, simulator, words, working_folder  # noqa: F401
from nanobrag_torch.cli.main import main
from nanobrag_torch.io.smv import read_smv

SCENE = "$TRI -lambda 1.5 -distance 100 -pixel 2 -detpixels_f 16 -detpixels_s 20 -oversample 1 -seed 3 -nopgm"
BLOCK = (slice(4, 12), slice(3, 10))
"""-roi 3 9 4 11"""


def float_image() -> np.ndarray:
    return np.fromfile("floatimage.bin", np.float32).reshape(20, 16)


def test_at_roi_001_both_ends_inclusive(folder):
    whole = image(SCENE).astype(np.float32)
    run(f"{SCENE} -roi 3 9 4 11")
    inside = np.zeros((20, 16), dtype=bool)
    inside[BLOCK] = True
    found = float_image()
    assert np.array_equal(found[inside], whole[inside])
    assert not found[~inside].any()
    for name in ("intimage.img", "noiseimage.img"):
        counts = read_smv(name).data
        assert (counts[inside] >= 40).all() and not counts[~inside].any()


def test_at_roi_002_masked_pixels(folder):
    """The mask is the integer image of a region: 0 outside of it."""
    run(f"{SCENE} -roi 3 9 4 11 -intfile mask.img")
    whole = image(SCENE).astype(np.float32)
    run(f"{SCENE} -mask mask.img -Xbeam 21 -Ybeam 17 -roi 0 15 6 19")
    rendered = np.zeros((20, 16), dtype=bool)
    rendered[6:12, 3:10] = True
    region = np.zeros_like(rendered)
    region[6:] = True
    found = float_image()
    assert np.array_equal(found[rendered], whole[rendered])
    assert not found[~rendered].any()
    for name in ("intimage.img", "noiseimage.img"):
        counts = read_smv(name).data
        assert (counts[region & ~rendered] == 40).all() and not counts[~region].any()


@pytest.mark.parametrize(("bounds", "pixels"), [
    ("-1 -1 -1 -1", 320), ("5 -1 -1 -1", 220), ("0 99 10 99", 160), ("0 0 0 0", 1)])
def test_at_roi_003_bounds(folder, bounds, pixels):
    assert len(simulator(f"{SCENE} -roi {bounds}").rendered_pixels()) == pixels


def test_at_roi_003_bounds_out_of_order(folder, capsys):
    run(f"{SCENE} -roi 0 99 10 99")
    assert "warning: -roi" in capsys.readouterr().err
    assert main(words(f"{SCENE} -roi 9 3 4 11")) == 2
    assert "-roi" in capsys.readouterr().err
