"""A parsed test file: its functions, constants, imported names, skips, and what pytest takes for a test."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from nanobrag_loop.guard.assertions import Function, constants, skips

HOOKS = ("pytest_", "collect_ignore")


@dataclass(frozen=True)
class Module:
    """A parsed test file."""

    path: str
    tree: ast.Module

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Functions and methods by their qualified names."""
        return {name: node for name, node in walk(self.tree, "") if isinstance(node, Function)}

    @cached_property
    def names(self) -> dict[str, float]:
        plain = [node for node in self.tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
        return constants(plain, {})

    @cached_property
    def lists(self) -> dict[str, ast.expr]:
        """What is assigned to each name of the module, on its first level."""
        found: dict[str, ast.expr] = {}
        for node in self.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            found |= {name.id: value for name in targets if isinstance(name, ast.Name) and value is not None}
        return found

    @cached_property
    def bindings(self) -> dict[str, str]:
        """Names of the module and the package that each is imported from; empty for what is defined here."""
        found: dict[str, str] = {}
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                package = "." if node.level else (node.module or "").split(".")[0]
                found |= {name.asname or name.name: package for name in node.names}
            elif isinstance(node, ast.Import):
                found |= {(name.asname or name.name).split(".")[0]: name.name.split(".")[0] for name in node.names}
            elif isinstance(node, Function | ast.ClassDef):
                found[node.name] = ""
            elif isinstance(node, ast.Assign):
                found |= {target.id: "" for target in node.targets if isinstance(target, ast.Name)}
        return found

    @cached_property
    def modules(self) -> set[str]:
        """Names that `import` binds, anywhere in the file."""
        return local_names(node for node in ast.walk(self.tree) if isinstance(node, ast.Import))

    @cached_property
    def imported(self) -> set[str]:
        """Names that are imported in any way, anywhere in the file."""
        return local_names(node for node in ast.walk(self.tree) if isinstance(node, ast.Import | ast.ImportFrom))

    @cached_property
    def marks(self) -> list[str]:
        """Skips outside functions: module marks, module-level calls, decorators of classes."""
        outer = [node for _, node in walk(self.tree, "") if not isinstance(node, Function | ast.ClassDef)]
        classes = [node for _, node in walk(self.tree, "") if isinstance(node, ast.ClassDef)]
        return skips([*outer, *(mark for node in classes for mark in node.decorator_list)]) + self.unset

    @property
    def unset(self) -> list[str]:
        """Statements outside functions that take a test out of collection: `del test_a`, `test_a = 1`, `__test__`."""
        found = []
        for _, node in walk(self.tree, ""):
            names = {getattr(target, "id", "") for target in getattr(node, "targets", [])}
            if isinstance(node, ast.Assign | ast.Delete) and any(is_test(name) or name == "__test__" for name in names):
                found.append(ast.unparse(node))
        return found


def local_names(imports: Iterable[ast.Import | ast.ImportFrom]) -> set[str]:
    return {(name.asname or name.name).split(".")[0] for node in imports for name in node.names}


def walk(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    """Statements of a module and its classes, with qualified names; functions are not entered."""
    for child in node.body:
        name = f"{prefix}{getattr(child, 'name', '')}"
        yield name, child
        if isinstance(child, ast.ClassDef):
            yield from walk(child, f"{name}.")


def is_test(name: str) -> bool:
    return name.rpartition(".")[2].startswith("test")


def collected(path: str, name: str) -> bool:
    """Whether pytest takes a function for a test, by the names of its file, classes and itself."""
    *classes, last = name.split(".")
    return collected_file(path) and last.startswith("test") and all(part.startswith("Test") for part in classes)


def collected_file(path: str) -> bool:
    file = path.rpartition("/")[2]
    return file.startswith("test_") or file.endswith("_test.py")


def shape(function: Function) -> str:
    """A function without its name."""
    parts = [function.args, *function.body, *function.decorator_list, *([function.returns] if function.returns else [])]
    return "\n".join(ast.dump(part) for part in parts)


def parse(path: str, text: str | None) -> Module | None:
    if text is None:
        return None
    try:
        return Module(path, ast.parse(text))
    except (SyntaxError, ValueError, RecursionError):
        return None
