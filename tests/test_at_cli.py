"""AT-CLI: the command line (spec-a-cli § 8.3)."""

from __future__ import annotations

import os
import re

import pytest

from acceptance import section, words, working_folder  # noqa: F401
from nanobrag_torch.cli.main import main
from nanobrag_torch.cli.options import BY_NAME
from nanobrag_torch.cli.parse import parse
from nanobrag_torch.cli.resolve import resolve

CRYSTAL = "-cell 100 -default_F 100 -N 5"


def resolved(options: str):
    return resolve(parse(words(f"{CRYSTAL} {options}"))).experiment


def test_at_cli_001_the_specification_names_every_spelling():
    rows = [line.split("|")[1] for line in section("spec-a-cli.md", "1.4") if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`([^`]+)`", row)) == sorted(BY_NAME)


@pytest.mark.parametrize(("line", "message"), [
    ("-lamda 1", "did you mean -lambda"), ("-hdiv 1", "-hdivrange"), ("stray", "stray word"),
    ("-misset 1 2", "expected 3 values"), ("-lambda abc", "'abc'"), ("-detpixels 10.5", "whole number")])
def test_at_cli_002_refusals(folder, capsys, line, message):
    assert main(words(f"{CRYSTAL} {line}")) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and error.startswith("nanoBragg: error: ")
    assert sorted(os.listdir()) == ["sources.txt", "trace.mat"]


@pytest.mark.parametrize(("line", "name", "value"), [
    ("-lambda 1 -energy 6199.21 -lambda 3", "wavelength", 3.0), ("-lambda 1 -energy 6199.21", "wavelength", 2.0),
    ("-polar 0.5 -nopolar", "nopolar", True), ("-nopolar -polar 0.5", "nopolar", False),
    ("-xds -adxv", "convention", "adxv"), ("-nopgm -pgmscale 2", "pgm", True),
    ("-round_xtal -gauss_xtal", "shape", "gauss")])
def test_at_cli_003_the_last_one_wins(line, name, value):
    assert parse(words(line)).get(name) == value


@pytest.mark.parametrize("line", ["", "-cell 100", "-default_F 100", "-cell 100 -default_F 0"])
def test_at_cli_004_nothing_to_scatter_from(folder, capsys, line):
    assert main(words(f"{line} -detpixels 8")) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(os.listdir()) == ["sources.txt", "trace.mat"]


@pytest.mark.parametrize(("line", "steps", "range_deg", "step_deg"), [
    ("", 1, 0, 0), ("-phistep 0.5", 2, 0.5, 0.5), ("-osc 1", 2, 1, 0.5), ("-osc 1.1 -phistep 0.1", 12, 1.1, 0.1),
    ("-osc 0.7 -phistep 0.1", 7, 0.7, 0.1), ("-phisteps 4", 4, 1, 0.25), ("-phisteps 4 -phistep 0.5", 2, 0.5, 0.5),
    ("-phisteps 4 -phistep 0.5 -clean", 4, 2, 0.5), ("-phisteps 4 -osc 2", 4, 2, 0.5), ("-phisteps 0", 1, 1, 1)])
def test_at_cli_005_rotation(line, steps, range_deg, step_deg):
    crystal = resolved(line).crystal
    step = crystal.osc_range_deg / crystal.phi_steps if crystal.phi_step_deg is None else crystal.phi_step_deg
    assert (crystal.phi_steps, crystal.osc_range_deg, step) == (steps, range_deg, step_deg)


@pytest.mark.parametrize(("line", "counts"), [
    ("-hdivrange 2", (2, 1, 1)), ("-divergence 2 -divsteps 3", (3, 3, 1)), ("-hdivrange 2 -hdivsteps 1", (2, 1, 1)),
    ("-hdivstep 2 -hdivsteps 5", (2, 1, 1)), ("-hdivstep 2 -hdivsteps 5 -clean", (5, 1, 1)),
    ("-hdivsteps 3", (3, 1, 1)), ("-hdivsteps 3 -clean", (1, 1, 1)),
    ("-dispersion 1 -dispsteps 3", (1, 1, 3)), ("-dispersion 1", (1, 1, 2)),
    ("-dispsteps 3", (1, 1, 1))])
def test_at_cli_005_sources(line, counts):
    beam = resolved(line).beam
    assert (beam.hdiv_steps, beam.vdiv_steps, beam.dispersion_steps) == counts
