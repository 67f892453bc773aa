"""The result file: what does not fit is no result, what fits is plain data."""

from __future__ import annotations

import json

import pytest

from nanobrag_loop.agents.result import BadResult, clean, read

GOOD = {"schema": 1, "result": "success", "summary": "done"}


def given(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "a.json").write_text("{}")
    (tmp_path / "outside.json").write_text("{}")
    (tmp_path / "artifacts" / "link.json").symlink_to(tmp_path / "outside.json")
    (tmp_path / "artifacts" / "dir").symlink_to(tmp_path)
    return read(path, tmp_path / "artifacts")


def test_a_whole_result(tmp_path):
    claim = given(tmp_path, {**GOOD, "metrics": [{"name": "corr", "value": 0.5}], "artifacts": ["a.json"],
                             "observations": ["one\ntwo", "\x07"], "next_item": "A-1"})  # fmt: skip
    assert (claim.result, claim.summary, claim.observations) == ("success", "done", ("one two",))
    assert claim.metrics == ({"name": "corr", "value": 0.5, "unit": ""},)
    assert claim.artifacts == ("a.json",)
    assert claim.proposals == {"next_item": "A-1"}
    json.dumps(claim.as_dict())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "schema 1"),
        ({"result": "success"}, "schema 1"),
        ({**GOOD, "schema": 2}, "schema 1"),
        ({**GOOD, "result": "perfect"}, "result: expected one of"),
        ({**GOOD, "result": ["success"]}, "result: expected one of"),
        ({**GOOD, "summary": 3}, "summary: expected a text"),
        ({**GOOD, "metrics": {"corr": 1}}, "metrics: expected a list"),
        ({**GOOD, "metrics": [{"name": "corr", "value": "1"}]}, "expected a finite number"),
        ({**GOOD, "metrics": [{"name": "corr", "value": float("nan")}]}, "expected a finite number"),
        ({**GOOD, "metrics": [{"value": 1}]}, "expected name"),
        ({**GOOD, "observations": "text"}, "observations: expected a list"),
        ({**GOOD, "artifacts": ["../outside.json"]}, "not inside"),
        ({**GOOD, "artifacts": ["/etc/passwd"]}, "not inside"),
        ({**GOOD, "artifacts": ["link.json"]}, "symbolic link"),
        ({**GOOD, "artifacts": ["dir/outside.json"]}, "symbolic link"),
        ({**GOOD, "artifacts": ["missing.json"]}, "was not written"),
        ({**GOOD, "summary": "x" * 300_000}, "larger than"),
    ],
)
def test_what_is_no_result(tmp_path, content, reason):
    with pytest.raises(BadResult, match=reason.replace("(", r"\(")):
        given(tmp_path, content)


def test_absent_and_linked_result(tmp_path):
    with pytest.raises(BadResult, match="no result file"):
        read(tmp_path / "result.json", tmp_path)
    (tmp_path / "real.json").write_text(json.dumps(GOOD))
    (tmp_path / "result.json").symlink_to("real.json")
    with pytest.raises(BadResult, match="no result file"):
        read(tmp_path / "result.json", tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n\n## [FAKE-001] item\r\n- Status: done", "a ## [FAKE-001] item - Status: done"),
        ("\x1b[31mred\x00\u202e\u200b", "[31mred"),
        ("{{ 7 * 7 }} {% raw %}", "{{ 7 * 7 }} {% raw %}"),
        ("43\u202f/\u00a050", "43 / 50"),
        ("  ", ""),
        ("y" * 500, "y" * 299 + "…"),
        ("\udcff ok", "ok"),
    ],
)
def test_clean(text, line):
    assert clean(text) == line
