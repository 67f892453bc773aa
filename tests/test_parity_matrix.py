"""Both programs on every command line of parity_cases.yaml: part B §9.4 for float images, equality of other files.

NB_RUN_PARALLEL=1 turns the comparisons on; NB_C_BIN names the C program, else the built one runs. Metrics of each run
go to the folder NB_PARITY_REPORTS (default: a temporary one) as <case>/metrics.json, images of failures beside them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from parity.cases import Case, load_cases
from parity.live import PARITY
from parity.model import simulator
from parity.programs import INTEGER_IMAGE, Outcome, run_c_program, run_this_program
from parity.verdict import measure, write_images, write_metrics

CASES = load_cases()
COUNTED = (INTEGER_IMAGE, "noise.img", "grey.pgm")
NUMBERS = [number for number in range(1, 30) if number != 19]


@pytest.fixture
def reports(tmp_path) -> Path:
    return Path(os.environ.get("NB_PARITY_REPORTS", tmp_path / "reports")).resolve()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_parity(case: Case, live_c_program, tmp_path, reports, record_property):
    by_c = run_c_program(case.words, tmp_path / "c", live_c_program, case.files)
    by_python = run_this_program(case.words, tmp_path / "python", case.files)
    assert by_c.status == 0, by_c.stderr
    assert by_python.status == 0, by_python.stderr
    record_property(PARITY, 1)
    reference, image = by_c.image(), by_python.image()
    metrics = measure(reference, image, lambda: simulator(case.words, case.files))
    folder = reports / case.name
    write_metrics(folder, {"case": case.name, "words": case.words, "c_program": str(live_c_program)}, metrics)
    failures = metrics.failures() + file_differences(by_c, by_python)
    if failures:
        write_images(folder, reference, image)
    assert not failures, f"{case.words}\n{failures}\nsee {folder}"
    assert reference.any()


def file_differences(by_c: Outcome, by_python: Outcome) -> list[str]:
    """Integer image, noise image and grey map are the same bytes, but for counts next to a rounding edge."""
    differences = []
    for name in COUNTED:
        paths = [outcome.folder / name for outcome in (by_c, by_python)]
        if not any(path.exists() for path in paths):
            continue
        if not all(path.exists() for path in paths):
            differences.append(f"{name} written by one program only")
            continue
        one, other = (np.frombuffer(path.read_bytes(), np.uint8) for path in paths)
        if one.size != other.size or np.mean(one != other) > 1e-3:
            differences.append(f"{name} differs")
    return differences


def test_at_least_eighty_cases_and_every_acceptance_test():
    assert len(CASES) >= 80
    assert {case.acceptance for case in CASES} == {f"AT-PARALLEL-{number:03}" for number in NUMBERS}


@pytest.mark.parametrize("change", [lambda image: image * np.float32(1.0001), lambda image: np.roll(image, 1, axis=0)],
                         ids=["scaled", "shifted"])
def test_a_difference_fails_and_leaves_its_images(tmp_path, change):
    reference = np.random.default_rng(3).exponential(10, (32, 32)).astype(np.float32)
    metrics = measure(reference, change(reference), lambda: pytest.fail("no single pixel needs an explanation"))
    assert any("bit-equal" in failure for failure in metrics.failures())
    write_metrics(tmp_path / "case", {"case": "made up"}, metrics)
    write_images(tmp_path / "case", reference, change(reference))
    assert {path.name for path in (tmp_path / "case").iterdir()} == {
        "metrics.json", "images.npz", "reference.png", "test.png", "difference.png"}
    assert json.loads((tmp_path / "case" / "metrics.json").read_text())["failures"] == metrics.failures()


def test_a_single_pixel_beyond_two_units_fails_unless_explained():
    """Of a crystal whose indices are far from whole numbers the canonical formula loses nothing."""
    words = "-cell 50 60 70 -misset 10 20 30 -N 3 -default_F 100 -detpixels 64 -pixel 1 -oversample 1"
    reference = simulator(words).run().float().numpy()
    for steps, fails in ((2, False), (3, True)):
        test = reference.copy()
        for _ in range(steps):
            test[20, 30] = np.nextafter(test[20, 30], np.float32(np.inf))
        assert bool(measure(reference, test, lambda: simulator(words)).failures()) is fails
