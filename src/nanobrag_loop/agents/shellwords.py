"""Reproduction commands as the ledger writes them, split into words that can be run without a shell."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
CODE_SPAN = re.compile(r"`([^`]+)`")
SHELL_ONLY = re.compile(r"^(?:[0-9]*[<>].*|\|\|?|&&?|;|\(|\)|\{|\}|!)$")


class Unrunnable(Exception):
    """A command that cannot be run as it stands; `code` is the ledger lint's code for it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{reason} ({code})" if code else reason)
        self.code = code

    @property
    def not_applicable(self) -> bool:
        return not self.code


@dataclass(frozen=True)
class Command:
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> Command:
    """The one command in `text` (a code span); `Unrunnable` if there is none or it needs a shell."""
    text = text.strip()
    if re.match(r"n/a\b", text, re.IGNORECASE):
        raise Unrunnable("", text)
    span = CODE_SPAN.fullmatch(text)
    if span is None:
        raise Unrunnable("W210", "the value is neither one command nor n/a")
    try:
        lexer = shlex.shlex(span[1], posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError as error:
        raise Unrunnable("W210", f"the command cannot be split: {error}") from None
    for word in words:
        if SHELL_ONLY.match(word) or "$(" in word:
            raise Unrunnable("W210", f"the command needs a shell ({word!r}): redirections and pipes are not run")
    env = {}
    if words[:1] == ["env"]:
        words.pop(0)
    while words and ASSIGNMENT.match(words[0]):
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    if not words or words[0].startswith("-"):
        raise Unrunnable("W211", "the command sets the environment but names no program")
    return Command(tuple(words), env)
