"""Tests may become stricter or more, never looser or fewer; the known ways to get green are all found."""

from __future__ import annotations

import hashlib

import pytest
from trees import make_trees

from nanobrag_loop.config import Config
from nanobrag_loop.guard import tests
from nanobrag_loop.guard.check import check

GOLDEN = "tests/golden_data/a.npz"
TEST = '''\
import numpy as np
import pytest

TOLERANCE = 1e-6
LIMIT = 0.9995


def agree(a, b, tol=1e-9):
    assert abs(a - b) < tol


def test_duality():
    assert abs(v_actual - v_formula) < 1e-12


def test_correlation():
    corr = correlate(image, golden)
    assert corr >= LIMIT


def test_peaks():
    matches = match(golden_peaks, peaks, max_distance=0.5)
    assert len(matches) / len(golden_peaks) >= 0.95


def test_speed():
    warm, cold = run(), run()
    assert cold / warm >= 2.0
    assert 1 < warm


def test_close():
    np.testing.assert_allclose(a, b, rtol=1e-7, atol=TOLERANCE)
    assert x == pytest.approx(y, rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_many(n):
    assert f(n) == n


class TestGroup:
    scale = 2

    def test_inside(self):
        image = run().double()
        assert image.sum() > 3
'''
OPTIONS = '[tool.pytest.ini_options]\naddopts = "--strict-markers"\nxfail_strict = false\n'
GATES = """\
schema: 1
parity: {kind: pytest, argv: [python, -m, pytest], min_passed: 20, max_skipped: 0}
items:
  ONE-1:
    - {criterion: 1, kind: metric, run: [x], json: "{out}/a.json#/corr", op: ">=", value: 0.9995}
    - {criterion: 2, kind: text, path: a.md, contains: x}
"""
BASE = {
    "tests/test_a.py": TEST, "tests/test_b.py": "def test_b():\n    assert True\n", "tests/conftest.py": "X = 1\n",
    "tests/data/in.txt": "1\n", "pyproject.toml": OPTIONS, "plans/gates.yaml": GATES, GOLDEN: "golden",
    "golden_suite_generator/SHA256SUMS": f"{hashlib.sha256(b'golden').hexdigest()}  ../{GOLDEN}\n",
    "specs/spec.md": "# Spec\n\n| peaks | ≥ 48 of 50 within 0.5 pixel |\n\nDuality: 1e-12; time ≤ 1.5× C.\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_trees(tmp_path_factory.mktemp("tests"), BASE)


def edited(*pairs):
    text = TEST
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return {"tests/test_a.py": text}


def codes(trees, changed, frozen=False):
    return {finding.code for finding in tests.check(trees.pair(changed), Config(), frozen)}


# The incidents that this guard was made for, in our own code.
INCIDENTS = {
    "a tolerance from 1e-12 to 3e-4": (edited(("1e-12", "3e-4")), {"T4"}),
    "another denominator": (edited(("/ len(golden_peaks)", "/ min(len(golden_peaks), len(peaks))")), {"T5"}),
    "a doubled radius": (edited(("max_distance=0.5", "max_distance=1.0")), {"T4"}),
    "a tolerance off the threshold": (edited(("corr >= LIMIT", "corr >= LIMIT - 0.001")), {"T4"}),
    "a tolerance added to the value": (edited(("corr >= LIMIT", "corr + 0.001 >= LIMIT")), {"T5"}),
    "the constant itself": (edited(("LIMIT = 0.9995", "LIMIT = 0.99")), {"T4"}),
    "asserts into prints": (edited(("    assert 1 < warm", "    print(1 < warm)")), {"T2"}),
    "a lower speed-up": (edited(("2.0", "1.5")), {"T4"}),
    "a removed test": (edited(("def test_duality():\n    assert abs(v_actual - v_formula) < 1e-12\n\n\n", "")), {"T1"}),
    "a removed file": ({"tests/test_b.py": None}, {"T1"}),
    "a renamed test of another body": (edited(("test_duality", "test_dual"), ("1e-12", "1e-2")), {"T1"}),
    "a test that is no longer one": (edited(("test_duality", "check_duality")), {"T1"}),
    "a class that is no longer collected": (edited(("class TestGroup", "class Group")), {"T1"}),
    "a file that is no longer collected": ({"tests/test_b.py": None, "tests/b.py": BASE["tests/test_b.py"]}, {"T1"}),
    "a name taken away": ({"tests/test_b.py": BASE["tests/test_b.py"] + "\ndel test_b\n"}, {"T3"}),
    "a name given to something else": ({"tests/test_b.py": BASE["tests/test_b.py"] + "\ntest_b = 1\n"}, {"T3"}),
    "a class that says it is no test": (edited(("    scale = 2", "    __test__ = False\n    scale = 2")), {"T3"}),
    "a second definition": ({"tests/test_b.py": BASE["tests/test_b.py"] + "\ndef test_b():\n    pass\n"}, {"T2"}),
    "a fixture that acts on every test": (
        {"tests/conftest.py": "@pytest.fixture(autouse=True)\ndef calm(monkeypatch): 0\n"}, {"T3"}),
    "a skip": (edited(("def test_peaks", "@pytest.mark.skip\ndef test_peaks")), {"T3"}),
    "a skip inside": (edited(("    matches", "    pytest.skip('later')\n    matches")), {"T3"}),
    "an xfail": (edited(("def test_peaks", "@pytest.mark.xfail\ndef test_peaks")), {"T3"}),
    "a condition around it": (edited(("    assert 1 < warm", "    if cold > 9:\n        assert 1 < warm")), {"T5"}),
    "a failure caught": (edited((
        "    assert 1 < warm", "    try:\n        assert 1 < warm\n    except AssertionError:\n        pass")), {"T5"}),
    "a mark for the file": (edited(("LIMIT =", "pytestmark = pytest.mark.skip\nLIMIT =")), {"T3"}),
    "a mark for the class": (edited(("class TestGroup", "@pytest.mark.skip\nclass TestGroup")), {"T3"}),
    "a return before the end": (edited(("    warm, cold", "    return\n    warm, cold")), {"T3"}),
    "a hook that deselects": ({"tests/conftest.py": "def pytest_collection_modifyitems(): 0\n"}, {"T3"}),
    "a new conftest that ignores": ({"tests/sub/conftest.py": "collect_ignore = ['x.py']\n"}, {"T3"}),
    "a looser rtol": (edited(("rtol=1e-7", "rtol=1e-3")), {"T4"}),
    "a looser named atol": (edited(("TOLERANCE = 1e-6", "TOLERANCE = 1e-2")), {"T4"}),
    "an rtol left out": (edited(("rtol=1e-7, ", "")), {"T5"}),
    "an approx": (edited(("rel=1e-6", "rel=1e-2")), {"T4"}),
    "an absolute tolerance more": (edited(("rel=1e-6)", "rel=1e-6, abs=1)")), {"T5"}),
    "a flipped comparison": (edited(("1 < warm", "warm > 0.5")), {"T4"}),
    "a strict bound no longer strict": (edited(("1 < warm", "1 <= warm")), {"T4"}),
    "a default of a helper": (edited(("tol=1e-9", "tol=1e-3")), {"T4"}),
    "a method": (edited(("image.sum() > 3", "image.sum() > 2")), {"T4"}),
    "an escape hatch": (edited(("assert corr >= LIMIT", "assert corr >= LIMIT or True")), {"T5"}),
    "an equality": (edited(("f(n) == n", "f(n) == f(n)")), {"T5"}),
    "fewer cases": (edited(("[1, 2, 3]", "[1, 2]")), {"T1"}),
    "no longer Python": ({"tests/test_a.py": TEST + "def (:\n"}, {"T10"}),
    "golden data": ({GOLDEN: "gilded"}, {"T7"}),
    "golden data gone": ({GOLDEN: None}, {"T7"}),
    "golden data and their hash": ({GOLDEN: "gilded", "golden_suite_generator/SHA256SUMS":
        f"{hashlib.sha256(b'gilded').hexdigest()}  ../{GOLDEN}\n"}, {"T7"}),
    "deselection": ({"pyproject.toml": OPTIONS.replace("--strict-markers", "--strict-markers -k 'not peaks'")}, {"T8"}),
    "an option less": ({"pyproject.toml": OPTIONS.replace("--strict-markers", "")}, {"T8"}),
    "warnings no longer errors": ({"pyproject.toml": OPTIONS + "filterwarnings = ['ignore']\n"}, {"T8"}),
    "a new options file": ({"pytest.ini": "[pytest]\naddopts = -m 'not slow'\n"}, {"T8"}),
    "a lower gate": ({"plans/gates.yaml": GATES.replace("0.9995", "0.99")}, {"T9"}),
    "a gate that allows skips": ({"plans/gates.yaml": GATES.replace("max_skipped: 0", "max_skipped: 5")}, {"T9"}),
    "a gate that wants fewer": ({"plans/gates.yaml": GATES.replace("min_passed: 20", "min_passed: 1")}, {"T9"}),
    "a gate gone": ({"plans/gates.yaml": GATES[: GATES.index("    - {criterion: 2")]}, {"T9"}),
    "a gate of another command": ({"plans/gates.yaml": GATES.replace("-m, pytest", "-c, pass")}, {"T9"}),
    "a gates file that is none": ({"plans/gates.yaml": "x: ["}, {"T9"}),
    "a lower specification": ({"specs/spec.md": BASE["specs/spec.md"].replace("48", "40")}, {"T9"}),
    "a longer time in the specification": ({"specs/spec.md": BASE["specs/spec.md"].replace("1.5×", "3×")}, {"T9"}),
}  # fmt: skip


@pytest.mark.parametrize("name", INCIDENTS)
def test_incidents(trees, name):
    changed, expected = INCIDENTS[name]
    assert codes(trees, changed) == expected


ALLOWED = {
    "a tighter tolerance": edited(("1e-12", "1e-13"), ("0.9995", "0.9999"), ("max_distance=0.5", "max_distance=0.25")),
    "a flipped comparison of the same bound": edited(("assert 1 < warm", "assert warm > 1")),
    "the same number otherwise": edited(("1e-12", "1 / 10**12"), ("corr >= LIMIT", "corr >= 0.9996 - 0.0001")),
    "a new test": {"tests/test_a.py": TEST + "\n\ndef test_new():\n    assert 1 < 2\n"},
    "a new assertion": edited(("    assert 1 < warm", "    assert 1 < warm\n    assert warm")),
    "a test renamed with its body": edited(("test_duality", "test_dual")),
    "a file moved": {"tests/test_b.py": None, "tests/sub/test_c.py": BASE["tests/test_b.py"]},
    "a case more": edited(("[1, 2, 3]", "[1, 2, 3, 4]")),
    "a comment": edited(("def test_peaks():\n", "def test_peaks():\n    # why\n")),
    "a skip less": {"tests/test_b.py": "def test_b():\n    assert True\n"},
    "stricter options": {"pyproject.toml": OPTIONS.replace("false", "true")},
    "another strict option": {"pyproject.toml": OPTIONS.replace("-markers", "-markers --strict-config")},
    "a higher gate": {"plans/gates.yaml": GATES.replace("0.9995", "0.9999").replace("d: 20", "d: 30")},
    "another gate": {"plans/gates.yaml": GATES + '    - {criterion: 3, kind: path, exists: x}\n'},
    "a stricter specification": {"specs/spec.md": BASE["specs/spec.md"].replace("48", "49").replace("1.5×", "1.2×")},
    "source": {"src/a.py": "assert 1 < 3\n"},
}  # fmt: skip


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_free(trees, name):
    assert codes(trees, ALLOWED[name]) == set()


FROZEN = {
    "a cast in the test": edited(("run().double()", "run().float()")),
    "a tighter bound": edited(("1e-12", "1e-13")),
    "a helper": edited(("abs(a - b) < tol", "abs(a - b) < tol / 2")),
    "a constant": edited(("TOLERANCE = 1e-6", "TOLERANCE = 1e-7")),
    "a class attribute": edited(("scale = 2", "scale = 3")),
    "test data": {"tests/data/in.txt": "2\n"},
}


@pytest.mark.parametrize("name", FROZEN)
def test_in_a_frozen_route_existing_tests_stay_as_they_are(trees, name):
    assert "T6" not in codes(trees, FROZEN[name])
    assert "T6" in codes(trees, FROZEN[name], frozen=True)


@pytest.mark.parametrize("name", ["a new test", "a comment", "a test renamed with its body"])
def test_in_a_frozen_route_new_tests_are_free(trees, name):
    assert codes(trees, ALLOWED[name], frozen=True) == set()


def test_a_loosened_copy_elsewhere_is_compared_with_its_original(trees):
    test = "def test_duality():\n    assert abs(v_actual - v_formula) < 1e-12\n\n\n"
    copy = BASE["tests/test_b.py"] + test.replace("1e-12", "1")
    assert codes(trees, {**edited((test, "")), "tests/test_b.py": copy}) == {"T4"}


def test_the_message_names_test_bound_and_both_values(trees):
    (finding,) = tests.check(trees.pair(edited(("1e-12", "3e-4"))), Config())
    assert finding.path == "tests/test_a.py"
    assert finding.message == (
        "test_duality: `abs(v_actual - v_formula) < 1e-12` "
        "became `abs(v_actual - v_formula) < 0.0003` (1e-12 to 0.0003)"
    )


class TestPersons:
    LOOSER = edited(("1e-12", "1e-6"))

    def test_warned_before_the_commit_refused_after_it(self, trees):
        pair = trees.pair(self.LOOSER)
        (before,) = check(pair, Config(), committed=False)
        (after,) = check(pair, Config())
        assert (before.severity, after.severity) == ("W", "E")
        assert "Guard-Waiver: T4 tests/test_a.py" in after.remedy

    @pytest.mark.parametrize(
        ("trailer", "left"),
        [
            ("T4 tests/test_a.py the platform rounds", 0),
            ("T4 tests/*.py the platform rounds", 0),
            ("T4 tests/test_a.py", 1),
            ("T1 tests/test_a.py wrong rule", 1),
            ("A1 tests/test_a.py not by trailer", 1),
        ],
    )
    def test_a_trailer_signs(self, trees, trailer, left):
        assert len(check(trees.pair(self.LOOSER), Config(), trailers=[trailer])) == left

    def test_a_role_cannot_sign(self, trees):
        found = check(trees.pair(self.LOOSER), Config(), "engineer", trailers=["T4 tests/test_a.py please"])
        assert [(finding.code, finding.severity) for finding in found] == [("T4", "E")]
