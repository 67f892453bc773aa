"""nb-compare: both real programs, every exit status, and a page that stands alone."""

from __future__ import annotations

import json
import re
import shlex
import sys

import numpy as np
import pytest

from nanobrag_torch.tools.nb_compare import main

ARGUMENTS = shlex.split("-cell 70 80 90 75 85 95 -misset 10 20 30 -default_F 100 -N 4 -lambda 1.5 -detpixels 48 "
                        "-pixel 1 -oversample 1 -nonoise -nopgm")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def only(folder):
    (place,) = (folder / "comparisons").iterdir()
    return place


def test_agreement(folder, capsys):
    assert main(["--save-diff", "--", *ARGUMENTS]) == 0
    place = only(folder)
    summary = json.loads((place / "summary.json").read_text())
    assert summary["agree"] and summary["shape"] == [48, 48]
    assert summary["metrics"]["bit_equal_share"] >= 0.999
    assert summary["peaks"]["matched"] == summary["peaks"]["wanted"] > 10
    assert np.fromfile(place / "diff.bin", np.float32).size == 48 * 48
    assert {"C.png", "Python.png", "difference.png", "C.stdout", "Python.stderr"} <= {p.name for p in place.iterdir()}
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", place.name)
    assert "agree" in capsys.readouterr().out


def test_the_page_stands_alone_and_escapes(folder):
    assert main(["--roi", "0", "30", "0", "40", "--", *ARGUMENTS, "-intfile", "<script>.img"]) == 0
    text = (only(folder) / "report.html").read_text()
    assert "&lt;script&gt;.img" in text
    assert text.count("data:image/png;base64,") == 3
    assert "<script" not in text and "http" not in text


def test_below_the_threshold(folder, tmp_path):
    other = tmp_path / "turned"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} -m nanobrag_torch "$@" -misset 11 20 30\n')
    other.chmod(0o755)
    assert main(["--py-bin", f"sh {other}", "--", *ARGUMENTS]) == 3


def test_shapes_differ_unless_resampled(folder, tmp_path):
    other = tmp_path / "coarse"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} -m nanobrag_torch "$@" -detpixels 24 -pixel 2\n')
    other.chmod(0o755)
    assert main(["--py-bin", f"sh {other}", "--", *ARGUMENTS]) == 4
    assert main(["--py-bin", f"sh {other}", "--resample", "--threshold", "0.01", "--", *ARGUMENTS]) in (0, 3)


@pytest.mark.parametrize(("words", "status", "named"), [
    ([], 1, "after --"),
    (["--threshold", "2", "--", "-N", "1"], 1, "--threshold"),
    (["--frobnicate", "--", "-N", "1"], 1, "--frobnicate"),
    (["--c-bin", "/nowhere/nanoBragg", "--", *ARGUMENTS], 2, "NB_C_BIN"),
    (["--", "-cell", "50"], 2, "failed"),
    (["--outdir", "/dev/null/x", "--", *ARGUMENTS], 5, "/dev/null"),
    (["--roi", "90", "99", "90", "99", "--", *ARGUMENTS], 5, "--roi"),
])
def test_every_other_status(folder, capsys, words, status, named):
    try:
        result = main(words)
    except SystemExit as stop:
        result = stop.code
    assert result == status
    assert named in capsys.readouterr().err
