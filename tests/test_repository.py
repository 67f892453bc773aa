"""The repository as a visitor finds it: what the README says works, and the tree keeps its own rules."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import nanobrag_torch
from nanobrag_torch.cli.main import main

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GOLDEN = ROOT / "tests" / "golden_data"

LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
GOLDEN_BYTES = 15_000_000
# Written so that this file does not contain them.
FORBIDDEN = ["/" + "work/", "/tmp" + "/team", "/opt" + "/pypi", "pypi" + ".org", "python" + "hosted", "index" + "-url",
             "golden" + "/public", "shared" + "/golden", "shared" + "/reference", "shared" + "/design"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


class TestReadme:
    def test_commands_run(self, tmp_path, monkeypatch, capsys):
        """Every command of the examples, in their order and one folder, on a 48 × 48 detector."""
        monkeypatch.chdir(tmp_path)
        ran = 0
        for line in "".join(blocks("sh")).splitlines():
            command, _, redirected = line.partition(" > ")
            words = shlex.split(re.sub(r"-detpixels \d+", "-detpixels 48", command))
            capsys.readouterr()
            if words[0] == "python":
                subprocess.run([sys.executable, ROOT / words[1], *words[2:], "--resolution", "3"], check=True)
            elif words[0] == "nanoBragg":
                assert main(words[1:]) == 0, f"{line}\n{capsys.readouterr().err}"
                ran += 1
            if redirected:
                Path(redirected).write_text(capsys.readouterr().out)
        assert ran >= 8

    @pytest.mark.parametrize("target", re.findall(r"^(?:make )(\w+)", "\n".join(blocks("sh")), re.MULTILINE))
    def test_make_targets_exist(self, target):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)

    def test_python_example_finds_the_cell_edge(self, capsys):
        namespace: dict[str, object] = {}
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), namespace)
        assert float(namespace["cell_a"].detach()) == pytest.approx(50.0, abs=0.01)
        assert capsys.readouterr().out.startswith("a = ")

    def test_links_lead_somewhere(self):
        for page in (ROOT / "README.md", ROOT / "docs" / "index.md"):
            for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
                assert (page.parent / link).exists(), f"{page.name}: {link}"

    def test_picture_is_light(self):
        assert (ROOT / "docs" / "images" / "rotation.png").stat().st_size < 300_000


class TestSource:
    @pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
    def test_modules_and_functions_are_short(self, path):
        text = path.read_text()
        assert len(text.splitlines()) <= LONGEST_MODULE
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{path.name}:{node.lineno} {node.name}"

    def test_the_tree_names_no_place_outside_itself(self):
        anywhere = re.compile("|".join(map(re.escape, FORBIDDEN)).encode())
        texts = {path.relative_to(ROOT): path.read_bytes() for path in tracked_files()}
        assert not {str(path): match.group() for path, text in texts.items() if (match := anywhere.search(text))}


class TestPackaging:
    def test_one_version(self):
        citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
        newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1)
        assert PROJECT["version"] == nanobrag_torch.__version__ == str(citation["version"]) == newest

    def test_every_dependency_is_pinned_exactly(self):
        lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line) for line in lines)
        pinned = {normal(line.split("==")[0]) for line in lines}
        extras = PROJECT["optional-dependencies"].values()
        needed = [*PROJECT["dependencies"], *(entry for extra in extras for entry in extra)]
        assert {normal(re.match(r"[\w.-]+", entry).group()) for entry in needed} <= pinned


class TestGoldenData:
    def test_complete_and_below_15_megabytes(self):
        cases = yaml.safe_load((GOLDEN / "cases.yaml").read_text())["cases"]
        assert len(cases) == 84
        for case in cases:
            suffixes = [".json"] if case.get("expect") == "error" else [".json", ".npz"]
            wanted = [GOLDEN / (case["id"] + suffix) for suffix in suffixes]
            wanted += [GOLDEN / "inputs" / name for name in case.get("inputs", []) if "no_such_file" not in name]
            assert all(path.is_file() for path in wanted), case["id"]
        assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) <= GOLDEN_BYTES


def normal(name: str) -> str:
    """A distribution's name, spelt in one way."""
    return re.sub(r"[-_.]+", "-", name).lower()
