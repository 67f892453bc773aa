"""The index document as the list of protected files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nanobrag_loop import docindex
from nanobrag_loop.config import Config, load, parse
from nanobrag_loop.docindex import Link, links

ROOT = Path(__file__).resolve().parents[2]
HOME = "docs/index.md"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](b.md)", ["docs/b.md"]),
        ("[a](../b.md#part)", ["b.md"]),
        ("[a](../b/)", ["b/"]),
        ("[a](./c/../d.md)", ["docs/d.md"]),
        ("[a](b%20c.md)", ["docs/b c.md"]),
        ("[a](<b.md>)", ["docs/b.md"]),
        ('[a](b.md "title")', ["docs/b.md"]),
        ("[a][1]\n\n[1]: ../b.md", ["b.md"]),
        ("| [a](b.md) | [c](d.md) |", ["docs/b.md", "docs/d.md"]),
        ("![picture](x.png)", ["docs/x.png"]),
        ("[![badge](x.svg)](y.md)", ["docs/y.md"]),
        ("[a](https://example.org/b.md) [b](mailto:x@y) [c](#d) [d](//host/e)", []),
        ("[a](/etc/passwd) [b](../../x) [c](..) [d](../)", []),
        ("`[a](b.md)`", []),
        ("```\n[a](b.md)\n```\n[c](d.md)", ["docs/d.md"]),
        ("[a]() [b]", []),
    ],
)
def test_links(text, expected):
    assert [link.target for link in links(text, HOME)] == expected


def test_lines_count_from_one():
    assert links("x\n[a](b.md)\n", HOME) == [Link("docs/b.md", 2)]


def test_files_folders_patterns_and_reasons():
    settings = "schema: 1\nprotect: {extra: [CLAUDE.md, 'spec*/*.md', kept/]}\n"
    config = parse(settings + "policy: {harness: [loop.sh, prompts/]}")
    paths = ["docs/a.md", "data/x", "data/deep/y", "specs/s.md", "src/z.py", "kept/k", "loop.sh", "prompts/p.md"]
    guarded = docindex.protected("[a](a.md)\n[d](../data)\n[gone](gone.md)\n", paths, config)
    why = {path: guarded.why(path) for path in [*paths, "docs/gone.md", "CLAUDE.md", "database", "data2/x"]}
    assert why == {
        "docs/a.md": "docs/index.md:1", "data/x": "docs/index.md:2 (data/)", "data/deep/y": "docs/index.md:2 (data/)",
        "specs/s.md": "protect.extra in plans/loop.yaml", "src/z.py": "",
        "kept/k": "protect.extra in plans/loop.yaml (kept/)", "loop.sh": "policy.harness in plans/loop.yaml",
        "prompts/p.md": "", "docs/gone.md": "docs/index.md:3", "CLAUDE.md": "protect.extra in plans/loop.yaml",
        "database": "", "data2/x": "",
    }  # fmt: skip
    assert guarded.alone("docs/a.md")
    assert guarded.alone("specs/s.md")
    assert not guarded.alone("data/x")


def test_the_repositorys_own_index():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [name for name in listed.stdout.split("\0") if name]
    text = (ROOT / HOME).read_text(encoding="utf-8")
    folders = {path[: n + 1] for path in paths for n, char in enumerate(path) if char == "/"}
    dead = [link.target for link in links(text, HOME) if link.target not in paths and link.target not in folders]
    assert dead == []
    guarded = docindex.protected(text, paths, load(ROOT))
    for path in (
        "CLAUDE.md", "loop.sh", "supervisor.sh", "docs/index.md", "docs/fix_plan.md", "prompts/debug.md",
        "plans/gates.yaml", "plans/loop.yaml", "specs/spec-a-core.md", "golden_suite_generator/nanoBragg.c",
        "tests/golden_data/cases.yaml",
    ):  # fmt: skip
        assert guarded.why(path), path
    assert not guarded.why("src/nanobrag_torch/kernel.py")


def test_without_an_index_the_settings_still_protect():
    guarded = docindex.protected("", [], Config())
    assert guarded.why("CLAUDE.md")
    assert not guarded.why("README.md")
