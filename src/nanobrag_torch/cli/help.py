"""The help text, made from the option table."""

from __future__ import annotations

import textwrap

from .. import __version__
from .options import TOPICS, Option

_COLUMN, _WIDTH = 34, 110

_HEAD = """\
nanoBragg: X-ray diffraction images of small crystals on an absolute scale

usage: nanoBragg -cell a b c alpha beta gamma -N n -default_F F [options]
       nanoBragg -mat auto.mat -hkl P1.hkl -N n -lambda w -distance d [options]
"""

_TAIL = """
Spellings match exactly; of an option given twice the last one counts; negative numbers are values.
Bad input: one line on standard error, exit status 2, no output file touched.
Images equal the canonical program's, known faults included; a note tells where a fault changes the run, and -clean
corrects it.
"""


def help_text() -> str:
    """All options by topic, with units and defaults."""
    lines = [_HEAD]
    for topic, options in TOPICS.items():
        lines.append(f"\n{topic}:\n")
        lines.extend(_entry(option) for option in options)
    return "".join([*lines, _TAIL])


def version_text() -> str:
    return f"nanoBragg (nanobrag-torch) {__version__}\n"


def _entry(option: Option) -> str:
    call = " ".join((option.names[0], *option.takes))
    remarks = [part for part in (option.unit, option.default and f"default {option.default}") if part]
    text = option.help + (f" [{'; '.join(remarks)}]" if remarks else "")
    if len(option.names) > 1:
        text += f"; also {' '.join(option.names[1:])}"
    wrapped = textwrap.wrap(text, _WIDTH - _COLUMN)
    head = f"  {call}"
    first = f"{head:<{_COLUMN}}{wrapped[0]}" if len(head) < _COLUMN else f"{head}\n{'':<{_COLUMN}}{wrapped[0]}"
    return "\n".join([first, *(f"{'':<{_COLUMN}}{line}" for line in wrapped[1:])]) + "\n"
