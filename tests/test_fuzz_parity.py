"""A small draw of the random differential test; `scripts/fuzz_parity.py` takes larger ones."""

from __future__ import annotations

import random
import shlex

import pytest

from nanobrag_torch.tools.draw import draw
from nanobrag_torch.tools.fuzz import compare_case, fuzz
from nanobrag_torch.tools.runners import c_binary

CASES, SEED = 30, 20


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory, c_program):
    return list(fuzz(CASES, SEED, tmp_path_factory.mktemp("fuzz"), c_program))


@pytest.fixture(scope="module")
def c_program():
    return c_binary()


def test_both_programs_agree_on_random_command_lines(verdicts):
    disagreeing = [f"{shlex.join(verdict.words)}: {verdict.differences}" for verdict in verdicts if not verdict.agrees]
    assert not disagreeing, "\n".join(disagreeing)


def test_nearly_all_pixels_are_bit_equal(verdicts):
    pixels, equal = sum(verdict.pixels for verdict in verdicts), sum(verdict.equal for verdict in verdicts)
    assert pixels > 200 * CASES
    assert equal >= 0.999 * pixels


def test_draws_repeat_and_differ(tmp_path):
    first, again, other = (draw(random.Random(seed), tmp_path) for seed in (1, 1, 2))
    assert first == again != other


def test_a_difference_is_noticed(tmp_path, c_program, monkeypatch):
    """Half a pixel between the programs' detectors is a disagreement."""
    from nanobrag_torch.models.detector import Detector

    words = ["-cell", "50", "60", "70", "-misset", "10", "20", "30", "-N", "3", "-default_F", "50", "-detpixels", "16",
             "-pixel", "2", "-oversample", "1", "-floatfile", "float.bin", "-intfile", "int.img", "-nopgm", "-nonoise"]
    original = Detector.beam_centre
    monkeypatch.setattr(Detector, "beam_centre", lambda self: original(self)._replace(
        beam_f=original(self).beam_f + 0.5 * self.pixel_size_m))
    assert not compare_case(words, tmp_path, c_program).agrees
