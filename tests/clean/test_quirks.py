"""The faults by name: both sets, their descriptions, and that each of them is shown and corrected by a test."""

from __future__ import annotations

import dataclasses
import re

import pytest
import test_clean_command_line as command_line
from documented import PAGE, documented_differences
from test_clean_physics import CASES

from nanobrag_torch import BeamConfig, CrystalConfig, DetectorConfig, Quirks, Simulator
from nanobrag_torch.experiment import Experiment as CommandLine

NAMES = tuple(entry.name for entry in dataclasses.fields(Quirks))


def test_the_two_sets():
    assert all(dataclasses.astuple(Quirks.upstream()))
    assert not any(dataclasses.astuple(Quirks.clean()))
    assert Quirks() == Quirks.clean()


def test_nothing_changes_a_set():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Quirks.clean().phi_carryover = True


def test_python_is_clean_and_the_command_line_is_not():
    simulator = Simulator(CrystalConfig(default_F=1.0), DetectorConfig(spixels=8, fpixels=8), BeamConfig())
    assert simulator.quirks == Quirks.clean()
    words = ["-cell", "50", "-default_F", "1"]
    assert CommandLine.from_argv(words).quirks == Quirks.upstream()
    assert CommandLine.from_argv([*words, "-clean"]).quirks == Quirks.clean()


@pytest.mark.parametrize("name", NAMES)
def test_description(name):
    section, summary = Quirks.describe(name)
    assert re.fullmatch(r"part [AB] §.+", section)
    assert summary and not summary.endswith(".") and "\n" not in summary


@pytest.mark.parametrize("name", NAMES)
def test_is_reckoned_and_documented(name):
    """Some test of clean physics or of the clean command line bears its name, and so does a section of the page."""
    tests = {case.quirk for case in CASES} | {test.removeprefix("test_") for test in dir(command_line)}
    assert any(shown == name or shown.startswith(f"{name}_") for shown in tests)
    assert f"### `{name}`\n" in PAGE.read_text()
    assert name in {entry.name for entry in documented_differences()}
