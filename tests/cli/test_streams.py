"""What the world outside does to a run: closed and broken streams, disks that fill half-way."""

from __future__ import annotations

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
