"""The benchmarks measure and record on the smallest experiments; what they measure is not asserted."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts" / "benchmarks"
sys.path.insert(0, str(SCRIPTS))

from bench.record import MISSING, Report, Target, median, ratio, table  # noqa: E402
from bench.workloads import MODES, TABLE, workload  # noqa: E402


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A benchmark without compiled kernels, so that none is compiled."""
    return subprocess.run([sys.executable, SCRIPTS / f"{script}.py", *words], capture_output=True, text=True,
                          env=os.environ | {"NANOBRAG_COMPILE": "off"}, check=False, timeout=120)


def figures(folder: Path, script: str, *words: str) -> dict:
    """The `--json` file of a benchmark, which the record in its folder repeats."""
    done = run(script, *words, "--threads", "1", "--json", str(folder / "copy.json"), "--reports", str(folder))
    assert done.returncode == 0, done.stderr
    (record,) = folder.glob("2*")
    text = (folder / "copy.json").read_text()
    assert (record / "summary.json").read_text() == text
    assert (record / "summary.md").read_text() in done.stdout
    found = json.loads(text)
    assert found["machine"].keys() >= {"utc", "cpu", "cores", "threads", "torch", "commit"}
    assert {tuple(target) for target in found["targets"]} == {("name", "measured", "op", "wanted", "met")}
    return found


@pytest.mark.usefixtures("built_c_program")
def test_detailed(tmp_path):
    found = figures(tmp_path, "benchmark_detailed", "--sizes", "16", "--modes", "roi", "--iterations", "1", "--eager")
    by_variant = {row["variant"]: row for row in found["rows"]}
    assert by_variant.keys() == {"float64", "eager"}
    for row in found["rows"]:
        assert (row["workload"], row["samples"], row["compiled"]) == ("16² roi", 64, False)
        assert row["worst_difference"] < 1e-6
        steps = [row[name] for name in ("import_torch_s", "set_up_s", "package_load_s", "kernel_s", "output_s")]
        assert 0 < sum(steps) < row["cold_whole_s"]
        assert row["peak_MiB"] > row["c_peak_MiB"] > 0
        assert row["c_over_ours"] * row["ours_over_c"] == pytest.approx(1)
    assert found["summary"]["worst_ratio_to_c"] == by_variant["float64"]["ours_over_c"]


def test_compile_cache(tmp_path):
    """Nothing is compiled: there is no cold run, and no gain is claimed."""
    found = figures(tmp_path, "investigate_compile_cache", "--instances", "2", "--size", "16", "--dtypes", "float64",
                    "--sources", "3")
    (row,) = found["rows"]
    assert (row["sources"], row["how"], row["packages_made"]) == (3, "evaluated eagerly", 0)
    assert row["cold_s"] is None and row["warm_instance_s"] > 0 and row["warm_process_s"] > 0
    assert (found["summary"]["worst_warm_over_cold"], found["summary"]["recompilations"]) == (None, None)
    assert any("NANOBRAG_COMPILE=off" in note for note in found["notes"])


def test_scaling(tmp_path):
    found = figures(tmp_path, "scaling", "--size", "16", "--parts", "directions", "--directions", "3")
    forward, backward = found["rows"]
    assert (forward["samples"], forward["gradient"], backward["gradient"]) == (768, False, True)
    assert 0 < forward["peak_GiB"] == found["summary"]["forward_peak_GiB"]
    assert found["summary"]["thread_gain"] is None and found["summary"]["forward_peak_growth"] is None


@pytest.mark.usefixtures("built_c_program")
def test_backward(tmp_path):
    found = figures(tmp_path, "backward", "--size", "8", "--directions", "2", "--dtype", "float64", "--iterations", "1",
                    "--work", "gradient")
    (row,) = found["rows"]
    assert (row["samples"], row["dtype"]) == (128, "float64")
    assert found["summary"]["worst_gradient_over_c"] == row["ours_over_c"] == pytest.approx(row["ours_s"] / row["c_s"])


@pytest.mark.parametrize(("words", "said"), [
    ("benchmark_detailed --modes plain,plane", "--modes: expected some of plain,"),
    ("benchmark_detailed --sizes 256,0", "--sizes: expected a whole number, 1 or above, got '0'"),
    ("investigate_compile_cache --instances 1", "--instances: expected 2 or more, got 1"),
    ("scaling --json {folder}/none/file", "--json {folder}/none/file: cannot be written"),
    ("benchmark_detailed --c-bin {true} --sizes 8 --modes plain --iterations 1",
     "{true}: expected a program that writes an image of 256 bytes, got 0"),
    ("backward --c-bin {folder}", "--c-bin: expected a C build of nanoBragg, got {folder}"),
])
def test_refusals(tmp_path, words, said):
    names = {"folder": tmp_path, "true": Path(shutil.which("true")).resolve()}
    script, *rest = words.format(**names).split()
    done = run(script, *rest)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{script}: error: {said.format(**names)}") and done.stderr.count("\n") == 1


def test_missing_figures():
    assert (ratio(1.0, 0.0), ratio(None, 1.0), ratio(1.0, None), ratio(0.0, 2.0)) == (None, None, None, 0.0)
    assert (median([]), median([None, 3.0, 1.0]), median([1.0, 5.0, 2.0])) == (None, 2.0, 2.0)
    assert [Target("", value, ">=", 50.0).met for value in (None, 49.0, 50.0)] == [None, False, True]
    assert table([{"a": None, "b": math.pi}]).splitlines()[-1] == f"| {MISSING} | 3.142 |"
    report = Report("none", 1, targets=[Target("unmeasured", None, "<=", 1.0)])
    assert f"| unmeasured | {MISSING} | <= 1 | {MISSING} |" in report.markdown()


def test_crowded_machine_is_noted(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    assert any("load average 99.0" in note for note in Report("crowded", 1).notes)


def test_workloads_are_understood(tmp_path):
    """Both programs get these words: ours accepts all of them."""
    from bench.problem import Problem, samples
    from bench.workloads import write_inputs

    write_inputs(tmp_path)
    known = [workload(mode, 16) for mode in MODES] + list(TABLE)
    counted = {work.name: samples(Problem.of(work.words, tmp_path).simulator("float64")) for work in known}
    assert counted["16² layers"] == 16 * 16 * 5 and counted["16² subpixels"] == 32 * 32
    assert counted["256², 45 sources"] == 256 * 256 * 45
    assert counted["512², 3×3 sub-pixels, 50k reflections"] == 512 * 512 * 9
