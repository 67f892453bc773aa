"""Prompts: jinja2 templates of the base commit, rendered in a sandbox with strict variables.

Text of the ledger enters as the value of a variable only. It is never compiled, so braces in it stay braces.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nanobrag_loop.errors import ConfigError

FOLDER = "prompts"
SIZE_CAP = 24 * 1024
HISTORY = 3

VARIABLES: Mapping[str, str] = MappingProxyType({
    "attempt": "number of this attempt",
    "base": "sha of the base commit",
    "denied": "paths that the role may not write",
    "gates": "the item's gates: criterion, kind, text, last (what was measured last, or empty)",
    "history": "how many past attempts are quoted",
    "item": "the item: id title priority status spec reproduction first_divergence attempts risks exit_criteria",
    "items": "supervisor: all items: id priority status title attempts last stale",
    "ledger_path": "path of the ledger",
    "limits": "wall_s and idle_s of this run",
    "parity": "state (green, red, unknown) and reason",
    "plan": "path and open tasks (id, state, text) of the item's plan, or nothing",
    "protected_count": "number of protected paths",
    "records": "supervisor: recent attempt records",
    "route": "name and reason of the route",
    "steering": "lines of advice from the supervisor",
    "tests_frozen": "whether existing tests may not be changed on this route",
    "writable": "paths that the role may write",
})  # fmt: skip


def environment(sources: Mapping[str, str]) -> jinja2.Environment:
    """An environment over template texts by file name; nothing is read from disk."""

    def source(name: str) -> tuple[str, str, None] | None:
        return (sources[name], f"{FOLDER}/{name}", None) if name in sources else None

    return ImmutableSandboxedEnvironment(
        loader=jinja2.FunctionLoader(source), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )


@contextlib.contextmanager
def mistakes(name: str) -> Iterator[None]:
    """Turn what a template of `name` and its includes can raise into `ConfigError` with file and line."""
    try:
        yield
    except jinja2.TemplateSyntaxError as error:
        named = error.name if error.name and not error.name.startswith("<") else name  # "<introspection>"
        raise ConfigError(f"{FOLDER}/{named}:{error.lineno}: {error.message}") from None
    except jinja2.TemplateNotFound as error:
        problem = f"includes {error.message!r}, which does not exist"
        raise ConfigError(f"{FOLDER}/{name}: {problem}{place(error)}") from None
    except Exception as error:  # an expression in a template may raise anything
        raise ConfigError(f"{FOLDER}/{name}: {error}{place(error)}") from None


def place(error: Exception) -> str:
    """Where in the templates an error arose, in brackets: jinja2 writes their lines into the traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(f"{FOLDER}/")]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def render(name: str, sources: Mapping[str, str], values: Mapping[str, object]) -> str:
    """The prompt `name`; `ConfigError` names template, line and variable if anything is missing."""
    if name not in sources:
        raise ConfigError(
            f"{FOLDER}/{name}: no such template at the base commit (there are: {', '.join(sorted(sources))})"
        )
    with mistakes(name):
        text = environment(sources).get_template(name).render(quoted(values))
    size = len(text.encode("utf-8", "replace"))
    if size > SIZE_CAP:
        raise ConfigError(f"{FOLDER}/{name}: the prompt has {size} bytes, at most {SIZE_CAP} are allowed")
    return text


def quoted(value: object) -> object:
    """The values with every mark that could end a quotation made harmless."""
    if isinstance(value, str):
        return value.replace("</ledger", "<\\/ledger").replace("<ledger", "<\\ledger")
    if isinstance(value, Mapping):
        return {key: quoted(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [quoted(entry) for entry in value]
    return value


def undeclared(name: str, sources: Mapping[str, str]) -> set[str]:
    """The variables that a template and its includes expect; `ConfigError` if one of them is no template."""
    env = environment(sources)
    found, seen, pending = set(), set(), [name]
    while pending:
        current = pending.pop()
        if current in seen or current not in sources:
            continue
        seen.add(current)
        with mistakes(current):
            tree = env.parse(sources[current], current)
            found |= jinja2.meta.find_undeclared_variables(tree)
        pending += [reference for reference in jinja2.meta.find_referenced_templates(tree) if reference]
    return found
