"""What the world outside does to a run: closed and broken streams, disks that fill half-way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanobrag_torch.cli.main import main

WORDS = ["-cell", "50", "-N", "2", "-default_F", "10", "-detpixels", "16", "-oversample", "1", "-seed", "3"]
COMMAND = f"{sys.executable} -m nanobrag_torch {' '.join(WORDS)}"
FILES = {"floatimage.bin", "intimage.img", "image.pgm", "noiseimage.img"}


@pytest.mark.parametrize("shell", [f"{COMMAND} 2>/dev/null | head -1 >/dev/null", f"{COMMAND} >&- 2>/dev/null",
                                   f"{COMMAND} >/dev/null 2>&-"])
def test_images_are_written_whoever_listens(shell, tmp_path):
    subprocess.run(["bash", "-c", shell], cwd=tmp_path, check=True)
    assert {path.name for path in tmp_path.iterdir()} == FILES


def status_of(shell: str, folder: Path) -> str:
    """Exit status of the first command of a pipeline."""
    result = subprocess.run(["bash", "-c", f"{shell}; echo ${{PIPESTATUS[0]}}"], cwd=folder, capture_output=True,
                            text=True, timeout=120)
    assert result.stderr == ""
    return result.stdout.splitlines()[-1]


SEVERAL = "-phi 0 -osc 2 -phisteps 3 -polar 2"
"""Warns, and notes faults of the canonical program."""


@pytest.mark.parametrize("words", [
    f"{SEVERAL} 2>&1 | head -1", f"{SEVERAL} 2>/dev/full", f"{SEVERAL} -progress 2>&1 | true",
    "-printout 2>/dev/null | head -1"])
def test_a_reader_that_goes_away_costs_no_image_and_no_status(words, tmp_path):
    assert status_of(f"{COMMAND} {words}", tmp_path) == "0"
    assert {path.name for path in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize("redirection", ["2>&1 | true", "2>/dev/full", "2>&-"])
@pytest.mark.parametrize("module", ["nanobrag_torch", "nanobrag_torch.batch"])
def test_an_error_that_nobody_can_read_keeps_its_status(module, redirection, tmp_path):
    assert status_of(f"{sys.executable} -m {module} -nonsense {redirection}", tmp_path) == "2"


@pytest.mark.parametrize("words", ["-h", "-trace_pixel 3 3"])
def test_what_is_only_printed_ends_with_its_reader(words, tmp_path):
    shell = f"{COMMAND} {words} 2>&1 | (exec <&-; sleep 2)"
    assert status_of(shell, tmp_path) == "141"


class TestBatch:
    """The same for many images."""

    COMMAND = f"{sys.executable} -m nanobrag_torch.batch b.yaml"

    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "b.yaml").write_text("options: {cell: 50, default_F: 10, N: 3, detpixels: 8, oversample: 1}\n"
                                         "series: {phi: [1, 2, 3]}\n")
        return tmp_path

    @staticmethod
    def images(folder) -> list[str]:
        return sorted(path.name for path in folder.glob("*.bin"))

    @pytest.mark.parametrize("redirection", ["2>&-", ">&- 2>&-", "2>/dev/full", "2>&1 | head -1"])
    def test_images_are_written_whoever_listens(self, folder, redirection):
        assert status_of(f"{self.COMMAND} {redirection}", folder) == "0"
        assert self.images(folder) == [f"image_000{number}.bin" for number in (1, 2, 3)]

    @pytest.mark.parametrize("words", ["", "-dry_run", "-h", "-version"])
    def test_standard_output_that_is_full(self, folder, words):
        result = subprocess.run(["bash", "-c", f"{self.COMMAND} {words} >/dev/full"], cwd=folder, capture_output=True,
                                text=True, timeout=120)
        assert result.returncode == 2
        assert result.stderr.splitlines()[-1] == (
            "nanoBragg-batch: error: standard output: cannot be written: no space left on device")
        assert "Traceback" not in result.stderr
        assert len(self.images(folder)) == (0 if words else 3)

    def test_names_that_the_terminal_cannot_show(self, folder):
        (folder / "b.yaml").write_text("name: é_{index}\noptions: {cell: 50, default_F: 10}\n", encoding="utf-8")
        result = subprocess.run(["bash", "-c", f"{self.COMMAND} -dry_run"], cwd=folder, capture_output=True, text=True,
                                env=os.environ | {"PYTHONIOENCODING": "ascii"}, timeout=120)
        assert (result.returncode, result.stderr) == (0, "")
        assert "\\xe9_1.bin" in result.stdout


def test_outputs_are_replaced_together_or_not_at_all(tmp_path, monkeypatch, capsys):
    """The noise image fails at the last moment; the float image, long written, must not have taken its place."""
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).write_text("before")
    from nanobrag_torch.cli import outputs

    original = outputs.write_smv

    def full_disk(path, header, counts):
        original("/dev/full" if path == "noiseimage.img" else path, header, counts)

    monkeypatch.setattr(outputs, "write_smv", full_disk)
    assert main([*WORDS, "-quiet"]) == 2
    assert "no space left" in capsys.readouterr().err.lower()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(FILES, "before")


def test_a_negative_cell_value_is_a_default_with_a_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["-default_F", "1", "-N", "2", "-detpixels", "8", "-quiet", "-seed", "1"]
    assert main(["-cell", "50", "60", "70", "90", "90", "-10", *words]) == 0
    assert "-cell: -10 is not above 0" in capsys.readouterr().err


def test_a_detector_through_the_crystal_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["-clean", "-pix0_vector", "0", "0", "0", "-cell", "50", "-N", "3", "-default_F", "1", "-detpixels",
                 "9"]) == 2
    assert "away from the crystal" in capsys.readouterr().err
