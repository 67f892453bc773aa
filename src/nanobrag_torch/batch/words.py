"""From a case to the words of a command line: file names by template, and seeds where none is given."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from ..cli.parse import Settings, find_option, parse
from ..errors import InputError, excerpt
from ..experiment import Experiment, Files
from .plan import Case, Plan

ENDINGS = {"floatfile": ".bin", "intfile": ".img", "pgmfile": ".pgm", "noisefile": "_noise.img"}
"""What follows the template in the names of the files that a run writes unasked."""


def case_words(plan: Plan, case: Case) -> tuple[list[str], Settings]:
    """The command line of a case, and its settings.

    Output files that the case does not name are called by the plan's template. Where the canonical program would take
    a seed from the clock, the number of the case is the seed, so that a batch done again gives the same images.

    Raises:
        InputError: unusable values or templates; names the option as typed on the command line.
    """
    fields = {name: " ".join(value.words or ()) for name, value in case.options.items()} | {"index": case.number}
    words: list[str] = []
    for name, value in case.options.items():
        file = find_option(f"-{name}").kind == "file"
        words += [f"-{name}", *(filled(f"-{name}", word, fields) if file else word for word in value.words or ())]
    settings = parse(words)
    added = [*_file_words(plan, settings, fields), *_seed_words(settings, case.number)]
    return words + added, parse(words + added) if added else settings


def _base(settings: Settings) -> Experiment | None:
    return Experiment.from_yaml(settings.get("config")) if "config" in settings else None


def _file_words(plan: Plan, settings: Settings, fields: Mapping[str, Any]) -> list[str]:
    """Names for the outputs that are written and not named."""
    base = _base(settings)
    written = Files() if base is None else base.files
    words = []
    for name, ending in ENDINGS.items():
        switch = settings.get(name.removesuffix("file"))
        on = switch if switch is not None else getattr(written, name) is not None
        if on and name not in settings:
            words += [f"-{name}", filled(f"{plan.path}:{plan.name_line}: name", plan.name, fields) + ending]
    return words


def _seed_words(settings: Settings, number: int) -> list[str]:
    base, words = _base(settings), []
    seeded = "seed" in settings or (base is not None and base.noise.seed is not None)
    if not seeded and settings.get("noise") is not False:
        words += ["-seed", str(number)]
    if settings.get("misset") == ("random",) and "misset_seed" not in settings:
        words += ["-misset_seed", str(number)]
    return words


def filled(place: str, template: str, fields: Mapping[str, Any]) -> str:
    """A template with {index:04d} or {option} replaced; a format, as in {phi:06.2f}, is for numbers."""
    try:
        return _Template().vformat(template, (), fields)
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{place}: expected a file name with fields as {{index:04d}} or {{phi:.2f}}, "
                         f"got {excerpt(template)} ({error})") from None
    except KeyError as error:
        raise InputError(f"{place}: expected fields of {', '.join(fields)}, got {error.args[0]!r} in "
                         f"{excerpt(template)}") from None


class _Template(string.Formatter):
    """Names only: no attributes, items or positions."""

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs[field_name], field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if not format_spec or isinstance(value, int):
            return format(value, format_spec)
        number = float(value)
        return format(int(number) if format_spec.endswith("d") else number, format_spec)
