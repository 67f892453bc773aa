"""AT-TOOLS: traces, comparisons, peaks (spec-a-performance § 5.2)."""

from __future__ import annotations

import os

import numpy as np
import pytest

from acceptance import image, words, working_folder  # noqa: F401
from nanobrag_torch.cli.main import main
from nanobrag_torch.compare import match_peaks
from nanobrag_torch.tools.divergence import compare_traces, divergence_report, first_divergence, parse_trace
from nanobrag_torch.tools.nb_compare import main as nb_compare

pytestmark = pytest.mark.usefixtures("folder")

RUN = "$D $TRI -oversample 2 -mosaic 0.5 -mosaic_domains 3"


def printed_trace(capsys, options: str) -> list[str]:
    capsys.readouterr()
    assert main(words(f"{RUN} {options} -trace_pixel 14 23")) == 0
    return capsys.readouterr().out.splitlines()


def test_at_tools_001_trace(capsys):
    lines = printed_trace(capsys, "")
    assert all(line.startswith("TRACE ") for line in lines)
    last = next(line for line in lines if line.startswith("TRACE value intensity_f64 "))
    assert float(last.split()[-1]) == pytest.approx(image(RUN)[14, 23], rel=1e-12)
    terms = parse_trace(lines)
    assert sum(name == "h" for _, _, name in terms) == 4 * 3
    assert sorted(os.listdir()) == ["sources.txt", "trace.mat"]


@pytest.mark.parametrize(("options", "name", "section"), [
    ("-fluence 1e25", "fluence_ph_m2", "1"), ("-misset 15 20.5 30.3", "misset_rad", "4.3"),
    ("-polar 0.5", "polar", "5.5"),
    ("-detector_rotx 1", "rotx_rad", "3.2"), ("-default_F 101", "default_F", "6.2"), ("-nopolar", "polar", "5.5")])
def test_at_tools_002_first_divergence(capsys, options, name, section):
    one, other = (parse_trace(printed_trace(capsys, extra)) for extra in ("", options))
    assert first_divergence(compare_traces(one, one)) is None
    divergence = first_divergence(compare_traces(one, other))
    assert (divergence.quantity.name, divergence.quantity.section) == (name, section)
    assert divergence_report(divergence).endswith(f"specs/spec-a-core.md §{section}")


@pytest.mark.parametrize(("arguments", "status"), [
    ([], 1), (["--c-bin", "nowhere/nanoBragg", "--", "-cell", "50", "-default_F", "1", "-detpixels", "8"], 2)])
def test_at_tools_003_nb_compare(capsys, arguments, status):
    try:
        found = nb_compare(arguments)
    except SystemExit as stop:
        found = stop.code
    assert found == status
    assert capsys.readouterr().err.count("\n") == 1


def test_at_tools_004_peaks_of_a_symmetric_pattern():
    pattern = image("$D $CUB -oversample 1 -Xbeam 15.75 -Ybeam 15.75")
    assert match_peaks(pattern, pattern).found == match_peaks(pattern, pattern).wanted > 4
    mirrored = pattern.T
    assert match_peaks(pattern, mirrored).found == match_peaks(pattern, mirrored).wanted
    single = pattern.astype(np.float32)
    assert match_peaks(pattern, single).found == match_peaks(pattern, single).wanted
    assert match_peaks(pattern, np.roll(pattern, 2, axis=0)).found == 0
