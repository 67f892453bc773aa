"""AT-PRE: what overrides what (spec-a-cli § 8.4)."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from acceptance import run, traced, words, working_folder  # noqa: F401
from nanobrag_torch.cli.main import main
from nanobrag_torch.cli.parse import parse
from nanobrag_torch.cli.resolve import resolve

CRYSTAL = "-cell 100 -default_F 100 -N 5 -nonoise -nopgm -oversample 1"


def setup(options: str) -> dict:
    return traced(f"{CRYSTAL} -detpixels 12 -pixel 1 {options}", 0, 0)["setup"]


def close_mm(options: str) -> float:
    return 1000 * setup(options)["close_distance_m"]


def test_at_pre_001_options_then_image_then_mask(folder):
    for name, distance in (("mask.img", 70), ("frame.img", 80)):
        run(f"{CRYSTAL} -detpixels 12 -pixel 1 -distance {distance} -lambda {distance / 100} -intfile {name}")
    for order in permutations(["-mask mask.img", "-img frame.img", "-lambda 2"]):
        assert setup(" ".join(order))["lambda0_m"] == 2e-10
        assert close_mm(" ".join(order)) == pytest.approx(80, rel=1e-12)
    assert close_mm("-mask mask.img") == pytest.approx(70, rel=1e-12)
    assert close_mm("-img frame.img -distance 90") == pytest.approx(80, rel=1e-12)
    assert close_mm("-img frame.img -distance 90 -clean") == pytest.approx(90, rel=1e-12)


@pytest.mark.parametrize("turned", [False, True])
def test_at_pre_002_stronger_options(turned):
    def joined(*options: str) -> str:
        return " ".join(reversed(options) if turned else options)

    assert close_mm(joined("-close_distance 90", "-distance 50")) == pytest.approx(90, rel=1e-12)
    counted = resolve(parse(words(f"{CRYSTAL} {joined('-detpixels 20', '-detsize 90')}"))).experiment.detector
    assert (counted.fpixels, counted.spixels, counted.size_f_mm) == (20, 20, None)
    assert setup(joined("-flux 1e12", "-fluence 1e25"))["fluence_ph_m2"] == pytest.approx(1e20, rel=1e-14)


def test_at_pre_003_conventions_and_vectors():
    named = setup("-beam_vector 0 1 0 -spindle_axis 1 0 0 -xds")
    assert named["beam_vector"] == [0, 0, 1] and named["spindle_vector"] == [1, 0, 0] and named["pivot"] == "SAMPLE"
    custom = setup("-xds -spindle_axis 0 1 0")
    assert custom["spindle_vector"] == [0, 1, 0]
    assert custom["beam_vector"] == [1, 0, 0] and custom["fdet_vector"] == [0, 0, 1]


def test_at_pre_004_a_configuration_gives_way(folder, capsys):
    assert main(words(f"{CRYSTAL} -detpixels 12 -pixel 1 -distance 70 -show_config")) == 0
    Path("run.yaml").write_text(capsys.readouterr().out)
    for order in ("-config run.yaml -distance 60", "-distance 60 -config run.yaml"):
        assert resolve(parse(words(order))).experiment.detector.distance_mm == 60
    assert resolve(parse(words("-config run.yaml"))).experiment.detector.distance_mm == 70
