"""What roles may write, which fields of the ledger are frozen, what may not be added."""

from __future__ import annotations

import pytest
from trees import SEED, As, make_trees

from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError
from nanobrag_loop.guard import policy, waivers
from nanobrag_loop.ledger import edit
from nanobrag_loop.ledger.cst import Document

LEDGER = "docs/fix_plan.md"
BASE = {"src/a.py": "x = 1\n", LEDGER: SEED, "README.md": "# A\n", "plans/active/x/plan.md": "# Plan\n"}
PERF = "PERF-PYTORCH-004"
MARKED = f"a\n{'<' * 7} ours\nb\n{'=' * 7}\nc\n{'>' * 7} theirs\n"


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_trees(tmp_path_factory.mktemp("policy"), BASE)


def found(trees, changed, role):
    return {(finding.code, finding.path) for finding in policy.check(trees.pair(changed), Config(), role)}


@pytest.mark.parametrize(
    ("role", "path", "refused"),
    [
        ("engineer", "src/a.py", False),
        ("engineer", "tests/new.py", False),
        ("engineer", "docs/new.md", False),
        ("engineer", LEDGER, True),
        ("engineer", "docs/waivers.yaml", True),
        ("engineer", "docs/index.md", True),
        ("engineer", "reports/loop/2026/x.json", True),
        ("engineer", "plans/gates.yaml", True),
        ("engineer", "README.md", True),
        ("engineer", "srcs/a.py", True),
        ("supervisor", "plans/active/x/plan.md", False),
        ("supervisor", "plans/steering.yaml", False),
        ("supervisor", "plans/steering.yaml.bak", True),
        ("supervisor", "src/a.py", True),
        ("nobody", "src/a.py", True),
    ],
)
def test_who_writes_where(trees, role, path, refused):
    content = f"{SEED}\n" if path == LEDGER else "changed\n"
    assert (("P1", path) in found(trees, {path: content}, role)) == refused
    assert found(trees, {path: content}, None) == set(), "a person may write everywhere"


def test_a_deletion_is_a_change_as_well(trees):
    assert found(trees, {"README.md": None}, "engineer") == {("P1", "README.md")}


@pytest.mark.parametrize(
    ("old", "new", "frozen"),
    [
        ("≥48/50", "≥40/50", True),
        ("NB_C_BIN=./golden_suite_generator/nanoBragg -lambda 6.2 -cell 100", "true", True),
        ("- Spec/AT: PERF-PYTORCH-004 roadmap", "- Spec/AT: anything", True),
        ("## [ROUTING-LOOP-001]", "## [ROUTING-LOOP-002]", True),
        ("- First Divergence (if known): n/a — hygiene task", "- First Divergence (if known): found", False),
        ("Result: failed.", "Result: partial.", False),
    ],
)
def test_goal_posts_of_the_ledger(trees, old, new, frozen):
    assert old in SEED
    changed = {LEDGER: SEED.replace(old, new, 1)}
    assert (("P2", LEDGER) in found(trees, changed, "supervisor")) == frozen
    assert ("P2", LEDGER) not in found(trees, changed, None)


def test_a_new_attempt_moves_no_goal_post(trees):
    after = edit.complete(edit.add_attempt(Document.of(SEED), PERF, "2025-10-03", "success. x", {}), PERF)
    assert ("P2", LEDGER) not in found(trees, {LEDGER: after.text}, "engineer")


@pytest.mark.parametrize(
    ("path", "content", "code"),
    [
        ("src/big.py", "x" * (256 * 1024 + 1), "P3"),
        ("src/fits.py", "x" * 256 * 1024, None),
        ("src/a.so", "x", "P3"),
        ("src/__pycache__/a.txt", "x", "P3"),
        (".venv/bin/python", "x", "P3"),
        ("docs/a.pyc", "x", "P3"),
        ("src/c.py", MARKED, "P5"),
        ("src/d.py", f"'''\n{'=' * 7}\n'''\n", None),
    ],
)
def test_what_may_not_be_added(trees, path, content, code):
    codes = {finding.code for finding in policy.check(trees.pair({path: content}), Config(), "engineer")} - {"P1"}
    assert codes == ({code} if code else set())
    for finding in policy.check(trees.pair({path: content}), Config()):
        assert finding.severity == ("E" if finding.code == "P5" else "W"), "size and type are a person's choice"


def test_a_change_of_mode_adds_nothing(trees):
    assert found(trees, {"src/a.py": As("100755", "x = 1\n")}, "engineer") == set()


def test_total_growth(trees):
    changed = {f"src/part{n}.py": "y" * 250_000 for n in range(9)}
    assert found(trees, changed, "engineer") == {("P4", "the whole change")}


def test_markers_are_found_in_changed_files_too(trees):
    assert found(trees, {"src/a.py": MARKED}, None) == {("P5", "src/a.py")}


GOOD = "schema: 1\nwaivers:\n  - {path: a.md, codes: A1, reason: because, by: me, date: 2026-11-23}\n"


def test_waivers_are_read():
    (waiver,) = waivers.load(GOOD)
    assert (waiver.path, waiver.codes, waiver.date) == ("a.md", ("A1",), "2026-11-23")
    assert waivers.load("") == waivers.load("schema: 1\nwaivers: []\n") == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema: 1", "schema: 2", "schema"),
        ("by: me, ", "", "exactly path, codes, reason, by, date"),
        ("by: me", "by: ''", "by: expected a text"),
        ("codes: A1", "codes: A99", "unknown rule A99"),
        ("codes: A1", "codes: []", "none given"),
        ("codes: A1", "codes: [[1]]", "unknown rule [1]"),
        ("2026-11-23", "2026-13-45", "docs/waivers.yaml:3: '2026-13-45' is no timestamp"),
        ("2026-11-23", "soon", "date: expected YYYY-MM-DD, got 'soon'"),
        ("waivers:\n  - ", "waivers: ", "expected a list"),
        ("schema: 1", "schema: [", "docs/waivers.yaml"),
    ],
)
def test_a_waiver_that_is_none(old, new, words):
    with pytest.raises(ConfigError, match="docs/waivers.yaml") as refusal:
        waivers.load(GOOD.replace(old, new))
    assert words in str(refusal.value)
