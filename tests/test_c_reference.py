"""The C reference program: published numbers, independence of the thread count, traces, refusals."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

GENERATOR = Path(__file__).parent.parent / "golden_suite_generator"
SMALL = "-cell 100 100 100 90 90 90 -default_F 100 -lambda 1 -N 5 -distance 100 -detpixels 4 -oversample 1"
TRICLINIC = (
    "-cell 70 80 90 75 85 95 -default_F 100 -lambda 1 -N 3 -distance 60 -detpixels 16 -pixel 1 "
    "-oversample 1 -seed 42 -nopgm"
)
QUIET = "-nonoise -nopgm -noprogress"


@pytest.fixture(scope="session")
def program() -> Path:
    """The program, built with its own Makefile: without a C compiler these tests fail."""
    subprocess.run(["make", "-s", "-C", str(GENERATOR)], check=True)
    return GENERATOR / "nanoBragg"


@pytest.fixture
def run(program, tmp_path):
    """Run the program in a clean folder; refuses to go on after a failure unless that is expected."""

    def launch(arguments: str, *, threads: int | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ) | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
        result = subprocess.run(
            [program, *shlex.split(arguments)], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert result.returncode == status, result.stderr
        return result

    return launch


def float_image(folder: Path, fast: int, name: str = "floatimage.bin") -> np.ndarray:
    return np.fromfile(folder / name, dtype="<f4").reshape(-1, fast)


def smv_image(folder: Path, fast: int, name: str) -> np.ndarray:
    return np.frombuffer((folder / name).read_bytes()[512:], dtype="<u2").reshape(-1, fast)


# --- worked examples of part A §4.9 ------------------------------------------------------------------------


@pytest.fixture
def four_by_four(run, tmp_path):
    return run(f"{SMALL} -seed 42").stdout, tmp_path


def test_float_rows(four_by_four):
    rows = [[0.249966413, 0.606461763, 5.10772562, 5.10772562], [0.606461763, 1.47129631, 12.3914661, 12.3914661],
            [5.10772562, 12.3914661, 104.3638, 104.3638], [5.10772562, 12.3914661, 104.3638, 104.3638]]
    np.testing.assert_array_equal(float_image(four_by_four[1], 4), np.array(rows, dtype=np.float32))


def test_integer_rows(four_by_four):
    rows = [[172, 360, 2732, 2732], [360, 815, 6570, 6570], [2732, 6570, 55040, 55040], [2732, 6570, 55040, 55040]]
    np.testing.assert_array_equal(smv_image(four_by_four[1], 4, "intimage.img"), rows)


def test_noise_rows(four_by_four):
    rows = [[40, 40, 44, 42], [40, 41, 54, 57], [43, 54, 134, 153], [42, 52, 131, 149]]
    np.testing.assert_array_equal(smv_image(four_by_four[1], 4, "noiseimage.img"), rows)


def test_grey_map(four_by_four):
    header = b"P5\n4 4\n# pixels scaled by 1.13211\n255\n"
    pixels = bytes([0, 0, 5, 5, 0, 1, 14, 14, 5, 14, 118, 118, 5, 14, 118, 118])
    assert (four_by_four[1] / "image.pgm").read_bytes() == header + pixels


@pytest.mark.parametrize(
    "line",
    ["max_I = 104.364  at 0.00025 0.00025", "mean= 30.6491 rms= 54.3377 rmsd= 44.1655", "intfile_scale = 527.003",
     "pgm_scale = 1.13211", "476 photons on noise image (0 overloads)"],
)
def test_printed_statistics(four_by_four, line):
    assert line in four_by_four[0].splitlines()


def test_header(four_by_four):
    header = (four_by_four[1] / "intimage.img").read_bytes()[:512].decode()
    text = re.sub(r"[A-Z_0-9]+=", "", header.rstrip(" ")).replace(";", "").split("\n")
    assert text == ["{", "512", "2", "little_endian", "unsigned_short", "4", "4", "0.1", "100", "1", "0.25", "0.25",
                    "0.3", "0.1", "0.25", "0.25", "0.3", "0.3", "-0.3,0.3,-100", "3.5", "3.5", "100", "0", "0", "0",
                    "0", "000", "fake", "}\f"]


@pytest.mark.parametrize(
    ("extra", "pixels", "noise", "photons"),
    [
        ("-misset 10 20 30",
         "0.0826994851 41.1721649 11.5201597 0.475432724 0.000976855052 19.4213276 0.760007977 0.602210999",
         "41 83 60 41 40 56 40 40", 21750),
        ("-misset 10 20 30 -mosaic 1 -mosaic_dom 5",
         "0.963443995 18.2460728 19.1016541 2.9680872 0.0015889965 17.9793015 0.579844296 0.407279015",
         "41 62 58 44 40 59 40 40", 21973),
        ("-misset random -misset_seed 12345",
         "7.21778822 0.0969220772 599.521545 2.41711974 150.383286 54.8955002 1.11527598 18.3807392",
         "48 40 653 41 203 105 43 54", 15292),
    ],
    ids=["misset", "mosaic", "random"],
)
def test_orientation_rows(run, tmp_path, extra, pixels, noise, photons):
    console = run(f"{TRICLINIC} {extra}").stdout
    expected = np.array(pixels.split(), dtype=np.float32)
    np.testing.assert_array_equal(float_image(tmp_path, 16)[8, 4:12], expected)
    np.testing.assert_array_equal(smv_image(tmp_path, 16, "noiseimage.img")[8, 4:12], [int(n) for n in noise.split()])
    assert f"{photons} photons on noise image" in console


# --- order-dependent peculiarities, as the serial program has them -----------------------------------------


def reflection_block(path: Path, extent: int = 6) -> None:
    indices = itertools.product(range(-extent, extent + 1), repeat=3)
    lines = (f"{h} {k} {m} {50 + (7 * h + 11 * k + 13 * m) % 23}\n" for h, k, m in indices)
    path.write_text("".join(lines))


CARRY_OVER = (
    "-cell 45 55 65 90 90 90 -misset 20 -10 35 -N 4 -default_F 80 -lambda 1.1 -distance 80 -detpixels 40 "
    f"-pixel 1 -oversample 1 {QUIET}"
)
LATCH = (
    "-cell 20 22 25 90 90 90 -misset 9 33 -21 -lambda 2 -distance 70 -detpixels_x 48 -detpixels_y 40 -pixel 0.8 "
    f"-Xbeam 6 -Ybeam 10 -oversample 2 -hkl block.hkl -N 2 -default_F 25 {QUIET}"
)


@pytest.mark.parametrize(
    "arguments",
    [f"{CARRY_OVER} -phi 0 -osc 6 -phisteps 3 -divergence 2 -divsteps 2 -oversample 2",
     f"{CARRY_OVER} -phi 0 -osc 6 -phisteps 3 -dmin 1.6 -roi 3 30 2 39",
     f"{LATCH} -interpolate",
     f"{LATCH} -interpolate -mosaic 4 -mosaic_domains 3 -phi 0 -osc 5 -phisteps 2"],
    ids=["carry-over", "carry-over with culled pixels", "latch", "latch and carry-over"],
)
def test_threads_change_no_pixel(run, tmp_path, arguments):
    reflection_block(tmp_path / "block.hkl")
    images = []
    for threads in (1, 2, 7):
        run(arguments, threads=threads)
        images.append((tmp_path / "floatimage.bin").read_bytes())
    assert images[0] == images[1] == images[2]


def test_step_at_phi_zero_repeats_the_previous_orientation(run, tmp_path):
    run(f"{CARRY_OVER} -phi 0 -osc 2 -phisteps 2")
    swept = float_image(tmp_path, 40)
    run(f"{CARRY_OVER} -phi 1")
    differs = swept != float_image(tmp_path, 40)
    assert list(zip(*np.nonzero(differs), strict=True)) == [(0, 0)]


def test_first_refusal_ends_interpolation(run, tmp_path):
    reflection_block(tmp_path / "block.hkl")
    warning = run(f"{LATCH} -interpolate").stderr
    interpolated = float_image(tmp_path, 48).ravel()
    run(f"{LATCH} -nointerpolate")
    nearest = float_image(tmp_path, 48).ravel()
    fast, slow = map(int, re.search(r"at pixel (\d+) (\d+) ", warning).groups())
    latch = slow * 48 + fast
    assert 0 < latch < nearest.size - 1
    assert np.all(interpolated[:latch] != nearest[:latch])
    np.testing.assert_array_equal(interpolated[latch + 1 :], nearest[latch + 1 :])


# --- traces ------------------------------------------------------------------------------------------------


def test_trace_names_every_quantity(run):
    console = run(f"{SMALL} {QUIET} -polar 0.5 -oversample 2 -phi 1 -osc 1 -phisteps 3 -trace_pixel 2 1").stdout
    lines = [line.split() for line in console.splitlines() if line.startswith("TRACE ")]
    indices = {"pixel": 0, "setup": 0, "statistics": 0, "subpixel": 3, "ray": 4, "term": 6, "value": 0}
    assert {words[1] for words in lines} == set(indices)
    names = {kind: {w[2 + n] for w in lines if w[1] == kind} for kind, n in indices.items()}
    assert {"pix0_vector_m", "distance_m", "a_star_invA", "mosaic_umats_row_major"} <= names["setup"]
    assert names["subpixel"] | names["ray"] | names["term"] <= names["value"]
    assert {"scattering_per_m", "polar", "h", "F_latt_a", "I_after_add", "intensity_f32"} <= names["value"]
    terms = [tuple(w[2:8]) for w in lines if w[1] == "term" and w[8] == "h"]
    assert terms == [("0", s, f, "0", phi, "0") for s in "01" for f in "01" for phi in "012"]


def test_trace_agrees_with_the_image(run, tmp_path):
    console = run(f"{TRICLINIC} -nonoise -misset 10 20 30 -trace_pixel 8 5").stdout
    value = dict(re.findall(r"^TRACE value (\S+) (\S+)$", console, re.M))
    assert np.float32(value["intensity_f32"]) == float_image(tmp_path, 16)[8, 5]
    photons = (float(value["r_e_sqr_m2"]) * float(value["fluence_ph_m2"]) * float(value["I_sum"])
               / int(value["steps"]) * float(value["polar_used"]) * float(value["omega_used_sr"]))
    assert photons == pytest.approx(float(value["intensity_f64"]), rel=1e-15)


def test_trace_shows_the_state_met_in_the_run(run, tmp_path):
    reflection_block(tmp_path / "block.hkl")
    for slow, interpolated in ((3, "1"), (38, "0")):
        console = run(f"{LATCH} -interpolate -trace_pixel {slow} 20").stdout
        assert re.search(r"^TRACE value interpolate (\d)$", console, re.M)[1] == interpolated


def test_printout_shows_one_pixel(run):
    console = run(f"{SMALL} {QUIET} -printout_pixel 2 3").stdout
    assert re.findall(r"^ +(\d+) +(\d+) :", console, re.M) == [("2", "3")]
    assert "pixel=        104.3638" in console


# --- command line and files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [("-lambda 1.2", "-wave 1.2"), ("-lambda 1.2", "-wavelength 1.2"), ("-detpixels_x 5", "-detpixels_f 5"),
     ("-mosaic 1 -mosaic_domains 3", "-mosaicity 1 -mosaic_dom 3"), ("-thicksteps 3", "-detector_thicksteps 3"),
     ("-xtalsize 2e-5", "-samplesize 2e-5"), ("-binary_spots", "-tophat_spots"), ("-osc 1", "-osc 1 -curved_det"),
     ("-distance 90 -lambda 1.1", "-distance 50 -lambda 1.1 -distance 9e1"), ("-N 3", "-N 3.0"),
     ("-twotheta 9 -twotheta_axis 0 0 -1", "-twotheta_axis 0 0 -1 -twotheta 9"),
     ("-misset 3 4 5", "-misset 3 4 5 -misset_seed 7 -fudge 1 -scale 1")],
)
def test_spellings_and_order(run, tmp_path, one, other):
    images = []
    for extra in (one, other):
        run(f"{SMALL} {QUIET} {extra}")
        images.append((tmp_path / "floatimage.bin").read_bytes())
    assert (images[0] == images[1]) is ("-curved_det" not in other)


def test_cache_of_structure_factors_is_found_again(run, tmp_path):
    reflection_block(tmp_path / "block.hkl")
    run(LATCH)
    first = float_image(tmp_path, 48)
    run(LATCH.replace("-hkl block.hkl", ""))
    np.testing.assert_array_equal(first, float_image(tmp_path, 48))
    assert (tmp_path / "Fdump.bin").read_bytes().startswith(b"-6 6 -6 6 -6 6\n\f")
    assert (tmp_path / "Fdump.bin").stat().st_size == len(b"-6 6 -6 6 -6 6\n\f") + 8 * 14**3


def test_long_header_takes_1024_bytes(run, tmp_path):
    run(f"{SMALL} {QUIET} -xds -ORGX 12.3456 -ORGY 7.54321 -lambda 1.03457 -pixel 0.107 -distance 101.234 "
        "-twotheta 12.3457 -detector_rotx 1.2345 -phi 12.3456 -osc 0.123457 -phisteps 1")
    raw = (tmp_path / "intimage.img").read_bytes()
    assert raw.startswith(b"{\nHEADER_BYTES=1024;\n")
    assert 512 < raw.index(b"}\f") < 1024
    assert len(raw) == 1024 + 2 * 16


def test_help_prints_usage(run):
    assert "-detector_rotx" in run("-h").stdout
    assert run("--help").stdout == run("-help").stdout


SMV = b"{\nHEADER_BYTES=  512;\nBYTE_ORDER=little_endian;\nSIZE1=4;\nSIZE2=4;\n}\f".ljust(512)
FILES = {
    "title.hkl": b"h k l F\n1 0 0 5\n",
    "five.hkl": b"1 0 0 5\n1 1 0 5 0.1\n",
    "fraction.hkl": b"1 0 0.5 5\n",
    "text.hkl": b"1 0 0 5\n1 0 x 5\n",
    "empty.hkl": b"",
    "binary.hkl": b"1 0 0 5\n\0\0\0",
    "short.mat": b"0.1 0 0\n0 0.1 0\n0 0\n",
    "text.mat": b"0.1 0 0\n0 0.1 zero\n0 0 0.1\n",
    "flat.mat": b"0.1 0 0\n0 0.1 0\n0 0 0\n",
    "text.src": b"-10 0 0\n-10 0 zero\n",
    "dark.src": b"-10 0 0 1 0\n",
    "origin.src": b"0 0 0 1 1e-10\n",
    "empty.src": b"\n\n",
    "foreign.bin": b"not a cache",
    "short.bin": b"0 1 0 1 0 1\n\f" + bytes(8),
    "noise.img": b"not an image".ljust(600),
    "short.img": SMV + bytes(30),
    "order.img": SMV.replace(b"BYTE_ORDER", b"BYTE_ARDOR") + bytes(32),
    "sizes.img": SMV.replace(b"SIZE1", b"SAZE1") + bytes(32),
    "shape.img": SMV.replace(b"SIZE1=4", b"SIZE1=5") + bytes(40),
}
BAD_INPUT = [
    ("-cell 100", "no structure factors"),
    ("-default_F 100", "no unit cell"),
    ("{} -nonsense 3", "unknown option '-nonsense'"),
    ("{} -oversampl 3", "did you mean '-oversample'?"),
    ("{} -hdiv 3", "did you mean '-hdivrange'?"),
    ("{} --lambda 3", "did you mean '-lambda'?"),
    ("{} stray", "unexpected word 'stray'"),
    ("{} -lambda", "-lambda: expected 1 value, found 0"),
    ("{} -lambda abc", "-lambda: expected a number, found 'abc'"),
    ("{} -lambda 1.0A", "-lambda: expected a number, found '1.0A'"),
    ("{} -lambda nan", "-lambda: expected a number, found 'nan'"),
    ("{} -lambda inf", "-lambda: expected a number, found 'inf'"),
    ("{} -lambda 0", "-lambda: expected a positive number"),
    ("{} -distance -100", "-distance: expected a positive number"),
    ("{} -pixel 0", "-pixel: expected a positive number"),
    ("{} -energy -1", "-energy: expected a positive number"),
    ("{} -osc -1", "-osc: expected a number that is not negative"),
    ("{} -detpixels 0", "-detpixels: expected a positive number"),
    ("{} -detpixels 10.7", "-detpixels: expected a whole number, found '10.7'"),
    ("{} -N -3", "-N: expected a number that is not negative"),
    ("{} -seed 1e12", "-seed: expected a whole number"),
    ("{} -detpixels 1000000", "pixels"),
    ("-cell 10 -default_F 1 -detsize 1e-9", "the detector would have 0 x 0 pixels"),
    ("{} -misset 1 2", "-misset: expected 3 numbers or 'random'"),
    ("{} -misset Random 1 2", "-misset: expected a number, found 'Random'"),
    ("{} -pivot corner", "-pivot: expected 'beam' or 'sample'"),
    ("{} -detector_thick", "-detector_thick: expected 1 value"),
    ("{} -detector_abs", "-detector_abs: expected 1 value"),
    ("{} -fdet_vector 0 0 0", "-fdet_vector: expected a vector that is not zero"),
    ("{} -cell", "-cell: expected 1 to 6 numbers"),
    ("{} -cell 0", "-cell: expected a positive number"),
    ("{} -cell 50 60 70 10 90 170", "-cell: no cell has the angles 10 90 170"),
    ("{} -cell 50 60 70 90 90 180", "-cell: expected an angle below 180"),
    ("{} -roi 3 2 0 3", "-roi: expected first <= last"),
    ("{} -odet_vector 0 1 0", "parallel to the beam"),
    ("{} -flux 1e12 -exposure 0", "-flux needs a positive -exposure"),
    ("{} -flux 1e12 -beamsize 0", "-flux needs a positive -beamsize"),
    ("{} -divsteps 1", "no source is left"),
    ("{} -dispersion 300", "-dispersion: the shortest wavelength"),
    ("{} -trace_pixel 4 0", "-trace_pixel: pixel 4 0 (slow, fast) is not rendered"),
    ("{} -intfile -nopgm", "-intfile: expected a file name, found '-nopgm'"),
    ("{} -hkl missing.hkl", "missing.hkl: cannot be read (No such file"),
    ("{} -hkl .", ".: "),
    ("{} -hkl title.hkl", "title.hkl:1: expected h k l F, found 'h'"),
    ("{} -hkl five.hkl", "five.hkl:2: expected h k l F, found 5 words"),
    ("{} -hkl fraction.hkl", "fraction.hkl:1: expected a whole index, found '0.5'"),
    ("{} -hkl text.hkl", "text.hkl:2: expected a whole index, found 'x'"),
    ("{} -hkl empty.hkl", "empty.hkl: expected lines of h k l F"),
    ("{} -hkl binary.hkl", "binary.hkl: expected text, found binary data"),
    ("{} -mat missing.mat", "missing.mat: cannot be read"),
    ("{} -mat short.mat", "short.mat:3: expected 9 numbers, found 8"),
    ("{} -mat text.mat", "text.mat:2: expected a number, found 'zero'"),
    ("-mat flat.mat -default_F 1", "flat.mat: the three axes lie in a plane"),
    ("{} -sourcefile text.src", "text.src:2: expected a number, found 'zero'"),
    ("{} -sourcefile dark.src", "dark.src:1: expected a positive wavelength"),
    ("{} -sourcefile origin.src", "origin.src:1: expected a position away from the crystal"),
    ("{} -sourcefile empty.src", "empty.src: expected lines of X Y Z"),
    ("{} -stol empty.src", "empty.src: expected two columns"),
    ("{} -dump missing.bin", "missing.bin: cannot be read"),
    ("{} -dump foreign.bin", "foreign.bin: expected a structure-factor cache"),
    ("{} -dump short.bin", "short.bin: expected 216 bytes of structure factors, found 8"),
    ("{} -img missing.img", "missing.img: cannot be read"),
    ("{} -img noise.img", "noise.img: expected an SMV image"),
    ("{} -img short.img", "short.img: expected 32 bytes of pixels after the header, found 30"),
    ("{} -img order.img", "order.img: the header lacks BYTE_ORDER"),
    ("{} -img sizes.img", "sizes.img: the header must give SIZE1"),
    ("{} -mask shape.img", "shape.img: the mask has 5 x 4 pixels, the detector 4 x 4"),
    ("{} -intfile nowhere/int.img", "nowhere/int.img: cannot be written (No such file"),
    ("{} -intfile floatimage.bin", "floatimage.bin: two outputs have this name"),
    ("{} -intfile block.hkl -hkl block.hkl", "block.hkl: is an input and an output"),
    ("{} -intfile /dev/full", "/dev/full: cannot be written (No space left"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT, ids=[a for a, _ in BAD_INPUT])
def test_bad_input_is_refused_in_one_line(run, tmp_path, arguments, message):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    reflection_block(tmp_path / "block.hkl", 1)
    (tmp_path / "floatimage.bin").write_text("an older image")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    result = run(arguments.format(SMALL), status=2)
    line = result.stderr.splitlines()[-1]
    assert line.startswith("nanoBragg: ") and message in line
    assert all("warning" in other for other in result.stderr.splitlines()[:-1])
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


# --- generator and pinned files ----------------------------------------------------------------------------


def test_pinned_files_are_unchanged():
    subprocess.run(["make", "-s", "-C", str(GENERATOR), "verify"], check=True)


def test_generate_and_check(program, tmp_path):
    (tmp_path / "inputs").mkdir()
    reflection_block(tmp_path / "inputs" / "block.hkl")
    arguments = LATCH.replace("block.hkl", "inputs/block.hkl")
    case = "- {{id: {0}, args: '{1}', outputs: {{float: floatimage.bin, int: intimage.img}}{2}}}\n"
    cases = case.format("works", arguments, ", store_int: true")
    cases += case.format("refused", "-cell 10", ", expect: error")
    (tmp_path / "cases.yaml").write_text("cases:\n" + cases)
    command = [sys.executable, str(GENERATOR / "generate.py"), str(tmp_path), "--binary", str(program)]
    subprocess.run(command, check=True)
    with np.load(tmp_path / "works.npz") as arrays:
        assert arrays["image"].shape == arrays["int_image"].shape == (40, 48)
    assert not (tmp_path / "refused.npz").exists()
    subprocess.run([*command, "--check"], check=True)
    (tmp_path / "cases.yaml").write_text("cases:\n" + cases.replace("-lambda 2 ", "-lambda 2.01 "))
    changed = subprocess.run([*command, "--check"], capture_output=True, text=True)
    assert changed.returncode == 1
    assert "works headers; image;" in changed.stdout
