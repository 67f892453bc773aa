"""Lint: the seed's diagnostics are exactly the known ones, each rule fires on its fault and on nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from trees import SEED

from nanobrag_loop import surroundings
from nanobrag_loop.config import load
from nanobrag_loop.ledger import lint
from nanobrag_loop.ledger.cst import Document, Kind
from nanobrag_loop.ledger.diagnostics import RULES, Context, GateFact

ROOT = Path(__file__).resolve().parents[2]
TODAY = Context(today=date(2025, 10, 2))
PEAK, PERF = "AT-PARALLEL-012-PEAKMATCH", "PERF-PYTORCH-004"

# One small ledger without any diagnostic; every example of a fault is this text with something replaced.
CLEAN = """\
# Fix Plan Ledger

**Last Updated:** 2025-10-01 (a)
**Active Focus:** b

## Index
| ID | Title | Priority | Status |
| --- | --- | --- | --- |
| [ONE-1](#one-1-first) | First | High | in_progress |
| [TWO-2](#two-2-second) | Second | Low | pending |

---

## [ONE-1] First
- Spec/AT: x
- Priority: High
- Status: in_progress
- Owner/Date: me/2025-09-30
- Depends On: TWO-2
- Plan: `plans/active/one/plan.md`
- Reproduction (C & PyTorch):
  * C: n/a (none)
  * PyTorch: `env A=1 pytest tests/test_a.py::TestA::test_b`
  * Shapes/ROI: n/a
- First Divergence (if known): n/a
- Attempts History:
  * [2025-09-30] Attempt #2 — Result: partial (half). One.
    Metrics: corr=1
    Artifacts: reports/a.json
    Observations/Hypotheses: c
    Next Actions: go on
  * [2025-10-01] Attempt #4 — Result: failed. Two.
    Metrics: corr=1
    Artifacts: n/a
    Observations/Hypotheses: c
    Next Actions: stop
- Risks/Assumptions: none
- Exit Criteria (quote thresholds from spec):
  * corr ≥0.9995 holds
  * d

---

## [TWO-2] Second
- Spec/AT: x
- Priority: Low
- Status: pending
- Owner/Date: me/2025-09-30
- Reproduction (C & PyTorch):
  * C: n/a
  * PyTorch: n/a
  * Shapes/ROI: n/a
- First Divergence (if known): n/a
- Attempts History:
- Risks/Assumptions: none
- Exit Criteria: e

---

### Completed Items
(Note.)

## [TEN-10] Last
- Spec/AT: x
- Priority: Low
- Status: done
- Owner/Date: me/2025-09-30
- Reproduction (C & PyTorch):
  * C: n/a
  * PyTorch: n/a
  * Shapes/ROI: n/a
- First Divergence (if known): n/a
- Attempts History:
- Risks/Assumptions: none
- Exit Criteria: f

---

### Archive
Text.
"""
BASIC = Context(today=date(2025, 10, 2), wip_limit=1)
THERE = {"tests/test_a.py": "class TestA:\n    def test_b(self): ...\n", "reports/a.json": "{}"}
FULL = replace(BASIC, exists=THERE.__contains__, read=THERE.get, gates={"TEN-10": (GateFact(1, (), "pass"),)})

ROW_ONE = "| [ONE-1](#one-1-first) | First | High | in_progress |\n"
ROW_TWO = "| [TWO-2](#two-2-second) | Second | Low | pending |\n"
RISKS = "- Risks/Assumptions: none\n- Exit Criteria: e"
GO_ON = "    Next Actions: go on\n"
THIRD = """\
  * [2025-09-30] Attempt #3 — Result: failed. x
    Metrics: n/a
    Artifacts: n/a
    Observations/Hypotheses: c
    Next Actions: stop
"""
FAULTS = {
    "E001": (RISKS, "<<<<<<< a\n" + RISKS),
    "E002": ("* d\n", "* d\udcff\n"),
    "E101": ("Text.\n", "Text."),
    "W110": ("* d\n", "* d \n"),
    "E200": ("* d\n", "* d\n    wrapped\n"),
    "E201": ("## [TEN-10] Last", "## [TWO-2] Last"),
    "E202": (RISKS, "- Exit Criteria: e"),
    "E203": (RISKS, "- Risks/Assumptions: none\n" * 2 + "- Exit Criteria: e"),
    "W204": ("- Priority: Low\n- Status: pending\n", "- Status: pending\n- Priority: Low\n"),
    "E205": ("  * Shapes/ROI: n/a\n", "  * Shapes/ROI: n/a\n  * Fortran: n/a\n"),
    "E206": ("- Priority: Low\n- Status: done", "- Priority: Lowest\n- Status: done"),
    "E207": ("- Status: done", "- Status: finished"),
    "E208": ("me/2025-09-30\n- Depends", "me 2025-09-30\n- Depends"),
    "E209": ("  * PyTorch: n/a\n", ""),
    "W210": ("`env A=1 pytest tests/test_a.py::TestA::test_b`", "run `pytest tests/test_a.py`"),
    "W211": ("`env A=1 pytest tests/test_a.py::TestA::test_b`", "`A=1 -k x`"),
    "E212": ("Attempt #4", "Attempt #2"),
    "W213": ("[2025-10-01]", "[2025-09-29]"),
    "E214": ("    Next Actions: stop\n", "    Next Actions: stop\n    Next Actions: stop\n"),
    "E215": ("Result: failed. Two", "Result: perfect. Two"),
    "E216": ("    Next Actions: stop\n", ""),
    "E217": ("- Exit Criteria: e", "- Exit Criteria:"),
    "E218": ("[2025-10-01]", "[2025-10-04]"),
    "W219": ("TestA::test_b", "TestA::test_c"),
    "W220": ("- Status: pending", "- Status: done"),
    "E221": ("- Status: done", "- Status: pending"),
    "E301": (ROW_TWO, ROW_TWO * 2),
    "E302": (ROW_TWO, ROW_TWO + "| [TEN-10](#ten-10-last) | Last | Low | done |\n"),
    "E303": ("#two-2-second", "#two-2"),
    "E304": ("Second | Low", "Second | High"),
    "E305": ("Low | pending |", "Low | blocked |"),
    "I306": ("| Second |", "| Another |"),
    "E307": (ROW_TWO, ""),
    "W308": (ROW_ONE + ROW_TWO, ROW_TWO + ROW_ONE),
    "W401": ("- Status: pending", "- Status: in_progress"),
    "W402": ("reports/a.json", "reports/b.json"),
    "W403": ("  * [2025-10-01] Attempt", "  * [2025-09-01] Attempt"),
    "W404": (GO_ON, GO_ON.replace("go on", "stop") + THIRD),
    "E405": ("- Depends On: TWO-2", "- Depends On: NOT-9"),
    "W406": ("- Status: pending", "- Status: blocked"),
    "E410": ("- Spec/AT: x\n- Priority: High", f"- Spec/AT: {'x' * 600}\n- Priority: High"),
    "E420": ("- Exit Criteria: f", "- Exit Criteria:\n  * f\n  * g"),
    "E421": ("- Exit Criteria: f", "- Exit Criteria: corr ≥0.99"),
    "W430": ("  * d\n", "  * ✅ d\n"),
}  # fmt: skip


def codes(text, context=FULL):
    return {entry.code for entry in lint.lint(Document.of(text), context)}


def test_seed_gives_exactly_the_known_diagnostics():
    found = [(entry.code, entry.item, entry.line) for entry in lint.lint(Document.of(SEED), TODAY)]
    assert found == [
        ("W401", "", 1),
        ("I306", "PROTECTED-ASSETS-001", 9),
        ("W211", PEAK, 99),
        ("W211", "AT-PARALLEL-012", 188),
    ]


def test_the_clean_ledger_is_clean():
    assert codes(CLEAN) == set()


@pytest.mark.parametrize("code", RULES)
def test_each_rule_fires_on_its_fault(code):
    old, new = FAULTS[code]
    assert old in CLEAN
    context = FULL
    if code == "E421":
        context = replace(FULL, gates={"TEN-10": (GateFact(1, (0.9995,), "pass"),)})
    broken = CLEAN.replace(old, new, 1)
    assert code in codes(broken, context)


def test_every_diagnostic_names_line_and_item():
    for code, (old, new) in FAULTS.items():
        document = Document.of(CLEAN.replace(old, new, 1))
        for entry in lint.lint(document, FULL):
            assert 1 <= entry.line <= len(document.lines)
            assert entry.shown("x").startswith(f"x:{entry.line}: {entry.code} "), code


def test_errors_of_the_ledger_as_a_whole():
    assert codes("") >= {"E200", "E202"}
    long = CLEAN.replace("### Archive\n", "### Archive\n" + "Text.\n" * 1000)
    assert "E410" in codes(long)
    assert "E410" in codes(CLEAN.replace("Text.\n", ("y" * 590 + "\n") * 230))
    assert "E101" in codes(CLEAN.replace("\n", "\r\n"))
    assert "E218" in codes(CLEAN.replace("[2025-10-01]", "[2025-13-01]"))
    owner = "- Status: pending\n- Owner/Date: me/2025-09-30\n"
    assert "E405" in codes(CLEAN.replace(owner, f"{owner}- Depends On: ONE-1\n"))


def test_numbers_in_criteria_are_compared_with_the_gates():
    def found(text, *thresholds):
        facts = tuple(GateFact(1, (threshold,), "pass") for threshold in thresholds)
        changed = CLEAN.replace("Criteria: f", f"Criteria: {text}")
        return "E421" in codes(changed, replace(FULL, gates={"TEN-10": facts}))

    assert not found("≥48/50 peaks within 0.5 px and corr ≥0.9995", 48, 0.9995)
    assert found("≥48/50 peaks", 43)
    assert not found("at least ≥95% of the peaks", 0.95)
    assert found("≥50× warm/cold", 37.09)
    assert not found("no number is quoted here", 0.9)


@pytest.mark.parametrize(
    ("text", "op", "threshold", "differs"),
    [
        ("48/50 peaks match", ">=", 40, True),
        ("48/50 peaks match", ">=", 48, False),
        ("48 peaks of 50 match within 0.5 px", ">=", 40, True),
        ("At most 0.001 is the error", "<=", 0.01, True),
        ("At most 0.1% is the error", "<=", 0.001, False),
        ("corr `0.99`", ">=", 0.9995, True),
        ("Phase 2 artifacts are there", ">=", 50, False),
        ("`NB_RUN_PARALLEL=1` passes", ">=", 50, False),
        ("≥ 50× for 1 and 3 sources", ">=", 3, True),
        ("error ≤0.001", "<=", 0.001, False),
        ("error <0.001", "<=", 0.001, False),
        ("error ≤0.001", ">=", 0.001, True),
        ("corr ≥99.95%", "<=", 0.9995, True),
        ("≥ 1 and ≤ 1", ">=", 1, False),
        ("six exactly: ≥ 6", "==", 6, False),
    ],
)
def test_a_quoted_number_and_its_direction(text, op, threshold, differs):
    facts = {"TEN-10": (GateFact(1, (threshold,), "pass", op),)}
    changed = CLEAN.replace("Criteria: f", f"Criteria: {text}")
    assert codes(changed, replace(FULL, gates=facts)) == ({"E421"} if differs else set())


@pytest.mark.parametrize(
    ("written", "found"),
    [("2025-10-03 (a)", set()), ("2025-10-04 (a)", {"E218"}), ("2025-13-01", {"E218"}), ("today", set())],
)
def test_the_ledger_is_not_updated_in_the_future(written, found):
    assert codes(CLEAN.replace("2025-10-01 (a)", written)) == found


@pytest.mark.parametrize("name", ["docs/fix_plan.md", "tests/loop/data/seed_fix_plan.md"])
def test_the_gates_agree_with_the_repositorys_criteria(name):
    facts = surroundings.gate_facts(ROOT, load(ROOT))
    found = lint.lint(Document.of((ROOT / name).read_text(encoding="utf-8")), Context(gates=facts))
    # Two criteria of the seed changed places since then, and with them their gates.
    known = {"docs/fix_plan.md": [], "tests/loop/data/seed_fix_plan.md": ["PERF-PYTORCH-004", "PERF-PYTORCH-004"]}
    assert [entry.item for entry in found if entry.code == "E421"] == known[name]


def test_work_in_circles_is_seen_in_the_measurements():
    same = [("g", "fail", 1.0)]
    assert "W404" in codes(CLEAN, replace(FULL, history={"ONE-1": [same, same, same]}))
    assert "W404" not in codes(CLEAN, replace(FULL, history={"ONE-1": [same, same, [("g", "fail", 2.0)]]}))


def test_a_divergence_in_a_file_that_is_gone():
    text = CLEAN.replace("(if known): n/a", "(if known): at `src/{}.py:3-5`", 1)
    context = replace(FULL, exists={*THERE, "src/here.py"}.__contains__)
    assert "W219" in codes(text.format("gone"), context)
    assert "W219" not in codes(text.format("here"), context)


def test_accounted_for_differs_from_missing():
    elsewhere = CLEAN.replace("reports/a.json", "reports/b.json")
    assert "W402" not in codes(elsewhere, replace(FULL, manifest=frozenset({"reports/b.json"})))


def test_prefixes_of_ids_are_other_ids():
    text = SEED.replace("| [AT-PARALLEL-012-PEAKMATCH](", "| [AT-PARALLEL-012](")
    found = {(entry.code, entry.item) for entry in lint.lint(Document.of(text), TODAY)}
    assert ("E302", "AT-PARALLEL-012") in found
    assert ("E307", PEAK) in found


MUTATIONS = {
    "drop": lambda lines, n: [*lines[:n], *lines[n + 1 :]],
    "double": lambda lines, n: [*lines[: n + 1], *lines[n:]],
    "swap": lambda lines, n: [*lines[:n], *lines[n : n + 2][::-1], *lines[n + 2 :]],
    "indent": lambda lines, n: [*lines[:n], f" {lines[n]}", *lines[n + 1 :]],
}
# Changes that leave a valid ledger: one criterion of several, the note, the order of metadata, a paragraph more.
STILL_VALID = {
    "drop": {Kind.BULLET, Kind.NOTE},
    "double": {Kind.TEXT},
    "swap": {Kind.BULLET, Kind.META},
    "indent": set(),
}


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_damaged_line_never_passes_unnoticed(kind):
    document = Document.of(SEED)
    known = {(entry.code, entry.item, entry.message) for entry in lint.lint(document, TODAY)}
    silent = {}
    for n in range(len(document.lines)):
        changed = Document(tuple(MUTATIONS[kind](list(document.lines), n)))
        new = [e for e in lint.lint(changed, TODAY) if (e.code, e.item, e.message) not in known]
        if changed != document and not new:
            silent[n] = document.kinds[n]
    assert set(silent.values()) <= STILL_VALID[kind]
    criteria = {line for node in document.items for line in node.field("Exit Criteria").bullets}
    assert {n for n, found in silent.items() if found is Kind.BULLET} <= criteria


def test_fix_repairs_rows_blanks_and_the_last_newline_and_nothing_else():
    broken = (
        CLEAN.replace("#two-2-second", "#wrong").replace("Low | pending |", "High | done |").replace("* d\n", "* d  \n")
    )
    assert lint.fixed(Document.of(broken[:-1])).text == CLEAN
    lost = CLEAN.replace(ROW_TWO, "")
    assert lint.fixed(Document.of(lost)).text == CLEAN
    assert lint.fixed(Document.of(SEED)).text == SEED, "a row keeps a title of its own"
    deeper = CLEAN.replace("- Status: pending", "- Status: nonsense")
    assert "E207" in codes(lint.fixed(Document.of(deeper)).text)


def test_new_errors_leave_old_ones_alone():
    before = CLEAN.replace("- Priority: Low\n- Status: done", "- Priority: Lowest\n- Status: done")
    after = before.replace("Attempt #4", "Attempt #1").replace("# Fix Plan Ledger\n", "# Fix Plan Ledger of the Year\n")
    assert [entry.code for entry in lint.new_errors(Document.of(before), Document.of(after))] == ["E212"]


def test_the_repositorys_own_ledger_has_no_error():
    path = ROOT / "docs" / "fix_plan.md"
    assert lint.errors(Document.of(path.read_text(encoding="utf-8"))) == []
