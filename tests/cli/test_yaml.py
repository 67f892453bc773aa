"""`-show_config` and `-config`: an experiment as YAML and back."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli_samples import RUN

from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig
from nanobrag_torch.errors import InputError
from nanobrag_torch.experiment import Computing, Experiment, Files
from nanobrag_torch.io.experiment_yaml import SECTIONS
from nanobrag_torch.quirks import Quirks

GOLDEN = Path(__file__).parents[1] / "golden_data"
CASES = {case["id"]: case for case in yaml.safe_load((GOLDEN / "cases.yaml").read_text())["cases"]
         if case.get("expect") != "error"}


def values(experiment: Experiment) -> str:
    """Every field of every section as text, in which NaN equals NaN."""
    return repr(dataclasses.asdict(experiment))


@pytest.fixture
def golden_inputs(folder) -> None:
    shutil.copytree(GOLDEN / "inputs", folder / "inputs")


def test_every_golden_command_reads_back_as_the_same_experiment(golden_inputs, folder, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)  # the clock seeds what no option does
    (folder / "Fdump.bin").touch()
    for name, case in CASES.items():
        words = shlex.split(case["args"])
        typed = Experiment.from_argv(words)
        (folder / "c.yaml").write_text(typed.to_yaml())
        assert values(Experiment.from_yaml("c.yaml")) == values(typed), name
        assert values(Experiment.from_argv(["-config", "c.yaml"])) == values(typed), name


def test_the_golden_commands_give_more_than_fifty_experiments():
    assert len({case["args"] for case in CASES.values()}) > 50


def test_show_config_prints_what_config_reads_and_runs_nothing(folder, command):
    shown = command(f"{RUN} -osc 1 -round_xtal -xds -show_config")
    assert (shown.status, shown.stderr) == (0, "")
    assert list(folder.iterdir()) == []
    (folder / "c.yaml").write_text(shown.stdout)
    assert command("-config c.yaml -show_config").stdout == shown.stdout


def test_config_gives_the_same_image(folder, command):
    words = f"{RUN} -osc 1 -phisteps 3 -mosaic 0.5 -divergence 2 -divsteps 3 -nonoise -nopgm"
    (folder / "c.yaml").write_text(command(f"{words} -show_config").stdout)
    assert command(words).status == 0
    typed = (folder / "floatimage.bin").read_bytes()
    assert command("-config c.yaml -floatfile again.bin").status == 0
    assert (folder / "again.bin").read_bytes() == typed


@pytest.mark.parametrize(("before", "after"), [
    ("-lambda 1", "-lambda 2"),
    ("-detpixels 10", "-detpixels 20"),
    ("-detsize 10", "-pixel 0.2"),
    ("-detsize 10", "-detpixels 20"),
    ("-osc 1", "-osc 2"),
    ("-osc 1 -phistep 0.1", "-osc 2"),
    ("", "-osc 1"),
    ("", "-mosaic 0.5"),
    ("-mosaic 0.5", "-mosaic_domains 5"),
    ("-mosaic 0.5 -mosaic_domains 5", "-mosaic 0.1"),
    ("", "-hdivrange 2"),
    ("-hdivrange 2", "-hdivsteps 5"),
    ("-hdivrange 2 -hdivstep 0.5", "-hdivstep 0.25"),
    ("", "-dispersion 1"),
    ("-dispersion 1", "-dispsteps 5"),
    ("-beam_vector 1 0 0.1", "-xds"),
    ("-lambda 2", "-fdet_vector 0 0 1"),
    ("-polar_vector 0 1 0 -spindle_axis 0 1 0", "-xds"),
    ("-cell 50", "-cell 60 70 80 90 100 90"),
    ("-misset 1 2 3", "-misset 4 5 6"),
    ("-misset random -misset_seed 5", "-misset 4 5 6"),
    ("-misset random -misset_seed 5", "-misset_seed 6"),
    ("-nopgm -nonoise", "-pgmfile p.pgm -noisefile n.img"),
    ("-nopgm", "-pgmscale 2"),
    ("-roi 1 2 3 4", "-roi 0 5 0 5"),
    ("-oversample 3", "-oversample 0"),
    ("-nopolar", "-polar 0.9"),
    ("-detector_thick 450 -thicksteps 3", "-detector_abs inf"),
    ("-N 3", "-Nb 5"),
    ("-xtalsize 0.05", "-xtal_x 0.02"),
    ("-flux 1e12", "-exposure 2"),
    ("-dtype mixed -threads 1", "-dtype float32 -device auto"),
    ("-hkl a.hkl", "-hkl b.hkl -dump b.bin"),
    ("-xds -Xbeam 5", "-twotheta 10 -detector_rotx 1"),
])
def test_options_after_a_configuration_override_it(folder, before, after):
    base = "-cell 100 -default_F 1 -seed 1"
    (folder / "c.yaml").write_text(Experiment.from_argv(f"{base} {before}".split()).to_yaml())
    for words in (f"-config c.yaml {after}", f"{after} -config c.yaml"):
        assert values(Experiment.from_argv(words.split())) == values(
            Experiment.from_argv(f"{base} {before} {after}".split()))


def test_a_new_count_shares_out_the_range_anew(folder):
    (folder / "c.yaml").write_text("crystal: {osc_range_deg: 2, phi_steps: 20, phi_step_deg: 0.1}\n"
                                   "files: {hkl: a.hkl}\n")
    crystal = Experiment.from_argv(["-config", "c.yaml", "-phisteps", "4"]).crystal
    assert (crystal.phi_steps, crystal.osc_range_deg, crystal.phi_step_deg) == (4, 2, None)


def test_clean_overrides_the_quirks_of_a_configuration(folder):
    (folder / "c.yaml").write_text("files: {hkl: a.hkl}\nquirks: {phi_carryover: true}\n")
    assert Experiment.from_argv(["-config", "c.yaml"]).quirks == Quirks(phi_carryover=True)
    assert Experiment.from_argv(["-config", "c.yaml", "-clean"]).quirks == Quirks.clean()


def test_a_configuration_without_quirks_is_the_command_s_default(folder):
    (folder / "c.yaml").write_text("files: {hkl: a.hkl}\n")
    assert Experiment.from_argv(["-config", "c.yaml"]).quirks == Quirks.upstream()
    (folder / "c.yaml").write_text("files: {hkl: a.hkl}\nquirks: clean\n")
    assert Experiment.from_argv(["-config", "c.yaml"]).quirks == Quirks.clean()


def test_typed_options_outweigh_their_rivals_in_a_configuration(folder):
    (folder / "c.yaml").write_text("""
