"""Protected files: what may not happen to them, in every way that git knows, and what may."""

from __future__ import annotations

import pytest
from trees import As, make_trees

from nanobrag_loop.config import Config, parse
from nanobrag_loop.guard import assets
from nanobrag_loop.guard.check import check

INDEX = """\
# Documentation
- [rules](../CLAUDE.md), [loop](../loop.sh), [a](a%20b.md "title"), [ünï](ünï.md)
- [golden](../data/golden/) and [tests](../tests)
- [this](index.md), [there](https://example.org/x.md), [part](#below)

```
[not a link](../src/code.py)
```
"""
WAIVER = """\
schema: 1
waivers:
  - {path: CLAUDE.md, codes: [A1, A7], reason: merged into README, by: A. Person, date: 2026-11-23}
"""
LONG = "".join(f"line {n}\n" for n in range(60))
BASE = {
    "CLAUDE.md": LONG, "loop.sh": As("100755", "#!/bin/sh\n" * 5), "docs/index.md": INDEX, "docs/a b.md": "a\n",
    "docs/ünï.md": "ü\n", "data/golden/one.npz": b"\0\1", "data/golden/deep/two.npz": b"\0\2",
    "tests/test_a.py": "A = 1\n", "src/code.py": "x = 1\n", "docs/fix_plan.md": LONG, "reports/2026/e.json": "{}\n",
    "prompts/main.md": "See `src/code.py`.\n", "supervisor.sh": As("100755", "#!/bin/sh\n"),
    "plans/gates.yaml": "schema: 1\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_trees(tmp_path_factory.mktemp("assets"), BASE)


def found(pair, role=None):
    return {(finding.code, finding.path) for finding in assets.check(pair, Config(), role)}


DEAD_LINK = ("A8", "docs/index.md")
CASES = {
    "a deletion": ({"CLAUDE.md": None}, {("A1", "CLAUDE.md"), DEAD_LINK}),
    "a rename": ({"CLAUDE.md": None, "RULES.md": LONG}, {("A1", "CLAUDE.md"), DEAD_LINK}),
    "a rename by case": ({"CLAUDE.md": None, "claude.md": LONG}, {("A9", "CLAUDE.md"), DEAD_LINK}),
    "the name with a blank": ({"docs/a b.md": None}, {("A1", "docs/a b.md"), DEAD_LINK}),
    "a name that is not ASCII": ({"docs/ünï.md": None}, {("A1", "docs/ünï.md"), DEAD_LINK}),
    "emptied": ({"CLAUDE.md": ""}, {("A2", "CLAUDE.md")}),
    "only blanks left": ({"CLAUDE.md": "\n \n"}, {("A2", "CLAUDE.md")}),
    "shrunk": ({"CLAUDE.md": LONG[:100]}, {("A2", "CLAUDE.md")}),
    "shortened within bounds": ({"CLAUDE.md": "".join(LONG.splitlines(True)[:30])}, set()),
    "rewritten": ({"CLAUDE.md": LONG.replace("line", "rule")}, set()),
    "a symbolic link": ({"CLAUDE.md": As("120000", "README.md")}, {("A3", "CLAUDE.md")}),
    "a submodule": ({"loop.sh": As("160000", "1" * 40)}, {("A3", "loop.sh")}),
    "a folder in its place": ({"loop.sh": None, "loop.sh/x": "y"}, {("A3", "loop.sh")}),
    "its folder became a link": (
        {name: None for name in BASE if name.startswith("data/golden/")} | {"data/golden": As("120000", "/x")},
        {("A3", "data/golden/one.npz"), ("A3", "data/golden/deep/two.npz"), DEAD_LINK},
    ),
    "no longer executable": ({"loop.sh": "#!/bin/sh\n" * 5}, {("A4", "loop.sh")}),
    "binary instead of text": ({"CLAUDE.md": LONG.encode() + b"\0"}, {("A5", "CLAUDE.md")}),
    "a file of a listed folder": ({"data/golden/deep/two.npz": None}, {("A6", "data/golden/deep/two.npz")}),
    "a folder listed without a slash": ({"tests/test_a.py": None}, {("A6", "tests/test_a.py"), DEAD_LINK}),
    "evidence": ({"reports/2026/e.json": None}, {("A6", "reports/2026/e.json")}),
    "evidence moved where it may go": ({"reports/2026/e.json": None, "reports/archive/e.json": "{}\n"}, set()),
    "evidence moved elsewhere": ({"reports/2026/e.json": None, "old/e.json": "{}\n"}, {("A6", "reports/2026/e.json")}),
    "evidence changed on the way": (
        {"reports/2026/e.json": None, "reports/archive/e.json": "[]\n"}, {("A6", "reports/2026/e.json")}),
    "a listed file has no such way out": (
        {"CLAUDE.md": None, "reports/archive/CLAUDE.md": LONG}, {("A1", "CLAUDE.md"), DEAD_LINK}),
    "the index entry": ({"docs/index.md": INDEX.replace("[rules](../CLAUDE.md), ", "")}, {("A7", "CLAUDE.md")}),
    "file and entry together": (
        {"CLAUDE.md": None, "docs/index.md": INDEX.replace("[rules](../CLAUDE.md), ", "")},
        {("A1", "CLAUDE.md"), ("A7", "CLAUDE.md")},
    ),
    "the index": ({"docs/index.md": None}, {("A1", "docs/index.md"), *(("A7", path) for path in (
        "CLAUDE.md", "loop.sh", "docs/a b.md", "docs/ünï.md", "data/golden/", "tests", "docs/index.md"))}),
    "not listed, but named in the settings": ({"supervisor.sh": None}, {("A1", "supervisor.sh")}),
    "a file of the harness": ({"plans/gates.yaml": None}, {("A1", "plans/gates.yaml")}),
    "not protected": ({"src/code.py": None, "prompts/main.md": "Nothing.\n"}, set()),
    "a link in a code block": ({"src/code.py": "x = 2\n"}, set()),
    "a reference that breaks": ({"src/code.py": None}, {("A8", "prompts/main.md")}),
    "a reference to nothing": ({"prompts/main.md": "See `src/other.py`.\n"}, {("A8", "prompts/main.md")}),
    "a link to nothing": ({"docs/index.md": INDEX + "[new](new.md)\n"}, {("A8", "docs/index.md")}),
    "a new file with its link": ({"docs/index.md": INDEX + "[new](new.md)\n", "docs/new.md": "x\n"}, set()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_may_not_happen(trees, name):
    changed, expected = CASES[name]
    findings = list(assets.check(trees.pair(changed), Config()))
    assert {(finding.code, finding.path) for finding in findings} == expected
    for finding in findings:
        assert finding.remedy
        assert finding.line.startswith(f"{finding.code} {finding.path}: {finding.message}")
        assert set(finding.as_dict()) == {"code", "path", "message", "remedy", "severity", "rule"}


def test_roles_do_not_touch_the_harness(trees):
    changed = {"prompts/main.md": "Do as you like.\n", "src/nanobrag_loop/x.py": "", "plans/gates.yaml": "schema: 2\n"}
    assert found(trees.pair(changed)) == set()
    assert found(trees.pair(changed), "engineer") == {("A10", path) for path in changed}


def test_protection_is_read_from_the_first_tree(trees):
    """A change that empties the index, or protects less, is judged by the index that it found."""
    shorter = INDEX.replace("[loop](../loop.sh), ", "")
    pair = trees.pair({"docs/index.md": shorter, "data/golden/one.npz": None, "docs/a b.md": None})
    assert found(pair) == {("A7", "loop.sh"), ("A6", "data/golden/one.npz"), ("A1", "docs/a b.md"), DEAD_LINK}
    assert found(trees.pair({"docs/a b.md": None}, base={"docs/index.md": "# Nothing\n"})) == set()


def test_shell_patterns_in_the_settings(trees):
    config = parse("schema: 1\nprotect: {extra: ['src/*.py']}")
    assert [f.code for f in assets.check(trees.pair({"src/code.py": None, "prompts/main.md": "-\n"}), config)] == ["A1"]


class TestWaivers:
    GONE = {"CLAUDE.md": None, "docs/index.md": INDEX.replace("[rules](../CLAUDE.md), ", "")}

    def codes(self, pair, **more):
        return {finding.code for finding in check(pair, Config(), **more)}

    def test_a_signed_one_lifts_the_findings_it_names(self, trees):
        assert self.codes(trees.pair(self.GONE)) == {"A1", "A7"}
        assert self.codes(trees.pair({**self.GONE, "docs/waivers.yaml": WAIVER})) == set()
        only = WAIVER.replace("[A1, A7]", "[A7]")
        assert self.codes(trees.pair({**self.GONE, "docs/waivers.yaml": only})) == {"A1"}
        other = WAIVER.replace("CLAUDE.md", "loop.sh")
        assert self.codes(trees.pair({**self.GONE, "docs/waivers.yaml": other})) == {"A1", "A7"}

    def test_counts_only_in_the_change_that_adds_it(self, trees):
        assert self.codes(trees.pair(self.GONE, base={"docs/waivers.yaml": WAIVER})) == {"A1", "A7"}

    def test_never_for_a_role(self, trees):
        pair = trees.pair({**self.GONE, "docs/waivers.yaml": WAIVER})
        assert self.codes(pair, role="engineer") >= {"A1", "A7", "P1"}


@pytest.mark.parametrize(
    ("goal", "text", "codes"),
    [
        ("plans/archive/x/plan.md", LONG.replace("line 1\n", "line 1, done\n"), set()),
        ("plans/archive/x/plan.md", "", {"A2"}),
        ("plans/archive/y/plan.md", LONG.replace("line 1\n", "line 1, done\n"), {"A6"}),
        ("reports/archive/x/plan.md", LONG.replace("line 1\n", "line 1, done\n"), {"A6"}),
    ],
)
def test_a_plan_may_be_marked_and_archived_in_one_change(trees, goal, text, codes):
    base = {"docs/index.md": f"{INDEX}[plans](../plans/active/)\n", "plans/active/x/plan.md": LONG,
            "plans/active/z.md": "z\n"}  # fmt: skip
    pair = trees.pair({"plans/active/x/plan.md": None, goal: text}, base)
    assert found(pair) == {(code, "plans/active/x/plan.md") for code in codes}
