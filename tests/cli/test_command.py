"""The command as a user meets it: what it prints, which files it leaves, how it ends."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from cli_samples import RUN, smv
from PIL import Image

from nanobrag_torch import __version__

DEFAULT_OUTPUTS = {"floatimage.bin", "intimage.img", "image.pgm", "noiseimage.img"}


def program(words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "nanobrag_torch", *shlex.split(words)], capture_output=True,
                          text=True, timeout=120, **options)


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def image(folder, name: str = "floatimage.bin") -> np.ndarray:
    return np.fromfile(folder / name, np.float32)


def test_the_module_runs_and_leaves_the_default_files(folder):
    result = program(RUN)
    assert (result.returncode, result.stderr) == (0, "")
    assert names(folder) == DEFAULT_OUTPUTS
    for words in ("mosflm convention selected.", "writing floatimage.bin", "created a total of 1 sources:", "max_I = "):
        assert words in result.stdout


def test_version():
    assert program("--version").stdout == f"nanoBragg (nanobrag-torch) {__version__}\n"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_run_that_waits_for_a_compiler_says_so(folder, command, monkeypatch, dtype):
    monkeypatch.setattr("nanobrag_torch.simulator.WORTH_COMPILING", 1)
    monkeypatch.setenv("NANOBRAG_CACHE", str(folder / "no-kernels"))
    monkeypatch.setenv("CXX", "no-compiler")
    monkeypatch.setenv("NANOBRAG_COMPILE", "auto")
    result = command(f"{RUN} -dtype {dtype}")
    waits, without = result.stderr.splitlines()
    assert "compiling kernels, once on this machine" in waits
    assert without == ("nanoBragg: warning: -compile auto: expected the C++ compiler no-compiler ($CXX) on the path, "
                       "found none; without compiled kernels this takes longer")
    assert result.status == 0 and image(folder).max() > 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_compiler_that_must_be_there_is_asked_for_before_any_output(folder, command, monkeypatch, dtype):
    monkeypatch.setenv("NANOBRAG_CACHE", str(folder / "no-kernels"))
    monkeypatch.setenv("CXX", "no-compiler")
    monkeypatch.setenv("NANOBRAG_COMPILE", "on")
    result = command(f"{RUN} -dtype {dtype}")
    assert result.status == 2
    assert "error: -compile on: expected the C++ compiler no-compiler ($CXX)" in result.stderr.splitlines()[-1]
    assert not names(folder) & DEFAULT_OUTPUTS


def test_worked_example(folder, command):
    """Part A §4.9: pixels, scales, statistics and noise of a 4 x 4 image."""
    result = command("-cell 100 100 100 90 90 90 -default_F 100 -lambda 1 -N 5 -distance 100 -detpixels 4 "
                     "-oversample 1 -seed 42")
    rows = image(folder).reshape(4, 4)
    np.testing.assert_allclose(rows[0], [0.249966413, 0.606461763, 5.10772562, 5.10772562], rtol=2e-7)
    counts = np.frombuffer((folder / "intimage.img").read_bytes()[512:], "<u2").reshape(4, 4)
    assert counts.tolist() == [[172, 360, 2732, 2732], [360, 815, 6570, 6570]] + 2 * [[2732, 6570, 55040, 55040]]
    noise = np.frombuffer((folder / "noiseimage.img").read_bytes()[512:], "<u2").reshape(4, 4)
    assert noise.tolist() == [[40, 40, 44, 42], [40, 41, 54, 57], [43, 54, 134, 153], [42, 52, 131, 149]]
    for words in ("max_I = 104.364  at 0.00025 0.00025", "mean= 30.6491 rms= 54.3377 rmsd= 44.1655",
                  "intfile_scale = 527.003", "pgm_scale = 1.13211", "476 photons on noise image (0 overloads)",
                  "seed: 42"):
        assert words in result.stdout


def test_names_and_switches_of_the_files(folder, command):
    words = f"{RUN} -floatimage f -intimage i -pgmimage p -noiseimage n -pngfile g.png"
    assert command(words).status == 0
    assert names(folder) == {"f", "i", "p", "n", "g.png"}
    assert command(f"{RUN} -floatfile f2 -intfile i2 -nopgm -nonoise").status == 0
    assert names(folder) == {"f", "i", "p", "n", "g.png", "f2", "i2"}


def test_preview(folder, command):
    assert command(f"{RUN} -detpixels_x 12 -pngfile preview.png").status == 0
    with Image.open(folder / "preview.png") as preview:
        assert (preview.format, preview.size) == ("PNG", (12, 8))
        assert preview.getextrema() != (0, 0)


def test_quiet(command):
    assert command(f"{RUN} -quiet").stdout == ""
    result = command(f"{RUN} -quiet -polar 2")
    assert result.stdout == ""
    assert result.stderr == "nanoBragg: warning: -polar: a factor of 2 is outside of 0 to 1\n"


@pytest.mark.parametrize(("words", "warning"), [
    ("-roi 0 9 0 7", "-roi: reaches beyond the detector; rendered is 0 7 0 7"),
    ("-polar -0.5", "-polar: a factor of -0.5 is outside of 0 to 1"),
    ("-mosaic_domains 5", "-mosaic_domains: one domain only, for want of a mosaic spread"),
    ("-xtalsize 0.2 -beamsize 0.15 -oversample 99999", "-xtalsize: the crystal's b edge of 0.2 mm is cut"),
    ("-Xclose 1", "-Xclose: moves no pixel in the mosflm convention"),
    ("-ORGX 1", "-ORGX: moves no pixel in the mosflm convention"),
    ("-xds -Xbeam 1", "-Xbeam: moves no pixel in the xds convention"),
    ("-misset random -misset_seed 7", "random orientation of seed 7; -misset_seed 7 repeats it"),
    ("-stol water.stol", "-stol water.stol: read, but amorphous scattering has no effect on the image"),
    ("-mat left.mat", "left.mat: the matrix is left-handed"),
    ("-hkl twice.hkl", "twice.hkl: 1 reflections are listed more than once; the last of each counts"),
    ("-N 300", "-oversample 1 may be too coarse for this crystal; 68 is recommended"),
    ("-detector_roty 120", "the detector lies upstream of the crystal or shows it its back"),
])
def test_warnings(folder, command, words, warning):
    (folder / "water.stol").write_text("0 2.57\n")
    (folder / "left.mat").write_text("0.01 0 0\n0 0.01 0\n0 0 -0.01\n")
    (folder / "twice.hkl").write_text("0 0 0 1\n0 0 0 2\n")
    result = command(f"{RUN} -detpixels 8 {words} -show_config" if "-oversample 99999" in words else f"{RUN} {words}")
    assert result.status == 0
    assert any(line.startswith(f"nanoBragg: warning: {warning}") for line in result.stderr.splitlines()), result.stderr


def test_progress_without_a_terminal_is_plain_lines(command):
    words = f"{RUN} -detpixels 200 -phi 1 -osc 1 -phisteps 8"
    shares = [int(line.removesuffix("% done")) for line in command(f"{words} -progress").stderr.splitlines()]
    assert shares == sorted(set(shares))
    assert len(shares) > 2
    assert shares[-1] == 100
    for silent in ("", "-noprogress", "-progress -quiet"):
        assert command(f"{words} {silent}").stderr == ""


def test_trace_of_a_pixel(folder, command):
    result = command(f"{RUN} -trace_pixel 3 5")
    assert (result.status, result.stderr) == (0, "")
    assert names(folder) == set()
    lines = result.stdout.splitlines()
    assert all(line.startswith("TRACE ") for line in lines)
    values = dict(line.split(" ", 3)[2:] for line in lines if line.startswith("TRACE value "))
    assert command(RUN).status == 0
    assert float(values["intensity_f32"]) == image(folder).reshape(8, 8)[3, 5]


def test_printout_of_a_pixel_takes_fast_then_slow(folder, command):
    result = command(f"{RUN} -printout_pixel 5 3")
    found = re.search(r"^pixel fast 5 slow 3: .*intensity_f32 (\S+)$", result.stdout, re.MULTILINE)
    assert float(found.group(1)) == pytest.approx(image(folder).reshape(8, 8)[3, 5], rel=1e-8)


def test_printout_of_every_pixel(command):
    result = command(f"{RUN} -roi 2 4 5 6 -printout")
    assert re.findall(r"^pixel fast (\d) slow (\d):", result.stdout, re.MULTILINE) == [
        (fast, slow) for slow in "56" for fast in "234"]


def test_a_reflection_list_leaves_a_cache_that_the_next_run_reads(folder, command):
    (folder / "a.hkl").write_text("0 0 0 100\n1 0 0 50\n0 1 0 25\n-1 0 0 33\n0 0 1 10\n")
    words = RUN.replace("-default_F 100", "")
    assert command(f"{words} -hkl a.hkl").stderr == ""
    cache = (folder / "Fdump.bin").read_bytes()
    assert cache.startswith(b"-1 1 0 1 0 1\n\f")
    assert len(cache) == 302
    listed = image(folder)
    result = command(f"{words} -floatfile again.bin")
    assert result.notes == ["silent_cache"]
    assert "note: structure factors come from the cache Fdump.bin (h -1..1, k 0..1, l 0..1)" in result.stderr
    np.testing.assert_array_equal(image(folder, "again.bin"), listed)
    assert command(f"{words} -clean").status == 2
    assert (folder / "Fdump.bin").read_bytes() == cache


def test_a_named_cache_is_no_fault(folder, command):
    (folder / "a.hkl").write_text("0 0 0 100\n1 0 0 50\n")
    words = RUN.replace("-default_F 100", "-dump my.bin")
    assert command(f"{words} -hkl a.hkl").status == 0
    assert "Fdump.bin" not in names(folder)
    listed = image(folder)
    result = command(f"{words} -clean -floatfile again.bin")
    assert (result.status, result.notes) == (0, [])
    assert "come from the cache my.bin" in result.stderr
    np.testing.assert_array_equal(image(folder, "again.bin"), listed)


def test_a_cache_that_cannot_be_written_is_a_warning(folder, command):
    (folder / "a.hkl").write_text("0 0 0 100\n1 0 0 50\n")
    result = command(f"{RUN} -hkl a.hkl -dump nowhere/Fdump.bin")
    assert result.status == 0
    assert result.stderr == "nanoBragg: warning: nowhere/Fdump.bin: cannot be written: no such file or directory\n"
    assert names(folder) == DEFAULT_OUTPUTS | {"a.hkl"}


@pytest.fixture
def kept_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("words", "tolerance"), [
    ("-threads 1", 0), ("-threads 3", 0), ("-device auto", 1e-6), ("-device cpu", 0), ("-dtype float64", 0),
    ("-dtype mixed", 1e-5), ("-dtype float32", 1e-3),
])
def test_where_and_how_precisely(folder, command, words, tolerance, kept_threads):
    base = f"{RUN} -pixel 4 -misset 5 10 15"
    assert command(f"{base} -floatfile plain.bin").status == 0
    assert command(f"{base} {words}").status == 0
    expected = image(folder, "plain.bin")
    np.testing.assert_allclose(image(folder), expected, rtol=0, atol=tolerance * expected.max())


def test_inputs_and_outputs_by_way_of_streams(folder):
    (folder / "a.hkl").write_text("0 0 0 100\n1 0 0 50\n")
    (folder / "a.mat").write_text("0.01 0 0\n0 0.02 0\n0 0 0.03\n")
    pipeline = (f"{sys.executable} -m nanobrag_torch {RUN} -hkl <(cat a.hkl) -mat <(cat a.mat) -quiet "
                "-floatfile /dev/stdout -nopgm -nonoise | wc -c")
    result = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, timeout=60)
    assert (result.stdout.strip(), result.stderr) == (str(8 * 8 * 4), "")


def test_a_mask_from_a_pipe_is_read_once(folder, command):
    (folder / "mask.img").write_bytes(smv(np.arange(64, dtype=np.uint16).reshape(8, 8) % 3))
    assert command(f"{RUN} -mask mask.img -floatfile plain.bin").status == 0
    shell = f"{sys.executable} -m nanobrag_torch {RUN} -mask <(cat mask.img) -quiet"
    subprocess.run(["bash", "-c", shell], check=True, timeout=60)
    np.testing.assert_array_equal(image(folder), image(folder, "plain.bin"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("words", "warning"), [
    ("-fluence 1e308", "nanoBragg: warning: 64 pixels are beyond single precision (3.4e38 photons) or no numbers\n"),
    ("-water 1e200", "nanoBragg: warning: 64 pixels are beyond single precision (3.4e38 photons) or no numbers\n"),
    ("-default_F 1e17", ""),
])
def test_photons_beyond_single_precision(folder, command, words, warning):
    result = command(f"{RUN} -clean {words}")
    assert (result.status, result.stderr) == (0, warning)
    assert names(folder) == DEFAULT_OUTPUTS


def test_source_weights_of_0_are_not_used_either(folder, command, built_c_image):
    sources = "-10 0 0 0 1e-10\n-10 0.02 0 0 1e-10\n"
    (folder / "s.txt").write_text(sources)
    words = f"{RUN} -misset 20 -10 35 -sourcefile s.txt"
    assert command(words).status == 0
    np.testing.assert_allclose(image(folder), built_c_image(words.split(), {"s.txt": sources}).ravel(), rtol=1e-6)


def test_a_closed_pipe_ends_the_command_quietly():
    pipeline = f"{sys.executable} -m nanobrag_torch --help | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, timeout=60)
    first, status = result.stdout.splitlines()
    assert first.startswith("nanoBragg: X-ray diffraction images")
    assert (status, result.stderr) in (("141", ""), ("0", ""))  # 0: all was written before head ended


def test_an_output_through_a_symbolic_link_replaces_what_it_points_to(folder, command):
    (folder / "real.bin").write_bytes(b"earlier")
    (folder / "link.bin").symlink_to("real.bin")
    assert command(f"{RUN} -floatfile link.bin").status == 0
    assert (folder / "link.bin").is_symlink()
    assert len((folder / "real.bin").read_bytes()) == 256


def test_file_names_of_any_kind(folder, command):
    assert command(f"{RUN} -floatfile 'a blank and an ä.bin' -intfile ./-dash.img").status == 0
    assert {"a blank and an ä.bin", "-dash.img"} <= names(folder)
