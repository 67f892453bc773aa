"""The two packages keep apart, and what runs in a hook starts without weight."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nanobrag_loop import cli

SOURCE = Path(__file__).resolve().parents[2] / "src"
LOOP = sorted((SOURCE / "nanobrag_loop").rglob("*.py"))
SIMULATOR = sorted((SOURCE / "nanobrag_torch").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def loaded(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


def test_the_architecture_names_every_module():
    page = SOURCE.parent / "docs/architecture/pytorch_design.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = sorted(name for row in rows for name in re.findall(r"`([\w/]+)`", row.split("|")[1]))
    inside = [path for path in (SOURCE / "nanobrag_loop").iterdir() if not path.name.startswith("__")]
    there = [path.stem for path in inside if path.suffix == ".py"]
    there += [f"{path.name}/" for path in inside if (path / "__init__.py").exists()]
    assert named == sorted(there)


def test_the_simulator_does_not_know_the_loop():
    assert [path for path in SIMULATOR if "nanobrag_loop" in imported(path)] == []


def test_the_loop_knows_the_simulator_only_by_its_commands():
    heavy = {"nanobrag_torch", "torch", "numpy", "scipy"}
    assert {path: imported(path) & heavy for path in LOOP if imported(path) & heavy} == {}


def test_one_module_speaks_to_git():
    assert [path.name for path in LOOP if "git" in imported(path)] == ["gitio.py"]


def test_every_module_can_be_imported_without_the_simulator():
    names = [".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in LOOP]
    wanted = [name for name in names if not name.endswith("__main__")]
    found = loaded("\n".join(f"import {name}" for name in wanted))
    assert found & {"torch", "numpy", "nanobrag_torch", "scipy"} == set()


def test_a_hook_loads_neither_templates_nor_tables():
    assert loaded("import nanobrag_loop.hooks") & {"jinja2", "rich", "torch", "numpy", "pytest"} == set()
    assert loaded("import nanobrag_loop.ledger.merge") & {"git", "yaml", "jinja2", "rich"} == set()


def test_only_the_command_asked_for_is_imported():
    found = loaded("from nanobrag_loop import cli\ncli.parser(('guard',))")
    assert "jinja2" not in found
    assert "rich" not in found


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: nb-loop {name}")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"\n    {name} " not in shown] == []


def test_an_unknown_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["dance"])
    assert end.value.code == 2
    assert "dance" in capsys.readouterr().err
