"""What code of a test file does to anything but its own file: in expressions that run when the file is read, and, as
far as it is plainly written, in the bodies of functions.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator

from nanobrag_loop.guard.assertions import last_name
from nanobrag_loop.guard.product import patched, root_name

CHANGING = (
    "append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update",
    "setitem", "delitem", "setenv", "delenv", "putenv", "chdir", "syspath_prepend",
)  # fmt: skip
REACHING = ("setattr", "delattr", "getattr", "vars", "globals", "locals", "exec", "eval", "__import__", "fixture")
# Bare names only: `re.compile` and `match.start` are something else.
BARE = (*REACHING, "compile", "breakpoint", "setitem", "delitem")
ATTRIBUTES = (*REACHING, *CHANGING, "modules", "start", "import_module", "reload", "methodcaller")
HARMLESS = ("__file__", "__name__", "__doc__", "__version__", "__all__", "__contains__")
REWRITING = (
    "__dict__", "__code__", "__globals__", "__builtins__", "__defaults__", "__kwdefaults__", "__closure__",
    "__setattr__", "__delattr__", "__class__", "__bases__",
)  # fmt: skip


def when_read(expressions: Iterable[ast.AST | None], modules: Collection[str]) -> str:
    """The first thing in expressions that may change what lies outside their file; empty if there is none.

    modules: names of imported modules. They may be looked into, not handed on: who gets one can change it.
    """
    for expression in expressions:
        nodes = list(ast.walk(expression)) if expression else []
        looked_into = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
        for node in nodes:
            handed_on = isinstance(node, ast.Name) and node.id in modules and id(node) not in looked_into
            if handed_on or reaching(node):
                return ast.unparse(node)
    return ""


def reaching(node: ast.AST) -> bool:
    """Whether a node by itself is a means to change something."""
    if isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
        return True
    name = last_name(node)
    hidden = name.startswith("__") and name not in HARMLESS
    return hidden or name in (ATTRIBUTES if isinstance(node, ast.Attribute) else BARE)


def when_run(body: Iterable[ast.stmt], imported: Collection[str]) -> str:
    """The first plain change that the body of a function makes to something imported or to its own module; empty if
    there is none. What `monkeypatch` does is undone after the test."""
    return next((found for statement in body for node in ast.walk(statement) for found in lasting(node, imported)), "")


def lasting(node: ast.AST, imported: Collection[str]) -> Iterator[str]:
    yield from patched(node, imported)
    makes_fixture = last_name(node) == "fixture" and isinstance(node, ast.expr) and root_name(node) in imported
    if isinstance(node, ast.Global) or last_name(node) in REWRITING or makes_fixture:
        yield ast.unparse(node)
    method = node.func if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
    if method and method.attr in CHANGING and root_name(method) in imported:
        yield ast.unparse(node)
