"""CLAUDE.md says what the tool enforces, no less and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from fake_agent_repo import make_toy
from test_end_to_end_incidents import INCIDENTS

from nanobrag_loop import config, gates, gitio, guarding, prompts, watch, workplace
from nanobrag_loop.guard.findings import RULES

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CLAUDE.md").read_text()
NAMED = {code for group in re.findall(r"\[([A-Z0-9 ]+)\]\n", TEXT) for code in group.split()}
RUNNER = {"G1", "G2", *watch.LIMIT_CODES.values(), "L8", "L9"}


def test_every_code_is_named_and_exists():
    assert set(RULES) | RUNNER == NAMED


def test_the_protected_files_that_it_names_are_protected():
    """In a repository of ours: each one that exists, deleted, is a finding."""
    settings = config.load(ROOT)
    named = ["CLAUDE.md", "loop.sh", "supervisor.sh", "docs/fix_plan.md", "docs/index.md"]
    assert set(named) <= set(settings.protect.extra)
    for rule in ("loop.sh", "prompts/", "plans/loop.yaml", "plans/gates.yaml", "src/nanobrag_loop/"):
        assert rule in settings.harness


def test_the_variables_that_it_names_are_set():
    source = Path(workplace.__file__).read_text()
    for name in re.findall(r"`(NBLOOP_[A-Z]+)`", TEXT):
        assert f'"{name}"' in source


def test_it_is_short():
    assert len(TEXT.encode()) < 4000
    assert len([line for line in TEXT.splitlines() if re.match(r"\d+\. ", line)]) <= 12


@pytest.mark.parametrize(
    "code", sorted(NAMED - {"G2", "A3", "A4", "A5", "A8", "A9", "T7", "T8", "T9", "T10", "P4", "P5", "L5", "L6", "L7"})
)
def test_a_breach_of_it_is_replayed(code):
    """Codes left out here have tests of their own with the guards, the processes and the decisions."""
    assert any(code in codes for _, codes in INCIDENTS.values()), code


def test_the_configuration_and_the_gates_are_valid():
    settings = config.load(ROOT)
    book = gates.load((ROOT / gates.GATES_FILE).read_text())
    assert settings.parity.gate in book.shared
    assert settings.roles["engineer"].agent == "reproduce"
    for path in [*settings.roles["engineer"].prompts.values(), settings.roles["supervisor"].prompt]:
        assert (ROOT / path).is_file()
        sources = {entry.name: entry.read_text() for entry in (ROOT / "prompts").glob("*.md")}
        assert prompts.undeclared(Path(path).name, sources) <= set(prompts.VARIABLES)


def test_without_configuration_the_defaults_are_the_same():
    assert config.parse("").roles["engineer"] == config.load(ROOT).roles["engineer"]
    assert config.parse("").routes == config.load(ROOT).routes


def test_processes_are_valid_xml_and_name_real_commands():
    from xml.etree import ElementTree

    root = ElementTree.parse(ROOT / "docs/development/processes.xml").getroot()
    assert {process.get("id") for process in root} == {"C-parity", "hygiene", "release"}
    for process in root:
        steps = [step.get("n") for step in process.iter("step")]
        assert steps == [str(n) for n in range(1, len(steps) + 1)]
        assert all((step.text or "").strip() for step in process.iter("step"))


def test_the_launchers_are_thin():
    for name in ("loop.sh", "supervisor.sh"):
        text = (ROOT / name).read_text()
        assert len(text.splitlines()) <= 14
        assert text.count("git") == text.count("import git") + text.count("gitpython")
        assert text.rstrip().splitlines()[-1].endswith('"$@"')


def test_the_editable_install_is_not_what_an_agent_imports(tmp_path):
    """A simulator in the worktree shadows an installed one; without it the cycle would refuse."""
    toy = make_toy(tmp_path, {"src/nanobrag_torch/__init__.py": "HERE = True\n"})
    toy.scenario(
        {"shell": "python3 -c 'import nanobrag_torch as n; assert n.HERE; print(n.__file__)'"},
        {"result": {"result": "diagnostic"}},
    )
    toy.loop("run", "--role", "engineer", "--agent", "fake")
    log = next((toy.root / ".nbloop/runs").glob("*/agent.log")).read_text()
    assert "/.nbloop/wt/" in log


def test_protected_paths_are_counted():
    head = gitio.git(ROOT, "rev-parse", "HEAD").strip()
    assert guarding.protected_count(ROOT, head, config.load(ROOT)) >= 5
    assert yaml.safe_load((ROOT / "plans/loop.yaml").read_text())["schema"] == 1
