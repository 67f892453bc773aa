"""From a planted fault to a closed item, offline: failed, partial, success; ledger, records, files and page agree."""

from __future__ import annotations

from fake_agent_repo import FAST_GATES, ITEM, LEDGER, make_toy, recording

from nanobrag_loop import book, records

LATER = "  * The scale is exactly 2.\n"


def test_failed_partial_success(tmp_path):
    toy = make_toy(tmp_path, merge_partial=True)
    add, scale = (" + 0.5", ""), ("a * 3", "a * 2")
    recording(toy, 1, "success", {"src/toy.py": (" + 0.5", " + 0.25")}, "Half of the offset is gone.")
    recording(toy, 2, "partial", {"src/toy.py": add}, "add is right now.")
    toy.git("apply", str(tmp_path / "replay" / ITEM / "2" / "change.patch"))
    toy.git("add", "src")
    recording(toy, 3, "success", {"src/toy.py": scale}, "scale is right now.")
    toy.git("reset", "-q", "--hard")

    done = toy.loop("run", "--role", "engineer", "-n", "3", "--agent", "replay")
    item = book.read(toy.ledger(), "docs/fix_plan.md")[0]
    assert [past.word for past in item.attempts] == ["failed", "partial", "success"], done.stderr
    assert item.status == "done"
    assert "## Index\n| ID | Title | Priority | Status |\n| --- | --- | --- | --- |\n\n" in toy.ledger()

    known, broken = records.read_all(toy.root)
    assert broken == []
    assert [record.result for record in known] == ["failed", "partial", "success"]
    assert [record.merged for record in known] == [False, True, True]
    assert [record.gates[0].value for record in known] == [0.25, 0.0, 0.0]
    assert known[0].gates[0].base_value == 0.5
    for record, past in zip(known, item.attempts, strict=True):
        assert str(record.path) in past.artifacts
        assert {row["path"].split("/")[-1] for row in record.artifacts} >= {"notes.txt", "error.json"}
    assert "3 records, 0 problems" in toy.loop("runs", "verify").stdout
    assert "return a + b\n" in toy.git("show", "main:src/toy.py")

    page = tmp_path / "report.html"
    toy.loop("report", "--html", str(page))
    text = page.read_text()
    assert text.count("<tr data-item") == 3
    assert text.count("<circle") == 3
    assert "scale is right now." in text

    evidence = next((toy.root / "reports").glob("2*/attempt-1/notes.txt"))
    evidence.write_text("better\n")
    assert "sha256 differs" in toy.loop("runs", "verify", check=1).stdout
    evidence.unlink()
    assert "missing" in toy.loop("runs", "verify", check=1).stdout


def test_an_item_with_an_unmeasured_criterion_stays_open(tmp_path):
    ledger = LEDGER.replace("  * Both tests of the toy pass.\n", "  * Both tests of the toy pass.\n" + LATER)
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES, "docs/fix_plan.md": ledger})
    recording(toy, 1, "success", {"src/toy.py": (" + 0.5", "")}, "x")
    toy.git("apply", str(tmp_path / "replay" / ITEM / "1" / "change.patch"))
    toy.git("commit", "-q", "-am", "half")
    (tmp_path / "replay" / ITEM / "1" / "change.patch").unlink()
    recording(toy, 2, "success", {"src/toy.py": ("a * 3", "a * 2")}, "y")
    (tmp_path / "replay" / ITEM / "2").rename(tmp_path / "replay" / ITEM / "3")
    (tmp_path / "replay" / ITEM / "3").rename(tmp_path / "replay" / ITEM / "2")
    toy.loop("run", "--role", "engineer", "-n", "2", "--agent", "replay")
    item = book.read(toy.ledger(), "docs/fix_plan.md")[0]
    assert item.attempts[-1].word == "success"
    assert item.status == "in_progress"


def test_review_mode_waits_for_a_person(tmp_path):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES}, mode="review")
    recording(toy, 1, "success", {"src/toy.py": ("a * 3", "a * 2")}, "x")
    path = tmp_path / "replay" / ITEM / "1" / "change.patch"
    whole = {
        "src/toy.py": (
            "return a + b + 0.5\n\n\ndef scale(a):\n    return a * 3",
            "return a + b\n\n\ndef scale(a):\n    return a * 2",
        )
    }
    path.parent.rename(tmp_path / "old")
    recording(toy, 1, "success", whole, "both")
    before = toy.tree_without_ledger()
    toy.loop("run", "--role", "engineer", "--agent", "replay")
    assert toy.tree_without_ledger() == before
    assert "waits for a decision" in toy.loop("report").stdout.replace("\n", " ")
    assert "merged as attempt 2" in toy.loop("runs", "accept", "last").stdout
    assert "return a * 2" in toy.git("show", "main:src/toy.py")
    assert "- Status: done" in toy.ledger()
    assert toy.git("branch", "--list", "loop/*") == ""
    toy.loop("runs", "accept", "last", check=4)


def test_the_breaker_blocks_an_item_that_goes_in_circles(tmp_path):
    toy = make_toy(tmp_path)
    for attempt in (1, 2, 3, 4):
        recording(toy, attempt, "success", {}, "no change at all")
    done = toy.loop("run", "--role", "engineer", "-n", "9", "--agent", "replay", check=8)
    assert "breaker: TOY-001 is blocked" in done.stderr
    item = book.read(toy.ledger(), "docs/fix_plan.md")[0]
    assert (item.status, len(item.attempts)) == ("blocked", 3)
    assert "blocked by the runner" in item.attempts[-1].next_actions
    assert "no item can be worked on" in toy.loop("run", "--role", "engineer", "--agent", "replay").stderr
