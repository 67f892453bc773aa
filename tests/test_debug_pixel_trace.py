"""scripts/debug_pixel_trace.py: agreement, the first divergence with its section, peaks, bad input; its parts."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from nanobrag_torch.tools.digits import grating_loss
from nanobrag_torch.tools.divergence import compare_traces, first_divergence, parse_trace
from nanobrag_torch.tools.peak_table import peak_table
from nanobrag_torch.tools.quantities import QUANTITIES, SPECIFICATION
from nanobrag_torch.tools.staging import stage
from parity.programs import reflection_block

ROOT = Path(__file__).parents[1]
WORDS = ("-cell 70 80 90 75 85 95 -misset 10 20 30 -hkl block.hkl -default_F 20 -N 5 -lambda 1.5 -distance 60 "
         "-detpixels 64 -pixel 0.8 -oversample 2 -phi 5 -osc 1")


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("debug_pixel_trace", ROOT / "scripts" / "debug_pixel_trace.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "block.hkl").write_text(reflection_block(4))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def another_program(folder: Path, program: Path, words: str) -> str:
    """A C program that adds words to its command line."""
    script = folder / "other_nanoBragg"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(program))} "$@" {words}\n')
    script.chmod(0o755)
    return str(script)


class TestTrace:
    def test_programs_agree(self, tool, folder, live_c_program, capsys):
        assert tool(["--pixel", "20", "30", "--c-bin", str(live_c_program), "--", *WORDS.split()]) == 0
        printed = capsys.readouterr().out
        assert printed.splitlines()[-1] == "no divergence"
        assert re.search(r"^ +term +F_latt_a +8 ", printed, re.M)
        assert [path.name for path in folder.iterdir()] == ["block.hkl"]

    @pytest.mark.parametrize(
        ("words", "quantity", "section"),
        [("-distance 61", "close_distance_m", "3.3"), ("-polar 0.5", "polar", "5.5"),
         ("-oversample_omega", "I_after_add", "8")])
    def test_first_divergence_is_named(self, tool, folder, live_c_program, capsys, words, quantity, section):
        program = another_program(folder, live_c_program, words)
        assert tool(["--pixel", "20", "30", "--c-bin", program, "--", *WORDS.split()]) == 3
        first = capsys.readouterr().out.partition("first divergence: ")[2].splitlines()
        assert first[0].split()[-1] == quantity
        assert [line.split()[0] for line in first[1:3]] == ["C", "Python"]
        assert first[3].startswith("  relative difference ")
        assert first[4].strip() == f"{SPECIFICATION} §{section}"

    def test_program_without_traces_is_refused(self, tool, folder, live_c_program, capsys):
        script = folder / "silent"
        script.write_text("#!/bin/sh\nexit 0\n")
        script.chmod(0o755)
        assert tool(["--pixel", "1", "1", "--c-bin", str(script), "--", *WORDS.split()]) == 2
        assert "expected a C program that knows -trace_pixel" in one_line(capsys)


class TestPeaks:
    def test_programs_agree(self, tool, folder, live_c_program, capsys):
        assert tool(["--mode", "peaks", "--c-bin", str(live_c_program), "--", *WORDS.split()]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "50 of 50 peaks found again"

    def test_moved_peaks_are_lost(self, tool, folder, live_c_program, capsys):
        program = another_program(folder, live_c_program, "-Xbeam 24")
        assert tool(["--mode", "peaks", "--c-bin", program, "--", *WORDS.split()]) == 3
        assert "LOST" in capsys.readouterr().out

    def test_table_names_the_missing_peak(self):
        image = np.zeros((20, 20))
        image[5, 5], image[12, 14] = 10, 7
        text, agree = peak_table(image, np.where(image == 7, 0, image))
        assert not agree
        assert [line.split()[:2] for line in text.splitlines()[1:]] == [["1", "5.000"], ["LOST", "2"], ["1", "of"]]


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "message"),
        [(["--pixel", "1", "1"], "expected the arguments of nanoBragg after --, got none"),
         (["--pixel", "1", "1", "--c-bin", "no", "--", "-cell", "50"], "expected a C build of nanoBragg, got no"),
         (["--", "-cell", "50"], "--pixel: expected SLOW FAST, got nothing"),
         (["--pixel", "1", "x", "--", "-cell", "50"], "invalid int value: 'x'"),
         (["--pixel", "1", "1", "--mode", "colours", "--", "-cell", "50"], "invalid choice: 'colours'")])
    def test_one_line_and_status_2(self, tool, folder, capsys, words, message):
        assert tool(words) == 2
        assert message in one_line(capsys)

    @pytest.mark.parametrize("words", ["-cell 50", "-cell 50 -default_F 1 -detpixels 4 -hkl nowhere.hkl"])
    def test_refusal_of_a_program_is_passed_on(self, tool, folder, live_c_program, capsys, words):
        assert tool(["--pixel", "1", "1", "--c-bin", str(live_c_program), "--", *words.split()]) == 2
        assert "the C program ended with status 2: nanoBragg: " in one_line(capsys)


def one_line(capsys) -> str:
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


class TestComparison:
    LINES = ["TRACE setup distance_m 0.1", "TRACE subpixel 0 0 0 Fdet_m 0.5", "TRACE subpixel 0 0 1 Fdet_m 0.6",
             "TRACE ray 0 0 0 0 polar 0.9", "TRACE value steps 4"]

    def changed(self, line: str, other: str):
        lines = [other if entry == line else entry for entry in self.LINES]
        return first_divergence(compare_traces(parse_trace(self.LINES), parse_trace(lines)))

    def test_equal_traces(self):
        assert self.changed("", "") is None

    @pytest.mark.parametrize("line", LINES)
    def test_missing_line_is_a_divergence(self, line):
        lines = [entry for entry in self.LINES if entry != line]
        found = first_divergence(compare_traces(parse_trace(self.LINES), parse_trace(lines)))
        assert found.where == line.removeprefix("TRACE ").rsplit(" ", 1)[0]

    def test_within_and_beyond_tolerance(self):
        assert self.changed(self.LINES[0], "TRACE setup distance_m 0.10000000000001") is None
        assert self.changed(self.LINES[0], "TRACE setup distance_m 0.1000000001").quantity.name == "distance_m"
        assert self.changed(self.LINES[4], "TRACE value steps 5").difference == 0.25

    def test_ray_of_the_first_sub_pixel_comes_before_the_second_sub_pixel(self):
        trace = parse_trace(self.LINES)
        names = [(entry.kind, entry.place) for entry in compare_traces(trace, trace)]
        assert names == [("setup", ()), ("subpixel", (0, 0, 0)), ("ray", (0, 0, 0, 0)), ("subpixel", (0, 0, 1)),
                         ("value", ())]


def test_every_section_stands_in_the_specification():
    headings = set(re.findall(r"^#+ ([\d.]+?)\.? ", (ROOT / SPECIFICATION).read_text(), re.M))
    used = {quantity.section for names in QUANTITIES.values() for quantity in names.values()}
    assert used <= headings


def test_loss_of_the_quotient_of_sines_is_bounded():
    """Near integers sin(πNh)/sin(πh) of the whole index differs from that of its fraction by less than the bound."""
    generator = np.random.default_rng(1)
    for _ in range(2000):
        cells, node = float(generator.integers(2, 30)), float(generator.integers(1, 60))
        index = node + 10 ** generator.uniform(-12, -1)
        offset = np.pi * (index - node)
        literal = abs(np.sin(np.pi * index * cells) / np.sin(np.pi * index))
        assert abs(literal - abs(np.sin(offset * cells) / np.sin(offset))) <= grating_loss(index, cells)


def test_staging_copies_inputs_and_nothing_else(folder):
    (folder / "Fdump.bin").write_text("left behind")
    words = stage(["-hkl", "block.hkl", "-mat", "nowhere.mat", "-floatfile", "block.hkl"], folder / "run")
    assert words == ["-hkl", "1-block.hkl", "-mat", "nowhere.mat", "-floatfile", "block.hkl"]
    assert [path.name for path in (folder / "run").iterdir()] == ["1-block.hkl"]