crystal: {cell_a: 50, default_F: 1, sample_size_mm: [1e-5, 1e-5, 1e-5]}
detector: {close_distance_mm: 70}
beam: {flux: 1e12, source_directions: [[-10, 0, 0], [-10, 1, 0]]}
""")
    assert Experiment.from_argv(["-config", "c.yaml", "-distance", "90"]).detector.close_distance_mm is None
    assert Experiment.from_argv(["-config", "c.yaml", "-fluence", "1e25"]).beam.flux == 0
    assert Experiment.from_argv(["-config", "c.yaml", "-Nb", "7"]).crystal.sample_size_mm == (1e-5, 0, 1e-5)
    assert Experiment.from_argv(["-config", "c.yaml", "-hdivrange", "2"]).beam.source_directions is None
    assert Experiment.from_argv(["-config", "c.yaml"]).beam.source_directions is not None


def test_only_what_differs_from_the_defaults_is_written():
    experiment = Experiment(CrystalConfig(cell_a=50.0), DetectorConfig(fpixels=8), files=Files(pngfile="p.png"))
    assert yaml.safe_load(experiment.to_yaml()) == {
        "crystal": {"cell_a": 50.0}, "detector": {"fpixels": 8}, "files": {"pngfile": "p.png"}, "quirks": "clean"}


def test_values_in_the_types_of_the_fields(folder):
    (folder / "c.yaml").write_text("""
crystal: {cell_a: 50, misset_deg: [1, 2, 3], orientation_matrix: [[0.01, 0, 0], [0, 0.01, 0], [0, 0, 1e-2]]}
detector: {fpixels: 1.0e+3, detector_convention: xds, detector_abs_um: .inf, mask_array: null}
beam: {source_directions: [[0, 0, 10], [0, 1, 10]], source_wavelengths_A: [1, .nan], fluence: 1e20}
computing: {device: cuda:1, threads: 3}
""")
    experiment = Experiment.from_yaml("c.yaml")
    assert experiment.crystal.misset_deg == (1, 2, 3)
    assert experiment.crystal.orientation_matrix[2] == [0, 0, 0.01]
    assert isinstance(experiment.detector.fpixels, int)
    assert experiment.beam.fluence == 1e20
    assert experiment.computing == Computing("cuda:1", threads=3)


def test_every_annotation_of_every_section_can_be_read(folder):
    for name, kind in SECTIONS.items():
        for field in dataclasses.fields(kind):
            (folder / "c.yaml").write_text(f"{name}: {{{field.name}: {{}}}}\n")
            with pytest.raises(InputError, match=f"c.yaml:1: {field.name}: expected "):
                Experiment.from_yaml("c.yaml")


def test_a_gradient_does_not_keep_an_experiment_from_being_written(folder):
    torch = pytest.importorskip("torch")
    experiment = Experiment(CrystalConfig(cell_a=torch.tensor(50.0, requires_grad=True),
                                          misset_deg=torch.tensor([1.0, 2.0, 3.0])), beam=BeamConfig())
    (folder / "c.yaml").write_text(experiment.to_yaml())
    read = Experiment.from_yaml("c.yaml")
    assert (read.crystal.cell_a, read.crystal.misset_deg) == (50.0, (1.0, 2.0, 3.0))


def test_a_value_that_an_option_makes_impossible_names_the_configuration(folder, command):
    (folder / "c.yaml").write_text("crystal: {cell_a: 50}\nfiles: {hkl: a.hkl}\n"
                                   "beam: {polarization_axis: [1, 0, 0], polarization_factor: 1}\n")
    (folder / "a.hkl").write_text("0 0 0 1\n")
    result = command("-config c.yaml -detpixels 8 -quiet")
    assert result.status == 2
    assert result.stderr.startswith("nanoBragg: error: c.yaml: polarization_axis: expected a direction")


def test_a_mask_in_a_configuration(folder, command):
    """False leaves a pixel out, and the mask is written again as it was read."""
    text = "crystal: {cell_a: 50, default_F: 100}\ndetector:\n  fpixels: 3\n  spixels: 1\n"
    mask = "  mask_array:\n  - [true, false, true]\n"
    (folder / "plain.yaml").write_text(text)
    (folder / "mask.yaml").write_text(text + mask)
    for name in ("plain", "mask"):
        assert command(f"-config {name}.yaml -quiet -seed 1 -floatfile {name}.bin").status == 0
    plain, masked = (np.fromfile(f"{name}.bin", np.float32) for name in ("plain", "mask"))
    assert (plain > 0).all()
    np.testing.assert_array_equal(masked, plain * [1, 0, 1])
    assert mask in command("-config mask.yaml -show_config").stdout
