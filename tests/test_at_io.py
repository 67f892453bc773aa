"""AT-IO: files (spec-a-cli § 8.1)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from acceptance import PUBLISHED, image, numbers, run, tables, traced, working_folder  # noqa: F401
from nanobrag_torch.io.smv import read_smv

CHECK, _ = tables("spec-a-cli.md", "4.9")
HEADERS, = tables("spec-a-cli.md", "2.4")
KEYS = """HEADER_BYTES DIM BYTE_ORDER TYPE SIZE1 SIZE2 PIXEL_SIZE DISTANCE WAVELENGTH BEAM_CENTER_X BEAM_CENTER_Y
ADXV_CENTER_X ADXV_CENTER_Y MOSFLM_CENTER_X MOSFLM_CENTER_Y DENZO_X_BEAM DENZO_Y_BEAM DIALS_ORIGIN XDS_ORGX XDS_ORGY
CLOSE_DISTANCE PHI OSC_START OSC_RANGE TWOTHETA DETECTOR_SN BEAMLINE"""


def pixels(name: str, kind: str, start: int = 0) -> np.ndarray:
    return np.frombuffer(Path(name).read_bytes()[start:], kind).reshape(4, 4)


def check_values(row: int) -> np.ndarray:
    text = CHECK[row][1].replace("the same", CHECK[row][1].split("/")[2])
    return np.array(numbers(text)).reshape(4, 4)


def test_at_io_001_check_values(folder):
    run(PUBLISHED)
    assert pixels("floatimage.bin", "=f4") == pytest.approx(check_values(0), rel=1e-8)
    assert np.array_equal(pixels("intimage.img", "=u2", 512), check_values(1))
    grey = Path("image.pgm").read_bytes()
    assert grey.startswith(b"P5\n4 4\n# pixels scaled by 1.13211\n255\n") and len(grey) == 38 + 16
    assert np.array_equal(pixels("image.pgm", "u1", 38), check_values(2))
    assert np.array_equal(pixels("noiseimage.img", "=u2", 512), check_values(3))


def test_at_io_002_header(folder):
    run(PUBLISHED)
    data = Path("intimage.img").read_bytes()
    head = data[:512].decode("ascii")
    assert len(data) == 512 + 32
    assert re.fullmatch(r"\{\nHEADER_BYTES=512;\nDIM=2;\n.*\nBEAMLINE=fake;\n\}\f *", head, re.DOTALL)
    entries = re.findall(r"^(\w+)=([^;\n]*)", head, re.MULTILINE)
    assert [key for key, _ in entries] == KEYS.split()
    assert " ".join(value for _, value in entries[4:]) == (
        "4 4 0.1 100 1 0.25 0.25 0.3 0.1 0.25 0.25 0.3 0.3 -0.3,0.3,-100 3.5 3.5 100 0 0 0 0 000 fake")
    assert Path("noiseimage.img").read_bytes()[:512] == data[:512]


@pytest.mark.parametrize("row", HEADERS, ids=lambda row: row[0])
def test_at_io_003_header_values(folder, row):
    """In the conventions that share a row, too."""
    for options in row[0].replace("(CUSTOM)", "").split(","):
        run(f"-cell 100 -default_F 100 -N 5 -distance 100 -pixel 0.1 -detpixels_f 20 -detpixels_s 30 -oversample 1 "
            f"-nonoise -nopgm {options}")
        found = read_smv("intimage.img")
        keys = ("DISTANCE", "CLOSE_DISTANCE", "ADXV_CENTER_X", "ADXV_CENTER_Y", "MOSFLM_CENTER_X", "MOSFLM_CENTER_Y",
                "XDS_ORGX", "XDS_ORGY")
        expected = numbers(row[1].replace("/", " ") + " " + " ".join(row[3:]))
        assert [found.number(key, exact=True) for key in keys] == expected
        assert found.text("DIALS_ORIGIN", exact=True).split("\n")[0] == row[2]


def test_at_io_004_cache(folder):
    Path("five.hkl").write_text("0 0 0 100\n1 0 0 50\n0 1 0 25\n-1 0 0 33\n0 0 1 10\n")
    scene = "-cell 40 50 60 90 90 90 -N 3 -lambda 6 -distance 30 -detpixels 12 -pixel 4 -oversample 1 -nonoise -nopgm"
    run(f"{scene} -hkl five.hkl -default_F 5")
    first = Path("floatimage.bin").read_bytes()
    cache = Path("Fdump.bin").read_bytes()
    assert len(cache) == 302 and cache.startswith(b"-1 1 0 1 0 1\n\f")
    planes = np.frombuffer(cache[14:], np.float64).reshape(4, 3, 3)
    assert planes[:, :2, :2].tolist() == [[[33, 5], [5, 5]], [[100, 10], [25, 5]], [[50, 5], [5, 5]], [[0, 0], [0, 0]]]
    assert not planes[:, 2].any() and not planes[:, :, 2].any()
    run(f"{scene} -default_F 5")
    assert Path("floatimage.bin").read_bytes() == first


@pytest.mark.parametrize("options", ["-scale 3 -pgmscale 0.7 -adc 12.5", "-adc 0", "-scale 1e9 -pgmscale 1e9"])
def test_at_io_005_counts_of_the_float_image(folder, options, capsys):
    run(f"$TRI -lambda 1.5 -pixel 2 -detpixels_f 14 -detpixels_s 9 -oversample 1 -nonoise {options}")
    real = np.fromfile("floatimage.bin", np.float32).reshape(9, 14)
    given = dict(zip(options.split()[::2], map(float, options.split()[1::2]), strict=True))
    scale = given.get("-scale", 55000 / float(real.max()))
    counts = np.clip(real.astype(float) * scale + given.get("-adc", 40), 0, 65535)
    expected = np.floor(np.float32(counts + 0.5)).astype(int)
    assert np.array_equal(read_smv("intimage.img").data, expected)
    rmsd = float(re.search(r"rmsd= (\S+)", capsys.readouterr().out)[1])
    grey = np.minimum(real * given.get("-pgmscale", 50 / rmsd), 255).astype(int)
    stored = np.frombuffer(Path("image.pgm").read_bytes()[-14 * 9:], np.uint8).reshape(9, 14)
    assert np.abs(stored - grey).max() <= (0 if "-pgmscale" in given else 1)
