"""Event streams in the documented formats, written for these tests; the programs themselves were not run."""

from __future__ import annotations

import json

import pytest

from nanobrag_loop.agents.adapters import ADAPTERS

CLAUDE = [
    {"type": "system", "subtype": "init", "session_id": "s", "tools": ["Bash"]},
    {
        "type": "assistant",
        "message": {"id": "m1", "usage": {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 4}},
    },
    {
        "type": "assistant",
        "message": {"id": "m1", "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 4}},
    },
    {"type": "user", "message": {"content": [{"type": "tool_result", "content": "ok"}]}},
    {"type": "assistant", "message": {"id": "m2", "usage": {"input_tokens": 20, "output_tokens": 2}}},
    {"type": "result", "subtype": "success", "total_cost_usd": 0.25, "usage": {"input_tokens": 30, "output_tokens": 9}},
]
CODEX = [
    {"type": "thread.started", "thread_id": "t"},
    {"type": "turn.started"},
    {"type": "item.completed", "item": {"id": "i", "type": "agent_message", "text": "done"}},
    {"type": "turn.completed", "usage": {"input_tokens": 100, "cached_input_tokens": 60, "output_tokens": 20}},
]
GEMINI = [
    {"type": "init", "session_id": "s", "model": "m"},
    {"type": "message", "role": "assistant", "content": "done", "delta": True},
    {"type": "result", "status": "success", "stats": {"total_tokens": 77, "input_tokens": 70, "output_tokens": 7}},
]


def fed(name, events):
    adapter = ADAPTERS[name]()
    for event in events:
        adapter.feed(event if isinstance(event, str) else json.dumps(event))
    return adapter


@pytest.mark.parametrize(
    ("name", "events", "tokens", "usd"),
    [("claude", CLAUDE, 39, 0.25), ("codex", CODEX, 120, None), ("gemini", GEMINI, 77, None)],
)
def test_usage_and_end(name, events, tokens, usd):
    adapter = fed(name, events)
    assert (adapter.usage.tokens, adapter.usage.usd) == (tokens, usd)
    assert adapter.finished()
    assert not fed(name, events[:-1]).finished()


def test_claude_usage_while_it_runs_counts_each_message_once():
    assert fed("claude", CLAUDE[:-1]).usage.tokens == 19 + 22


def test_codex_goes_on_after_a_turn():
    assert not fed("codex", [*CODEX, {"type": "turn.started"}]).finished()
    assert fed("codex", [*CODEX, {"type": "turn.failed", "error": {"message": "x"}}]).finished()


@pytest.mark.parametrize("name", ["claude", "codex", "gemini"])
@pytest.mark.parametrize(
    "line",
    ["", "plain words", "{broken", "[]", '{"type": 3}',
     '{"type": "result", "usage": [], "stats": 7, "total_cost_usd": "much"}',
     '{"type": "result", "total_cost_usd": NaN, "stats": {"total_tokens": -1}, "usage": {"input_tokens": true}}',
     '{"type": "turn.completed", "usage": null}', '{"type": "assistant", "message": "text"}', "{" * 100_000],
)  # fmt: skip
def test_every_field_is_optional(name, line):
    adapter = fed(name, [line])
    assert (adapter.usage.tokens, adapter.usage.usd) == (None, None)


def test_plain_output_says_nothing():
    adapter = fed("plain", CLAUDE)
    assert not adapter.finished()
    assert adapter.usage.tokens is None


def test_the_result_file_is_an_end_for_every_adapter(tmp_path):
    for adapter in (kind(tmp_path / "result.json") for kind in ADAPTERS.values()):
        assert not adapter.finished()
    (tmp_path / "result.json").write_text("{}")
    for adapter in (kind(tmp_path / "result.json") for kind in ADAPTERS.values()):
        assert adapter.finished()
