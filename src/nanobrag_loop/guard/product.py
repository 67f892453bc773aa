"""T11: product code that looks at how it is tested, or changes other modules while it runs.

A program that is imported by its own tests could always deceive them; the plain ways are found here, and a person
reads the change in any case.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator

from nanobrag_loop.config import Config
from nanobrag_loop.gitio import TreePair
from nanobrag_loop.guard.assertions import Function
from nanobrag_loop.guard.assets import below
from nanobrag_loop.guard.findings import Finding

TEST_TOOLS = ("pytest", "_pytest", "unittest", "hypothesis", "conftest")
TELLTALES = ("PYTEST", "NBLOOP", "junitxml")
REMEDY = "mend the cause; the product does not know of its tests"


def check(pair: TreePair, config: Config) -> Iterator[Finding]:
    """What a change adds to Python files outside the tests and the loop itself."""
    for change in pair.changes:
        apart = below(change.path, (*config.tests.roots, *config.harness))
        if change.new is None or not change.path.endswith(".py") or apart:
            continue
        added = Counter(suspicious(pair.new_text(change.path))) - Counter(suspicious(pair.old_text(change.path)))
        for words in added:
            yield Finding("T11", change.path, words, REMEDY)


def suspicious(text: str | None) -> Iterator[str]:
    """Each place, in words."""
    try:
        tree = ast.parse(text or "")
    except (SyntaxError, ValueError, RecursionError):
        return
    names = modules(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = next((word for word in TELLTALES if word in node.value), "")
            if found:
                yield f"speaks of {found}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            wanted = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {name}" for name in wanted if name.split(".")[0] in TEST_TOOLS)
        elif isinstance(node, Function) and node.name.startswith("pytest_"):
            yield f"defines {node.name}, a hook of the test tool"
        yield from (f"changes `{target}` of an imported module" for target in patched(node, names))


def modules(tree: ast.Module) -> set[str]:
    """Names that `import` binds to modules."""
    found = [name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    return {(name.asname or name.name).split(".")[0] for name in found}


def patched(node: ast.AST, names: Collection[str]) -> Iterator[str]:
    """What is assigned to or deleted, plainly or by `setattr`, of things that were imported under one of the names."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
        targets = [ast.Attribute(value, "…") for value in node.args[:1]]
    for target in targets:
        if isinstance(target, ast.Attribute | ast.Subscript) and root_name(target) in names:
            yield ast.unparse(target)


def root_name(node: ast.expr) -> str:
    """`a` of `a.b["c"].d`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
