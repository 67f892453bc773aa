"""The event streams of agent programs, read into one form: what was used, and whether the agent has ended.

Each adapter reads one JSON object per line as the program's documentation describes it. Every field is optional,
since the programs change them between versions; a line that is no JSON object is ordinary output and is skipped.
The adapters are tested against streams written in the documented form, not against the programs themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from nanobrag_loop.agents.process import Watcher

MOST = 1e15  # more than any run uses, and few enough that sums stay numbers


def number(value: object) -> float | None:
    """A plausible non-negative number, or None for anything else (a boolean is no number)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= MOST else None


def total(usage: object, fields: tuple[str, ...]) -> int | None:
    """The sum of the token counts that are there; None if none is."""
    if not isinstance(usage, Mapping):
        return None
    counts = [count for count in (number(usage.get(field)) for field in fields) if count is not None]
    return int(sum(counts)) if counts else None


class JsonLines(Watcher):
    """A program that prints one JSON object per line."""

    def feed(self, line: str) -> None:
        if not line.lstrip().startswith("{"):
            return
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(event, dict):
            self.take(event)

    def take(self, event: dict) -> None:
        """Learn from one event."""


class Claude(JsonLines):
    """`claude -p --output-format stream-json --verbose`: `assistant` events carry the usage of one message,
    the last event, `result`, the usage and cost of the whole run."""

    FIELDS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")

    def __init__(self, result_file: Path | None = None) -> None:
        super().__init__(result_file)
        self.messages: dict[str, int] = {}

    def take(self, event: dict) -> None:
        if event.get("type") == "assistant" and isinstance(event.get("message"), dict):
            message = event["message"]
            count = total(message.get("usage"), self.FIELDS)
            if count is not None:
                # One message is sent in several events; its last usage counts, once.
                self.messages[str(message.get("id"))] = count
                self.usage.tokens = sum(self.messages.values())
        elif event.get("type") == "result":
            whole = total(event.get("usage"), self.FIELDS)
            self.usage.tokens = whole if whole is not None else self.usage.tokens
            cost = number(event.get("total_cost_usd"))
            self.usage.usd = cost if cost is not None else self.usage.usd
            self.ended = True


class Codex(JsonLines):
    """`codex exec --json`: each `turn.completed` carries the usage of one turn; the end of the turn is the end."""

    FIELDS = ("input_tokens", "output_tokens")

    def take(self, event: dict) -> None:
        kind = event.get("type")
        if kind == "turn.completed":
            count = total(event.get("usage"), self.FIELDS)
            if count is not None:
                self.usage.tokens = (self.usage.tokens or 0) + count
        if kind in ("turn.completed", "turn.failed"):
            self.ended = True
        elif kind == "turn.started":
            self.ended = False


class Gemini(JsonLines):
    """`gemini --output-format stream-json`: the last event, `result`, carries the statistics of the run."""

    def take(self, event: dict) -> None:
        if event.get("type") != "result":
            return
        stats = event.get("stats")
        if isinstance(stats, dict):
            whole = number(stats.get("total_tokens"))
            parts = total(stats, ("input_tokens", "output_tokens"))
            self.usage.tokens = int(whole) if whole is not None else parts
        self.ended = True


ADAPTERS: dict[str, type[Watcher]] = {"plain": Watcher, "claude": Claude, "codex": Codex, "gemini": Gemini}
