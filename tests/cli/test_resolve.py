"""From settings to an experiment: automatic choices, orders of options, image headers (part A §2, §1.7, §3.5)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cli_samples import smv

from nanobrag_torch.config import plain, plain3
from nanobrag_torch.errors import InputError
from nanobrag_torch.experiment import Experiment
from nanobrag_torch.models import Beam, Crystal, Detector
from nanobrag_torch.quirks import Quirks

BASE = "-cell 100 -default_F 1 -seed 1"


def experiment(words: str) -> Experiment:
    return Experiment.from_argv(f"{BASE} {words}".split())


def detector(words: str) -> Detector:
    resolved = experiment(words)
    return Detector(resolved.detector, quirks=resolved.quirks)


@pytest.mark.parametrize(("words", "fast", "slow", "size_f_mm", "size_s_mm"), [
    ("", 1024, 1024, 102.4, 102.4),
    ("-detpixels 20", 20, 20, 2, 2),
    ("-detpixels_x 20 -detpixels_y 30", 20, 30, 2, 3),
    ("-detpixels_f 20 -detsize_s 1", 20, 10, 2, 1),
    ("-detsize 10 -pixel 0.3", 33, 33, 10, 10),
    ("-detsize 10.5 -pixel 1", 10, 10, 10.5, 10.5),
    ("-detsize 10.6 -pixel 1", 11, 11, 10.6, 10.6),
    ("-pixel 0.2", 512, 512, 102.4, 102.4),
    ("-detpixels 20 -detsize 50", 20, 20, 2, 2),
    ("-detsize 50 -detpixels 20", 20, 20, 2, 2),
    ("-detpixels 20 -pixel 0.5", 20, 20, 10, 10),
])
def test_detector_size(words, fast, slow, size_f_mm, size_s_mm):
    placed = detector(words)
    assert (placed.config.fpixels, placed.config.spixels) == (fast, slow)
    assert plain(placed.size_f_m) == pytest.approx(size_f_mm / 1000, rel=1e-15)
    assert plain(placed.size_s_m) == pytest.approx(size_s_mm / 1000, rel=1e-15)


@pytest.mark.parametrize(("words", "fluence"), [
    ("", 125932015286227086360700780544.0),
    ("-fluence 1e20", 1e20),
    ("-flux 1e12", 1e20),
    ("-flux 1e12 -exposure 2 -beamsize 0.05", 8e20),
    ("-flux 1e12 -fluence 1e24", 1e20),
    ("-fluence 1e24 -flux 1e12", 1e20),
    ("-exposure 3", 125932015286227086360700780544.0),
    ("-flux 0 -fluence 1e24", 1e24),
])
def test_fluence(words, fluence):
    assert plain(Beam(experiment(words).beam).fluence_per_m2) == pytest.approx(fluence, rel=1e-15)


@pytest.mark.parametrize(("words", "sizes"), [
    ("", (0, 0, 0)),
    ("-xtalsize 0.05", (0.05, 0.05, 0.05)),
    ("-xtalsize 0.5", (0.5, 0.1, 0.1)),
    ("-xtalsize 0.5 -beamsize 0.2", (0.5, 0.2, 0.2)),
    ("-xtal_x 0.5 -xtal_z 0.3", (0.5, 0, 0.1)),
])
def test_crystal_edges_are_cut_to_the_beam(words, sizes):
    assert experiment(words).crystal.sample_size_mm == sizes


@pytest.mark.parametrize(("words", "steps", "range_deg", "step_deg"), [
    ("", 1, 0, 0),
    ("-phistep 0", 1, 0, 0),
    ("-phistep 0.1", 2, 0.1, 0.1),
    ("-osc 1", 2, 1, 0.5),
    ("-osc 0", 2, 0, 0),
    ("-osc 1 -phistep 0", 2, 1, 0.5),
    ("-osc 1.1 -phistep 0.1", 12, 1.1, 0.1),
    ("-osc 0.7 -phistep 0.1", 7, 0.7, 0.1),
    ("-osc 0.3 -phistep 0.1", 3, 0.3, 0.1),
    ("-phisteps 5", 5, 1, 0.2),
    ("-phisteps 0", 1, 1, 1),
    ("-phisteps 5 -phistep 0.1", 2, 0.1, 0.1),
    ("-phisteps 5 -osc 2", 5, 2, 0.4),
    ("-phisteps 1 -osc 90", 1, 90, 90),
    ("-phisteps 5 -osc 2 -phistep 0.1", 5, 2, 0.1),
    ("-phisteps 5 -osc 2 -phistep 0", 5, 2, 0),
    ("-phisteps 5 -phistep 0.1 -clean", 5, 0.5, 0.1),
    ("-osc 1.1 -phistep 0.1 -clean", 12, 1.1, 0.1),
])
def test_phi_steps(words, steps, range_deg, step_deg):
    crystal = experiment(words).crystal
    assert (crystal.phi_steps, plain(crystal.osc_range_deg)) == (steps, pytest.approx(range_deg))
    angles = np.degrees(Crystal(crystal).phi_angles().numpy())
    np.testing.assert_allclose(angles, step_deg * np.arange(steps), rtol=1e-13)


@pytest.mark.parametrize(("words", "mrad"), [
    ("", [0]),
    ("-hdivrange 0", [0]),
    ("-hdivstep 0", [0]),
    ("-hdivrange 2", [-1, 1]),
    ("-hdivstep 2", [-1, 1]),
    ("-hdivrange 2 -hdivsteps 3", [-1, 0, 1]),
    ("-hdivrange 2 -hdivsteps 1", [-1, 1]),
    ("-hdivstep 2 -hdivsteps 5", [-1, 1]),
    ("-hdivrange 2 -hdivstep 0.5", [-1, -0.5, 0, 0.5]),
    ("-hdivrange 4 -hdivstep 1 -hdivsteps 3", [-2, -1, 0]),
    ("-hdivsteps 3", [-500, -500 / 3, 500 / 3]),
    ("-hdivsteps 1", [-500]),
    ("-hdivsteps 0", [0]),
    ("-clean -hdivsteps 3", [0]),
    ("-clean -hdivsteps 1", [0]),
    ("-clean -hdivrange 2 -hdivsteps 1", [0]),
    ("-clean -hdivstep 2 -hdivsteps 5", [-4, -2, 0, 2, 4]),
    ("-clean -hdivrange 2 -hdivsteps 3", [-1, 0, 1]),
])
@pytest.mark.parametrize("axis", ["h", "v"])
def test_divergence_in_one_direction(words, mrad, axis):
    beam = Beam(experiment(words.replace("-hdiv", f"-{axis}div")).beam)
    count, extent, step = beam.plain_grid(f"{axis}div")
    offsets = [1000 * (index * step - extent / 2) for index in range(count)]
    np.testing.assert_allclose(offsets, mrad, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize(("words", "sources"), [
    ("-divergence 2 -divsteps 3", 5),
    ("-divergence 2 -divsteps 3 -square_div", 9),
    ("-divergence 2 -divsteps 4", 12),
    ("-hdivrange 0.28 -hdivstep 0.02 -vdivrange 0.28 -vdivstep 0.02", 167),
    ("-divsteps 1 -clean", 1),
])
def test_number_of_sources(words, sources):
    resolved = experiment(words)
    assert len(Beam(resolved.beam).sources(Detector(resolved.detector).beam_direction()).weight) == sources


@pytest.mark.parametrize(("words", "relative"), [
    ("", [1]),
    ("-dispsteps 3", [1]),
    ("-dispersion 0 -dispsteps 3", [1]),
    ("-dispersion 1", [0.995, 1.005]),
    ("-dispersion 1 -dispsteps 3", [0.995, 1, 1.005]),
    ("-dispersion 1 -dispsteps 1", [0.995, 1.005]),
    ("-dispersion 1 -dispsteps 1 -clean", [1]),
])
def test_wavelengths(words, relative):
    resolved = experiment(f"{words} -lambda 2")
    sources = Beam(resolved.beam).sources(Detector(resolved.detector).beam_direction())
    np.testing.assert_allclose(sources.wavelength.numpy(), 2e-10 * np.array(relative), rtol=1e-13)


def test_energy_is_a_wavelength():
    assert experiment("-energy 12398.42").beam.wavelength_A == 1.0


@pytest.mark.parametrize(("words", "layers", "layer_um", "per_m"), [
    ("", 1, 0, None),
    ("-detector_thicksteps 5", 1, 0, None),
    ("-detector_thick 450", 2, 225, 1 / 450e-6),
    ("-detector_thick 450 -detector_thicksteps 0", 2, 225, 1 / 450e-6),
    ("-detector_thick 450 -detector_thicksteps 5", 5, 112.5, 1 / 450e-6),
    ("-detector_thick 450 -thicksteps 5 -clean", 5, 90, 1 / 450e-6),
    ("-detector_thick 450 -thicksteps 1", 2, 450, 1 / 450e-6),
    ("-detector_thick 450 -thicksteps 1 -clean", 1, 450, 1 / 450e-6),
    ("-detector_thick 450 -detector_abs 200", 2, 225, 1 / 200e-6),
    ("-detector_abs inf -detector_thick 450", 2, 225, 0),
    ("-detector_thick 450 -detector_abs inf", 1, 0, 0),
    ("-detector_thick 450 -detector_abs 0", 1, 0, 0),
])
def test_sensor(words, layers, layer_um, per_m):
    placed = detector(words)
    geometry = placed.geometry()
    assert placed.layers == layers
    assert 1e6 * plain(geometry.layer_depth) == pytest.approx(layer_um)
    if per_m is not None:
        assert plain(geometry.attenuation) == pytest.approx(per_m)


@pytest.mark.parametrize(("words", "domains", "spread"), [
    ("", 1, 0),
    ("-mosaic 0", 1, 0),
    ("-mosaic 0.5", 10, 0.5),
    ("-mosaic 0.5 -mosaic_domains 0", 10, 0.5),
    ("-mosaic_domains 5", 1, 0),
    ("-mosaic 0 -mosaic_domains 5", 1, 0),
    ("-mosaic 0.5 -mosaic_domains 5", 5, 0.5),
    ("-mosaic 0.5 -mosaic_domains 1", 1, 0.5),
])
def test_mosaic_domains(words, domains, spread):
    crystal = experiment(words).crystal
    assert (crystal.mosaic_domains, crystal.mosaic_spread_deg) == (domains, spread)


PLACES = {
    "-adxv": ((100, 1.55, 1.05), (1.05, 1.45), (1.5, 1), (11, 16)),
    "-mosflm": ((-1.1, 1.6, -100), (1.1, 1.4), (1.55, 1.05), (11.5, 16.5)),
    "-denzo": ((-1.05, 1.55, -100), (1.05, 1.45), (1.5, 1), (11, 16)),
    "-xds": ((100, -1.5, 1), (1, 1.5), (1.45, 0.95), (10.5, 15.5)),
    "-dials": ((100, -1.5, 1), (1, 1.5), (1.45, 0.95), (10.5, 15.5)),
    "-polar_vector 0 0 1": ((-1, 1.5, -100), (1, 1.5), (1.45, 0.95), (10.5, 15.5)),
    "-mosflm -twotheta 20": ((-1.1, 1.50351, -100.547), (1.1, -0.662634), (3.61263, 1.05), (11.5, 358.52)),
    "-xds -twotheta 20": ((93.4562, -35.6116, 1), (1, -32.702), (35.652, 0.95), (10.5, 15.5)),
    "-dials -twotheta 20": ((94.3113, -1.5, -33.2623), (-33.202, 1.5), (1.45, -33.252), (10.5, 15.5)),
    "-mosflm -detector_rotx 5 -detector_roty 3 -detector_rotz 2":
        ((-0.955054, 1.68701, -99.891), (1.1, 1.4), (1.55, 1.05), (-43.6467, -13.7081)),
    "-mosflm -close_distance 95 -detector_roty 10":
        ((-1.08329, 1.6, -96.2745), (1.1, 1.4), (1.55, 1.05), (-156.011, 16.5)),
    "-polar_vector 0 0 1 -twotheta 20":
        ((-35.1417, 1.5, -93.6272), (35.202, 1.5), (1.45, 35.152), (10.5, 15.5)),
}
"""DIALS origin (mm), ADXV and MOSFLM centres (mm) and XDS origin (pixels) of 20 x 30 pixels (part A §2.4)."""


@pytest.mark.parametrize("words", PLACES)
def test_conventions_and_pivots(words):
    origin, adxv, mosflm, xds = PLACES[words]
    values = detector(f"-detpixels_f 20 -detpixels_s 30 -distance 100 {words}").header_values()
    assert values["dials_origin_mm"] == pytest.approx(origin, rel=2e-5)
    assert (values["adxv_center_x_mm"], values["adxv_center_y_mm"]) == pytest.approx(adxv, rel=2e-5)
    assert (values["mosflm_center_x_mm"], values["mosflm_center_y_mm"]) == pytest.approx(mosflm, rel=2e-5)
    assert (values["xds_orgx_px"], values["xds_orgy_px"]) == pytest.approx(xds, rel=2e-5)


@pytest.mark.parametrize(("words", "pivot"), [
    ("-twotheta 20", "beam"), ("-pivot sample", "beam"), ("-xds -distance 100", "sample"),
    ("-dials -pivot beam", "sample"), ("-polar_vector 0 0 1", "beam"), ("-polar_vector 0 0 1 -twotheta 20", "sample"),
    ("-twotheta 20 -polar_vector 0 0 1 -distance 100", "beam"), ("-polar_vector 0 0 1 -pivot sample", "sample"),
    ("-polar_vector 0 0 1 -pivot sample -Xbeam 5", "beam"), ("-clean -pivot sample", "sample"),
    ("-clean -xds -pivot beam", "beam"), ("-clean -twotheta 20", "beam"), ("-clean -xds -distance 100", "sample"),
])
def test_pivot_in_force(words, pivot):
    assert str(detector(words).pivot).lower() == pivot


@pytest.mark.parametrize("vectors", ["-fdet_vector 0 1 0 -sdet_vector 0 0 1 -polar_vector 0 1 0 -spindle_axis 0 1 0"])
def test_a_convention_after_vectors_restores_all_of_them(vectors):
    after, alone = experiment(f"{vectors} -xds"), experiment("-xds")
    assert (after.detector, after.crystal, after.beam) == (alone.detector, alone.crystal, alone.beam)


def test_a_vector_after_a_convention_takes_the_first_values_of_the_others():
    placed = detector("-xds -polar_vector 0 0 1")
    assert plain3(placed.beam_direction()) == (1, 0, 0)
    assert plain3(placed.fdet_vec) == (0, 0, 1)


def test_matrix_scales_with_the_wavelength(folder):
    (folder / "a.mat").write_text("0.01 0 0\n0 0.02 0\n0 0 0.03\n 0 0 0\n")
    for wavelength, edges in ((1, (100, 50, 100 / 3)), (2, (200, 100, 200 / 3))):
        crystal = Experiment.from_argv(f"-mat a.mat -lambda {wavelength} -default_F 1".split()).crystal
        lengths = Crystal(crystal).compute_cell_tensors().axes.norm(dim=-1).numpy()
        np.testing.assert_allclose(lengths, edges, rtol=1e-13)


def test_cell_with_a_matrix_gives_the_lengths(folder):
    (folder / "a.mat").write_text("0 0.01 0\n0.02 0 0\n0 0 -0.03\n")
    words = "-mat a.mat -cell 70 80 90 -default_F 1"
    cell = Crystal(Experiment.from_argv(words.split()).crystal).compute_cell_tensors()
    np.testing.assert_allclose(cell.axes.norm(dim=-1).numpy(), (70, 80, 90), rtol=1e-13)
    np.testing.assert_allclose((cell.a / 70).numpy(), (0, 1, 0), atol=1e-15)


@pytest.mark.parametrize(("cell", "edges", "angles"), [
    ("50", (50, 50, 50), (90, 90, 90)), ("50 60", (50, 60, 50), (90, 90, 90)),
    ("50 0 70 80", (50, 50, 70), (80, 90, 90)), ("50 60 70 0 100 -5", (50, 60, 70), (90, 100, 90)),
])
def test_missing_cell_parameters(cell, edges, angles):
    crystal = Experiment.from_argv(f"-cell {cell} -default_F 1".split()).crystal
    assert (crystal.cell_edges, crystal.cell_angles) == (edges, angles)


HEADER = {"PIXEL_SIZE": 0.2, "DISTANCE": 150, "WAVELENGTH": 1.5, "BEAM_CENTER_X": 1.1, "BEAM_CENTER_Y": 0.9,
          "PHI": 10, "OSC_RANGE": 0.5}


def header_image(folder, name: str, **keys) -> None:
    (folder / name).write_bytes(smv(np.ones((6, 8), dtype=np.uint16), **(HEADER | keys)))


def test_an_image_header_supplies_the_geometry(folder):
    header_image(folder, "a.img", ORGX=3, ORGY=4)
    resolved = experiment("-img a.img")
    placed, crystal = resolved.detector, resolved.crystal
    assert (placed.fpixels, placed.spixels, placed.pixel_size_mm, placed.distance_mm) == (8, 6, 0.2, 150)
    assert (placed.beam_x_mm, placed.beam_y_mm, placed.orgx_px, placed.orgy_px) == (1.1, 0.9, 3, 4)
    assert resolved.beam.wavelength_A == 1.5
    assert (crystal.phi_start_deg, crystal.osc_range_deg, crystal.phi_steps) == (10, 0.5, 2)
    assert (placed.detector_convention, placed.detector_pivot) == ("mosflm", None)


def test_options_override_a_header_in_either_order(folder):
    header_image(folder, "a.img")
    for words in ("-img a.img -pixel 0.1 -distance 80 -lambda 1", "-pixel 0.1 -distance 80 -lambda 1 -img a.img"):
        resolved = experiment(words)
        assert (resolved.detector.pixel_size_mm, resolved.detector.distance_mm) == (0.1, 80)
        assert resolved.beam.wavelength_A == 1


def test_the_image_wins_over_the_mask_whatever_the_order(folder):
    header_image(folder, "image.img", DISTANCE=120)
    header_image(folder, "mask.img", DISTANCE=150, TWOTHETA=10)
    for words in ("-img image.img -mask mask.img", "-mask mask.img -img image.img"):
        assert experiment(words).detector.distance_mm == 120


def test_no_phi_steps_from_an_oscillation_of_zero(folder):
    header_image(folder, "a.img", OSC_RANGE=0)
    crystal = experiment("-img a.img").crystal
    assert (crystal.phi_steps, crystal.osc_range_deg) == (2, 0)


@pytest.mark.parametrize(("words", "steps", "range_deg"), [
    ("-img negative.img", 1, 0), ("-mask negative.img", 1, 0), ("-mask positive.img -img negative.img", 1, 0),
    ("-mask negative.img -img positive.img", 2, 0.5), ("-img negative.img -osc 2", 2, 2),
    ("-img negative.img -phisteps 4", 4, 1),
])
def test_a_negative_oscillation_of_a_header_is_none(folder, words, steps, range_deg):
    header_image(folder, "negative.img", OSC_RANGE=-1)
    header_image(folder, "positive.img")
    crystal = experiment(words).crystal
    assert (crystal.phi_steps, crystal.osc_range_deg) == (steps, range_deg)


def test_the_c_program_has_no_negative_oscillation_either(folder, command, built_c_image):
    header_image(folder, "a.img", PHI=0, OSC_RANGE=-1, PIXEL_SIZE=2)
    words = f"{BASE} -misset 20 -10 35 -N 4 -distance 80 -img a.img"
    assert command(words).status == 0
    assert b"\nOSC_RANGE=0;" in (folder / "intimage.img").read_bytes()
    ours = np.fromfile("floatimage.bin", np.float32)
    reference = built_c_image(words.split(), {"a.img": (folder / "a.img").read_text()})
    np.testing.assert_allclose(ours, reference.ravel(), rtol=1e-6)


def test_twotheta_of_a_header_is_not_applied(folder):
    header_image(folder, "a.img", TWOTHETA=20)
    assert experiment("-img a.img").detector.detector_twotheta_deg == 0


def test_close_distance_of_a_header_disables_distance_in_the_canonical_program_alone(folder):
    header_image(folder, "a.img", CLOSE_DISTANCE=95)
    upstream, clean = experiment("-img a.img -distance 80"), experiment("-img a.img -distance 80 -clean")
    assert upstream.detector.close_distance_mm == 95
    assert (clean.detector.distance_mm, clean.detector.close_distance_mm) == (80, None)
    assert experiment("-img a.img -clean").detector.close_distance_mm == 95
    assert experiment("-img a.img -clean -close_distance 90 -distance 80").detector.close_distance_mm == 90


def test_beam_centre_of_a_mask_is_measured_from_the_opposite_edge_in_the_canonical_program_alone(folder):
    header_image(folder, "mask.img")
    upstream, clean = experiment("-mask mask.img"), experiment("-mask mask.img -clean")
    assert upstream.detector.beam_y_mm == pytest.approx(6 * 0.2 - 0.9)
    assert clean.detector.beam_y_mm == 0.9
    assert upstream.detector.beam_x_mm == clean.detector.beam_x_mm == 1.1


@pytest.mark.parametrize(("words", "seed"), [
    ("-misset random -misset_seed 7", 7), ("-misset_seed 7 -misset random", 7),
    ("-misset random -misset_seed 7 -clean", 7), ("-misset random -clean", 1),
])
def test_seed_of_a_random_orientation(words, seed):
    assert experiment(words).crystal.misset_random_seed == seed


def test_a_random_orientation_follows_the_clock_in_the_canonical_program():
    words = [*BASE.split(), "-misset", "random"]
    crystal = Experiment.from_argv(words).crystal
    assert crystal.misset_random_seed > 10**9


def test_no_orientation_is_drawn_without_being_asked_for():
    assert experiment("-misset_seed 7").crystal.misset_random_seed is None
    assert experiment("-misset random -misset 1 2 3").crystal.misset_random_seed is None


def test_a_cache_is_used_silently_by_the_canonical_program_alone(folder):
    (folder / "Fdump.bin").write_bytes(b"0 0 0 0 0 0\n\f" + bytes(64))
    assert Experiment.from_argv(["-cell", "100"]).files.dump == "Fdump.bin"
    with pytest.raises(InputError, match="-hkl, -default_F"):
        Experiment.from_argv(["-cell", "100", "-clean"])
    assert Experiment.from_argv(["-cell", "100", "-clean", "-dump", "Fdump.bin"]).files.dump_asked


def test_quirks_of_a_command():
    assert experiment("").quirks == Quirks.upstream()
    assert experiment("-clean").quirks == Quirks.clean()


@pytest.mark.parametrize(("words", "files"), [
    ("", ("floatimage.bin", "intimage.img", "image.pgm", "noiseimage.img", None)),
    ("-nopgm -nonoise", ("floatimage.bin", "intimage.img", None, None, None)),
    ("-floatimage f -intimage i -pgmimage p -noiseimage n -pngfile g", ("f", "i", "p", "n", "g")),
    ("-nopgm -pgmscale 2 -nonoise -noisefile n", ("floatimage.bin", "intimage.img", "image.pgm", "n", None)),
])
def test_output_files(words, files):
    outputs = experiment(words).files
    assert (outputs.floatfile, outputs.intfile, outputs.pgmfile, outputs.noisefile, outputs.pngfile) == files


@pytest.mark.parametrize(("words", "bounds"), [
    ("-detpixels 10 -roi 1 2 3 4", (1, 2, 3, 4)), ("-detpixels 10 -roi -1 5 2 -1", (0, 5, 2, 9)),
    ("-detpixels 10 -roi 0 99 0 99", (0, 9, 0, 9)),
])
def test_region_of_interest(words, bounds):
    assert experiment(words).detector.roi == bounds


@pytest.mark.parametrize(("words", "scale"), [("-scale 2", 2), ("-scale 0", None), ("-scale -1", None), ("", None)])
def test_scales_of_zero_or_less_are_automatic(words, scale):
    assert experiment(words).noise.intfile_scale == scale
    assert experiment(words.replace("-scale", "-pgmscale")).noise.pgm_scale == scale


def test_a_source_file_takes_missing_columns_from_the_options(folder):
    (folder / "sources.txt").write_text("1 2 3 0.5 1e-10\n\n# comment\nnan nan nan 2\n")
    beam = experiment("-sourcefile sources.txt -lambda 2 -xds").beam
    np.testing.assert_array_equal(beam.source_directions, [[1, 2, 3], [0, 0, -10]])
    assert beam.source_weights == [0.5, 2]
    assert beam.source_wavelengths_A[0] == pytest.approx(1, rel=1e-15)
    assert math.isnan(beam.source_wavelengths_A[1])
