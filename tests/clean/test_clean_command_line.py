"""Faults of the command line, corrected by `-clean`: what the files then hold, reckoned by hand."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reckoning import Reckoning, direct_axes, rotation

from nanobrag_torch.cli.main import main
from nanobrag_torch.io import read_smv

CRYSTAL = "-cell 45 55 65 90 90 90 -misset 20 -10 35 -N 4 -default_F 80 -lambda 1.1"
DETECTOR = "-distance 80 -detpixels 24 -pixel 2 -oversample 1 -quiet"
RUN = f"{CRYSTAL} {DETECTOR}"
PLAIN = Reckoning(direct_axes(45, 55, 65, 90, 90, 90, (20, -10, 35)))
PIXELS = ((9, 15), (7, 14), (2, 21))
SINGLE = 6e-8
"""Relative rounding of a float image: half a unit in the last of 24 bits."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def floats(words: str) -> np.ndarray:
    """Float image (24, 24) of a command."""
    assert main(shlex.split(words)) == 0
    return np.fromfile("floatimage.bin", np.float32).reshape(24, 24)


def assert_reckoned(image: np.ndarray, reckoning: Reckoning) -> None:
    values = [image[pixel] for pixel in PIXELS]
    np.testing.assert_allclose(values, [reckoning.photons(*pixel) for pixel in PIXELS], rtol=SINGLE)


def assert_faulty(image: np.ndarray, clean: np.ndarray) -> None:
    assert not np.allclose(image, clean, rtol=1e-3, atol=0)


def test_step_counts_of_divergence():
    """A count and a step: that many directions, that far apart; a count alone: no divergence."""
    tilted = tuple((tuple(rotation((0, -1, 0), math.degrees(h)) @ [-10.0, 0, 0]), 1.1, 1.0)
                   for h in (-5e-3, 0.0, 5e-3))
    words = f"{RUN} -hdivsteps 3 -hdivstep 5"
    clean = floats(f"{words} -clean")
    assert_reckoned(clean, replace(PLAIN, sources=tilted))
    assert_faulty(floats(words), clean)
    alone = floats(f"{RUN} -vdivsteps 3 -clean")
    assert_reckoned(alone, PLAIN)
    assert_faulty(floats(f"{RUN} -vdivsteps 3"), alone)


def test_step_counts_of_rotation():
    words = f"{RUN} -phi 1 -phistep 2 -phisteps 3"
    clean = floats(f"{words} -clean")
    assert_reckoned(clean, replace(PLAIN, phis_deg=(1.0, 3.0, 5.0)))
    assert_faulty(floats(words), clean)


def test_rmsd_counts_masked():
    """The automatic grey scale, 50 over the rmsd of the rendered pixels."""
    floats(f"{RUN} -intfile frame.img -adc 0 -scale 3")
    words = f"{RUN} -mask frame.img -Xbeam 25 -Ybeam 25"

    def grey(command: str) -> tuple[np.ndarray, np.ndarray]:
        image = floats(command).astype(float)
        rendered = image[read_smv("frame.img").data != 0]
        rmsd = math.sqrt(sum((x - rendered.mean()) ** 2 for x in rendered) / (len(rendered) - 1))
        reckoned = np.minimum(image * 50 / rmsd, 255).astype(int)
        return np.frombuffer(Path("image.pgm").read_bytes()[-24 * 24:], np.uint8).reshape(24, 24), reckoned

    written, reckoned = grey(f"{words} -clean")
    np.testing.assert_array_equal(written, reckoned)
    written, reckoned = grey(words)
    assert (written != reckoned).any()


def test_header_close_distance():
    floats(f"{RUN} -intfile frame.img")
    words = f"{RUN} -img frame.img -distance 90"
    clean = floats(f"{words} -clean")
    assert_reckoned(clean, replace(PLAIN, distance=0.09))
    assert_faulty(floats(words), clean)


def test_mask_beam_centre():
    """BEAM_CENTER_Y 20 mm and BEAM_CENTER_X 25 mm of a MOSFLM header: half a pixel more along fast and slow."""
    floats(f"{RUN} -Ybeam 20 -intfile frame.img -adc 40")
    words = f"{RUN} -mask frame.img"
    clean = floats(f"{words} -clean")
    corner = np.array([0.08, 0, 0]) - 21e-3 * PLAIN.fdet - 26e-3 * PLAIN.sdet
    assert_reckoned(clean, replace(PLAIN, pix0=corner))
    assert_faulty(floats(words), clean)


def test_silent_cache():
    Path("list.hkl").write_text("0 0 0 10\n1 0 0 20\n-1 -2 -3 30\n4 5 6 40\n")
    floats(f"{RUN} -hkl list.hkl -nointerpolate")
    clean = floats(f"{RUN} -clean")
    assert_reckoned(clean, PLAIN)
    assert_faulty(floats(RUN), clean)
    np.testing.assert_array_equal(floats(f"{RUN} -dump Fdump.bin -clean"), floats(RUN))


def test_clock_orientation():
    """-seed decides the orientation as -misset_seed does; the latter wins."""
    words = RUN.replace("20 -10 35", "random")
    named = floats(f"{words} -misset_seed 7")
    np.testing.assert_array_equal(floats(f"{words} -seed 7 -clean"), named)
    np.testing.assert_array_equal(floats(f"{words} -seed 5 -misset_seed 7 -clean"), named)
    assert_faulty(floats(f"{words} -seed 7"), named)


def test_noise_wraparound():
    """The same draws less five counts, but never below none."""
    def counts(adc: int, *options: str) -> np.ndarray:
        floats(f"{RUN} -seed 1 -adc {adc} {' '.join(options)}")
        return read_smv("noiseimage.img").data.astype(int)

    drawn = counts(0)
    np.testing.assert_array_equal(counts(-5, "-clean"), np.maximum(drawn - 5, 0))
    np.testing.assert_array_equal(counts(-5), (drawn - 5) % 65536)


def test_header_values():
    """XDS, swung by 20 degrees about the sample: the beam meets the plane at D/cos 20, D tan 20 from the near point."""
    words = f"{RUN} -xds -twotheta 20 -adc 12"
    floats(f"{words} -clean")
    image, text = read_smv("intimage.img"), _header_text()
    assert image.number("DISTANCE", exact=True) == pytest.approx(80 / math.cos(math.radians(20)), abs=1e-3)
    assert image.number("BEAM_CENTER_X") == pytest.approx(24, abs=1e-3)
    assert image.number("BEAM_CENTER_Y") == pytest.approx(24 + 80 * math.tan(math.radians(20)), abs=1e-3)
    assert image.number("ADC_OFFSET") == 12
    corner = rotation((1, 0, 0), 20) @ [-24, -24, 80]
    origin = [float(x) for x in re.search(r"DIALS_ORIGIN=(\S+),(\S+),([^;\s]+);", text).groups()]
    np.testing.assert_allclose(origin, corner * [1, -1, -1], atol=1e-3)
    floats(words)
    assert read_smv("intimage.img").number("BEAM_CENTER_Y") == 24
    assert not re.search(r"DIALS_ORIGIN=[^;\n]*;", _header_text())


def _header_text() -> str:
    return Path("intimage.img").read_bytes().partition(b"\f")[0].decode()
