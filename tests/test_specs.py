"""The specification: every acceptance test is described and exists, citations and links lead somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanobrag_torch.tools.quantities import QUANTITIES, SPECIFICATION

ROOT = Path(__file__).parents[1]
SPECS = sorted((ROOT / "specs").glob("*.md"))
PARTS = {"A": "spec-a-cli.md", "B": "spec-a-core.md"}

IDENTIFIER = r"AT-(PARALLEL|GEO|STR|SAM|SRC|POL|ABS|BKG|ROI|FLU|STA|IO|NOISE|CLI|PRE|PERF|TOOLS)-(\d{3})"
NAMED = re.compile(IDENTIFIER.replace("AT-", "at_?").replace("-(", "_?("), re.IGNORECASE)
DEFINED = re.compile(rf"^(?:\| |#+ ){IDENTIFIER}\b", re.MULTILINE)
GROUPS = {"PARALLEL": 28, "GEO": 5, "STR": 4, "SAM": 5, "SRC": 4, "POL": 3, "ABS": 3, "BKG": 2, "FLU": 3, "STA": 3,
          "ROI": 3, "IO": 5, "NOISE": 5, "CLI": 5, "PRE": 4, "PERF": 6, "TOOLS": 4}

HEADING = re.compile(r"^#{2,4} (\d+(?:\.\d+[a-z]?)*)\.? ", re.MULTILINE)
CITATION = re.compile(r"[Pp]art ([AB]) §§? ?((?:\d+(?:\.\d+[a-z]?)*(?: Q\d+)?(?:, | and | to |, Q\d+)?)+)")
IN_SPECS = re.compile(r"(spec-a-\w+)(?:\.md)? § ?(\d+(?:\.\d+[a-z]?)*)")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def identifiers(matches: Iterator[re.Match]) -> set[str]:
    return {f"AT-{match[1].upper()}-{match[2]}" for match in matches}


def specified() -> dict[str, int]:
    """Identifier to the number of times that it is described."""
    counts: dict[str, int] = defaultdict(int)
    for path in SPECS:
        for match in DEFINED.finditer(path.read_text()):
            counts[f"AT-{match[1]}-{match[2]}"] += 1
    return counts


def implemented() -> set[str]:
    """Identifiers that a test shows: its own name or docstring, its class's or that of a module with tests."""
    found: set[str] = set()
    for path in ROOT.glob("tests/test_at_*.py"):
        tree = ast.parse(path.read_text())
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        tests = [node.name for node in nodes if node.name.startswith("test")]
        if tests:
            documented = [ast.get_docstring(node) or "" for node in (tree, *nodes)]
            text = "\n".join([*tests, *documented])
            found |= identifiers(NAMED.finditer(text)) | identifiers(re.finditer(IDENTIFIER, text))
    return found


def sections(document: str) -> set[str]:
    return set(HEADING.findall((ROOT / "specs" / document).read_text()))


def texts(*suffixes: str) -> Iterator[tuple[Path, str]]:
    """Tracked text files of the product with these suffixes."""
    listed = subprocess.run(["git", "ls-files", "-z", "src", "tests", "docs", "scripts", "golden_suite_generator",
                             "examples", "specs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.suffix in suffixes and path.exists() and path != Path(__file__):
            yield path, path.read_text()


def citations() -> Iterator[tuple[str, str, str]]:
    """(file, part, section), with the section as '4.7' or '7 Q9'."""
    for path, text in texts(".py", ".c", ".h", ".md", ".yaml"):
        for match in CITATION.finditer(text):
            for word in re.findall(r"\d+(?:\.\d+[a-z]?)*(?: Q\d+)?|Q\d+", match[2]):
                yield path.name, match[1], f"7 {word}" if word.startswith("Q") else word


def test_every_identifier_is_described_once():
    assert {name: count for name, count in specified().items() if count != 1} == {}


def test_groups_are_complete():
    numbers: dict[str, list[int]] = defaultdict(list)
    for name in specified():
        _, group, number = name.split("-")
        numbers[group].append(int(number))
    assert {group: len(found) for group, found in numbers.items()} == GROUPS
    for group, found in numbers.items():
        skipped = {19} if group == "PARALLEL" else set()
        assert set(found) == set(range(1, max(found) + 1)) - skipped


def test_every_described_test_exists_and_the_reverse():
    assert sorted(specified().keys() - implemented()) == []
    assert sorted(implemented() - specified().keys()) == []


@pytest.mark.parametrize("part", PARTS)
def test_citations_lead_to_sections(part):
    known = sections(PARTS[part])
    faults = set(re.findall(r"^\| (Q\d+) \|", (ROOT / "specs" / PARTS[part]).read_text(), re.MULTILINE))
    cited = [(name, where) for name, cited_part, where in citations() if cited_part == part]
    assert len(cited) > 40
    lost = [(name, where) for name, where in cited
            if where.split()[0] not in known or (" " in where and where.split()[1] not in faults)]
    assert lost == []


def test_references_between_specifications_lead_to_sections():
    found = [(path.name, match[1], match[2]) for path, text in texts(".md", ".py") for match in IN_SPECS.finditer(text)]
    assert len(found) > 20
    assert [entry for entry in found if entry[2] not in sections(f"{entry[1]}.md")] == []


def test_sections_within_a_specification_exist():
    for path in SPECS:
        text = IN_SPECS.sub("", path.read_text())
        assert set(re.findall(r"§ (\d+(?:\.\d+[a-z]?)*)", text)) <= sections(path.name), path.name


def test_traced_quantities_cite_sections():
    known = sections(Path(SPECIFICATION).name)
    assert {entry.section for table in QUANTITIES.values() for entry in table.values()} <= known


def test_links_lead_to_files():
    for path in SPECS:
        for target in LINK.findall(path.read_text()):
            assert (path.parent / target.partition("#")[0]).exists(), f"{path.name}: {target}"


def test_named_tests_exist():
    """Files and tests that the specification names."""
    for path in SPECS:
        text = path.read_text()
        for name in re.findall(r"tests/[\w/]+\.(?:py|yaml)", text.replace("_NNN", "_001").replace("_GROUP", "_geo")):
            assert (ROOT / name).exists(), f"{path.name}: {name}"
        for owner, test in re.findall(r"`(Test\w+)::(test_\w+)`", text):
            sources = [source.read_text() for source in ROOT.glob("tests/test_at_*.py")]
            assert any(f"class {owner}" in source and f"def {test}" in source for source in sources), f"{owner}::{test}"
