"""A note names each fault that changes a run, and no other; with `-clean` there is none."""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np
import pytest
from cli_samples import RUN, smv

from nanobrag_torch.quirks import Quirks

FAR = f"{RUN} -pixel 4 -misset 5 10 15"
"""Wide angles, at which solid angle and polarisation matter; a crystal small enough for -oversample 1 even so."""

SILENT = [
    RUN, FAR, f"{FAR} -phi 1 -osc 1", f"{FAR} -oversample_omega", f"{FAR} -nopolar", f"{FAR} -nopolar -point_pixel",
    f"{FAR} -hkl list.hkl", f"{FAR} -hkl list.hkl -interpolate -lambda 30", f"{FAR} -dispersion 0 -dispsteps 3",
    f"{FAR} -detector_thick 450 -detector_abs inf", f"{FAR} -cell 50 60 70 90 100 90", f"{FAR} -pivot beam",
    f"{FAR} -pivot sample", f"{FAR} -twotheta_axis 0 0 2", f"{FAR} -twotheta_axis 0 0 -1 -nopolar",
    f"{FAR} -fdet_vector 0 0 1 -sdet_vector 0 -1 0", f"{FAR} -odet_vector 1 0 0", f"{FAR} -round_xtal",
    f"{FAR} -mosaic 1 -mosaic_domains 1", f"{FAR} -sourcefile one.txt", f"{FAR} -detector_rotx 5 -detector_roty 3",
    f"{FAR} -roi 2 5 1 6", f"{FAR} -mask open.img", f"{FAR} -img frame.img", f"{FAR} -img frame.img -mask open.img",
    f"{FAR} -misset random -misset_seed 3", f"{FAR} -water 10", f"{FAR} -dmin 2",
    f"{FAR} -xtalsize 0.00003 -hkl list.hkl", f"{FAR} -phisteps 2 -osc 1 -phi 1", f"{FAR} -dispersion 5",
    f"{FAR} -hdivrange 0",
]
"""Commands that no fault changes."""

NOTED: list[tuple[str, str]] = [
    ("phi_carryover", f"{FAR} -osc 1 -phisteps 3"),
    ("phi_carryover", f"{FAR} -phi -1 -phistep 1 -osc 2"),
    ("running_product", f"{FAR} -oversample_omega -nopolar -phi 1 -osc 1"),
    ("running_product", f"{FAR} -oversample_thick"),
    ("source_weights_ignored", f"{FAR} -sourcefile two.txt -nopolar"),
    ("interpolation_latch", f"{FAR} -hkl list.hkl -interpolate -lambda 5"),
    ("polar_first_ray", f"{FAR} -hdivrange 20"),
    ("polar_first_ray", f"{FAR} -sourcefile equal.txt"),
    ("omega_first_subpixel", f"{FAR} -oversample 2 -nopolar"),
    ("water_scaling", f"{FAR} -water 10 -phi 1 -osc 1"),
    ("water_scaling", f"{FAR} -water 10 -fluence 1e24"),
    ("curved_detector", f"{FAR} -curved_det"),
    ("triclinic_cell_axes", f"{FAR} -cell 50 60 70 80 90 100"),
    ("pix0_ignored", f"{FAR} -pix0_vector 0.06 0.02 -0.02"),
    ("forced_pivot", f"{FAR} -detector_roty 20 -pivot sample"),
    ("nopolar_defeated", f"{FAR} -nopolar -oversample_polar"),
    ("spot_width_by_volume", f"{FAR} -gauss_xtal"),
    ("spot_width_by_volume", f"{FAR} -tophat_spots -Na 2"),
    ("sinc3_cancellation", f"{RUN} -round_xtal -detpixels 9 -pixel 0.0001 -Xbeam 0.000399999 -Ybeam 0.0004"),
    ("single_precision_mosaic", f"{FAR} -mosaic 60 -mosaic_domains 5"),
    ("interpolation_before_size", f"{FAR} -hkl list.hkl -samplesize 0.00003 -N 1 -lambda 30"),
    ("step_counts", f"{FAR} -phisteps 3 -phistep 2 -phi 1"),
    ("step_counts", f"{FAR} -hdivsteps 3 -nopolar"),
    ("header_close_distance", f"{FAR} -img close.img"),
    ("mask_beam_centre", f"{RUN} -mask off.img"),
    ("clock_orientation", f"{FAR.replace('-misset 5 10 15', '-misset random')}"),
    ("silent_cache", f"{FAR} -dump Fdump.bin -nointerpolate"),
]
"""A fault and a command whose float image it alone changes."""

FAULTS_OF_OTHER_FILES = {
    "rmsd_counts_masked": f"{FAR} -mask half.img",
    "noise_wraparound": f"{FAR} -adc -20",
    "header_values": f"{FAR} -xds",
}


