"""Old evidence moves to the archive, and every record still accounts for it."""

from __future__ import annotations

import json

import pytest
from fake_agent_repo import FAST_GATES, ITEM, make_toy, recording

ADD = {"src/toy.py": (" + 0.5", "")}


@pytest.fixture
def toy(tmp_path):
    """A repository with one attempt, its evidence committed."""
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    recording(toy, 1, "success", ADD, "add mended")
    toy.loop("run", "--role", "engineer", "--agent", "replay", check=None)
    return toy


def evidence(toy, tree="main") -> list[str]:
    return [name for name in toy.git("ls-tree", "-r", "--name-only", tree, "reports/").split() if ITEM in name]


def test_old_evidence_moves_unchanged_and_verifies_there(toy):
    day = next(name for name in evidence(toy) if name.startswith("reports/2")).split("/")[1][:10]
    files = [name for name in evidence(toy) if name.startswith("reports/2")]
    content = {name.split("attempt-1/")[1]: toy.git("show", f"main:{name}") for name in files}
    ledger = toy.ledger()

    shown = toy.loop("runs", "prune", "--committed", "--before", day).stdout
    assert shown == "0 folders moved\n"
    shown = toy.loop("runs", "prune", "--committed", "--before", "2999-01-01").stdout
    assert shown.startswith(f"reports/{day}-{ITEM} -> reports/archive/{day}-{ITEM}\n1 folders moved; staged")
    toy.loop("guard", "--staged")
    toy.git("commit", "-qm", "Old evidence to the archive")

    now = [name for name in evidence(toy) if name.startswith("reports/archive/")]
    assert {name.split("attempt-1/")[1]: toy.git("show", f"main:{name}") for name in now} == content
    assert not [name for name in evidence(toy) if name.startswith("reports/2")]
    assert [name for name in evidence(toy) if name.startswith("reports/loop/")]
    assert toy.ledger() == ledger
    assert toy.loop("runs", "verify").stdout == "1 records, 0 problems\n"
    assert "W402" not in toy.loop("ledger", "lint", check=None).stdout
    toy.loop("report", "--html", "page.html")
    assert f'href="./{now[0]}"' in (toy.root / "page.html").read_text()


def test_missing_and_altered_evidence_is_still_found_in_the_archive(toy):
    toy.loop("runs", "prune", "--committed", "--before", "2999-01-01")
    notes = next((toy.root / "reports/archive").rglob("notes.txt"))
    notes.write_text("other\n")
    assert "notes.txt: sha256 differs" in toy.loop("runs", "verify", check=1).stdout
    notes.unlink()
    problems = json.loads(toy.loop("runs", "verify", "--json", check=1).stdout)["problems"]
    assert len(problems) == 1
    assert problems[0].endswith("notes.txt: missing")


def test_an_archive_that_has_the_folder_is_left_alone(toy):
    folder = next(name for name in evidence(toy) if name.startswith("reports/2")).rsplit("/", 2)[0]
    (toy.root / folder.replace("reports/", "reports/archive/")).mkdir(parents=True)
    done = toy.loop("runs", "prune", "--committed", "--before", "2999-01-01", check=4)
    assert "is there already" in done.stderr
    assert toy.git("status", "--porcelain", "-uno") == ""


@pytest.mark.parametrize(
    "words",
    [["--committed"], ["--before", "2026-01-01"], ["--committed", "--before", "yesterday"]],
    ids=["no date", "date alone", "no such date"],
)
def test_a_date_is_needed_and_must_be_one(toy, words):
    done = toy.loop("runs", "prune", *words, check=2)
    assert "--before" in done.stderr
    assert toy.git("status", "--porcelain", "-uno") == ""
