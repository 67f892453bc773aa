"""Signed exceptions, `docs/waivers.yaml`: a person names path, rules, reason and himself in the change that needs it.

A waiver counts only in the change that adds it, and never for a role: what an agent writes there waives nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from nanobrag_loop import strictyaml
from nanobrag_loop.errors import ConfigError
from nanobrag_loop.gitio import TreePair
from nanobrag_loop.guard.findings import RULES, TEST_RULES, Finding

WAIVERS_FILE = "docs/waivers.yaml"
KEYS = ("path", "codes", "reason", "by", "date")


@dataclass(frozen=True)
class Waiver:
    """path may be a shell pattern."""

    path: str
    codes: tuple[str, ...]
    reason: str
    by: str
    date: str

    def covers(self, finding: Finding) -> bool:
        return finding.code in self.codes and (finding.path == self.path or fnmatchcase(finding.path, self.path))


def load(text: str, where: str = WAIVERS_FILE) -> list[Waiver]:
    """Read and check the file; `ConfigError` says which entry lacks what."""
    data = strictyaml.load(text, where) if text.strip() else {"schema": 1}
    if not isinstance(data, dict) or data.get("schema") != 1 or set(data) - {"schema", "waivers"}:
        raise ConfigError(f"{where}: expected `schema: 1` and a list `waivers`")
    entries = data.get("waivers") or []
    if not isinstance(entries, list):
        raise ConfigError(f"{where}: waivers: expected a list")
    return [_waiver(entry, f"{where}: waiver {n}") for n, entry in enumerate(entries, 1)]


def _waiver(entry: object, where: str) -> Waiver:
    if not isinstance(entry, dict) or set(entry) != set(KEYS):
        raise ConfigError(f"{where}: expected exactly {', '.join(KEYS)}")
    codes = entry["codes"] if isinstance(entry["codes"], list) else [entry["codes"]]
    unknown = [str(code) for code in codes if not isinstance(code, str) or code not in RULES]
    if unknown or not codes:
        raise ConfigError(f"{where}: codes: unknown rule {', '.join(unknown) or '(none given)'}")
    day = entry["date"]
    for key in ("path", "reason", "by"):
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise ConfigError(f"{where}: {key}: expected a text")
    try:
        day = day if isinstance(day, datetime.date) else datetime.date.fromisoformat(str(day))
    except ValueError:
        raise ConfigError(f"{where}: date: expected YYYY-MM-DD, got {day!r}") from None
    return Waiver(entry["path"], tuple(codes), entry["reason"], entry["by"], day.isoformat())


def fresh(pair: TreePair) -> list[Waiver]:
    """The waivers that this change adds."""
    old, new = (load(text or "") for text in (pair.old_text(WAIVERS_FILE), pair.new_text(WAIVERS_FILE)))
    return [waiver for waiver in new if waiver not in old]


def from_trailers(values: Iterable[str]) -> list[Waiver]:
    """Waivers for test rules given as commit trailers, `Guard-Waiver: CODE PATH reason`; others are left out."""
    found = []
    for value in values:
        code, path, reason = (*value.split(maxsplit=2), "", "", "")[:3]
        if code in TEST_RULES and path and reason:
            found.append(Waiver(path, (code,), reason, "commit author", ""))
    return found


def unwaived(findings: Iterable[Finding], waivers: Sequence[Waiver]) -> list[Finding]:
    return [finding for finding in findings if not any(waiver.covers(finding) for waiver in waivers)]