@pytest.fixture
def inputs(folder) -> None:
    indices = itertools.product(range(-4, 5), repeat=3)
    (folder / "list.hkl").write_text("".join(f"{h} {k} {m} {60 + 7 * h + 5 * k + 3 * m}\n" for h, k, m in indices))
    (folder / "one.txt").write_text("-10 1 0 5 1.1e-10\n")
    (folder / "equal.txt").write_text("-10 1 0\n-10 -1 0\n")
    (folder / "two.txt").write_text("-10 1 0 1\n-10 -1 0 3\n")
    ones = np.ones((8, 8), dtype=np.uint16)
    half = ones.copy()
    half[:4] = 0
    (folder / "open.img").write_bytes(smv(ones))
    (folder / "half.img").write_bytes(smv(half))
    (folder / "frame.img").write_bytes(smv(ones, DISTANCE=70, WAVELENGTH=1.2))
    (folder / "close.img").write_bytes(smv(ones, CLOSE_DISTANCE=70))
    (folder / "off.img").write_bytes(smv(ones, PIXEL_SIZE=0.05, BEAM_CENTER_Y=0.1))


@pytest.mark.parametrize("words", SILENT)
def test_no_note_where_the_clean_image_is_the_same(inputs, folder, command, words):
    kept = command(f"{words} -floatfile kept.bin")
    clean = command(f"{words} -floatfile clean.bin -clean")
    assert (kept.status, kept.notes, clean.status, clean.notes) == (0, [], 0, [])
    assert (folder / "kept.bin").read_bytes() == (folder / "clean.bin").read_bytes()


@pytest.mark.parametrize(("quirk", "words"), NOTED, ids=[f"{quirk}-{i}" for i, (quirk, _) in enumerate(NOTED)])
def test_a_note_where_a_fault_changes_the_image(inputs, folder, command, quirk, words):
    if quirk == "silent_cache":
        assert command(f"{FAR} -hkl list.hkl -quiet").status == 0
        words = words.replace("-dump Fdump.bin", "")
    kept = command(f"{words} -floatfile kept.bin")
    clean = command(f"{words} -floatfile clean.bin -clean")
    assert (kept.status, kept.notes, clean.status, clean.notes) == (0, [quirk], 0, [])
    assert (folder / "kept.bin").read_bytes() != (folder / "clean.bin").read_bytes()


@pytest.mark.parametrize(("quirk", "words"), FAULTS_OF_OTHER_FILES.items())
def test_a_note_where_a_fault_changes_other_files(inputs, folder, command, quirk, words):
    kept = command(f"{words} -floatfile kept.bin -intfile kept.img -pgmfile kept.pgm -noisefile kept.noise")
    clean = command(f"{words} -floatfile clean.bin -intfile clean.img -pgmfile clean.pgm -noisefile clean.noise -clean")
    assert (kept.notes, clean.notes) == ([quirk], [])
    assert (folder / "kept.bin").read_bytes() == (folder / "clean.bin").read_bytes()
    origin = re.compile(rb"DIALS_ORIGIN=([^;\n]*)")
    differ = {
        "rmsd_counts_masked": (folder / "kept.pgm").read_bytes() != (folder / "clean.pgm").read_bytes(),
        "noise_wraparound": (folder / "kept.noise").read_bytes()[512:] != (folder / "clean.noise").read_bytes()[512:],
        "header_values": origin.findall((folder / "kept.img").read_bytes()) != origin.findall(
            (folder / "clean.img").read_bytes()),
    }
    assert differ == {name: name == quirk for name in differ}


def test_several_faults_have_a_line_each(inputs, command):
    words = f"{FAR} -detector_thick 450 -thicksteps 3 -twotheta 10 -gauss_xtal -osc 1"
    noted = command(words)
    assert noted.notes == ["phi_carryover", "last_layer_capture", "sensor_layer_step", "polar_first_ray",
                           "omega_first_subpixel", "spot_width_by_volume", "header_values"]
    for line in noted.stderr.splitlines()[-len(noted.notes):]:
        assert re.fullmatch(r"note: \w+: .+ \(part [AB] §.+\); -clean corrects it", line)
    assert command(f"{words} -clean").notes == []


def test_every_fault_has_a_test_here():
    shown = {quirk for quirk, _ in NOTED} | set(FAULTS_OF_OTHER_FILES)
    shown |= {"last_layer_capture", "sensor_layer_step"}  # with others, above
    shown |= {"twotheta_distance", "twotheta_axis_unnormalised", "custom_normal_kept"}  # below
    assert shown == {entry.name for entry in dataclasses.fields(Quirks)}


@pytest.mark.parametrize(("quirks", "words"), [
    (["twotheta_axis_unnormalised"], f"{FAR} -twotheta_axis 0 0 -2 -twotheta 10"),
    (["custom_normal_kept"], f"{FAR} -fdet_vector 0.3 0 1 -sdet_vector 0 -1 0"),
    (["curved_detector", "twotheta_distance"], f"{FAR} -twotheta 10 -curved_det"),
    (["omega_first_subpixel", "twotheta_distance"], f"{RUN} -twotheta 60 -pixel 1 -N 1 -oversample 0 -nopolar"),
])
def test_faults_that_come_with_untrue_headers(inputs, folder, command, quirks, words):
    assert command(f"{words} -floatfile kept.bin").notes == [*quirks, "header_values"]
    assert command(f"{words} -floatfile clean.bin -clean").notes == []
    assert (folder / "kept.bin").read_bytes() != (folder / "clean.bin").read_bytes()


def test_quiet_keeps_the_notes(inputs, command):
    result = command(f"{FAR} -gauss_xtal -quiet")
    assert (result.stdout, result.notes) == ("", ["spot_width_by_volume"])
