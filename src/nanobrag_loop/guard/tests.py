"""Tests between two trees: removed, emptied of assertions, skipped, loosened. New tests are free."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from nanobrag_loop.config import Config
from nanobrag_loop.gitio import Change, TreePair
from nanobrag_loop.guard import additions, product, thresholds
from nanobrag_loop.guard.assertions import Assertion, Function, assertions, cases, early_returns, skips
from nanobrag_loop.guard.assets import below
from nanobrag_loop.guard.findings import Finding
from nanobrag_loop.guard.testfile import HOOKS, Module, collected, is_test, parse, shape, walk


def check(pair: TreePair, config: Config, frozen: bool = False) -> Iterator[Finding]:
    """Findings T1 to T11. frozen: existing tests may not change at all."""
    yield from thresholds.check(pair, config)
    yield from product.check(pair, config)
    changes = [change for change in pair.changes if below(change.path, config.tests.roots)]
    python = [change for change in changes if change.path.endswith(".py")]
    after = [module for change in python if (module := parse(change.path, pair.new_text(change.path)))]
    for change in python:
        yield from compare_files(change, pair, after)
    if frozen:
        fixtures = additions.fixture_names(pair, config) if python else frozenset()
        for module in after:
            yield from additions.check(module.path, parse(module.path, pair.old_text(module.path)), module, fixtures)
        for change in changes:
            if change.old and not change.new:
                yield Finding("T6", change.path, "existing test files stay in this route", "put the file back")
            elif change.old and not change.path.endswith(".py"):
                yield Finding("T6", change.path, "test data may not change in this route", "leave the file as it is")


def compare_files(change: Change, pair: TreePair, after: list[Module]) -> Iterator[Finding]:
    path = change.path
    old, new = parse(path, pair.old_text(path)), next((module for module in after if module.path == path), None)
    if new is None and change.new is not None:
        yield Finding("T10", path, "does not parse", "mend the syntax")
    yield from everywhere(path, old, new)
    if old is None:
        return
    yield from replaced(path, old, new)
    yield from added_marks(path, old, new)
    for name, function in old.functions.items():
        found = counterpart(name, function, new, after, path)
        if found is None:
            if collected(path, name) and not (new is None and change.new is not None):
                yield Finding("T1", path, f"{name} was removed", "put the test back, or add it where it belongs now")
            continue
        module, other = found
        yield from compare(path, name, (function, old), (other, module))


def counterpart(
    name: str, function: Function, new: Module | None, after: list[Module], path: str
) -> tuple[Module, Function] | None:
    """Where a function is now: same file and name, the same code under another name, or its name in another file."""
    if new is not None and name in new.functions:
        return new, new.functions[name]
    elsewhere = [module for module in after if module.path != path]
    last, wanted = name.rpartition(".")[2], collected(path, name)
    for modules, fits in (
        ([new] if new else [], lambda other_name, other: shape(other) == shape(function)),
        (elsewhere, lambda other_name, other: shape(other) == shape(function)),
        (elsewhere, lambda other_name, other: other_name.rpartition(".")[2] == last),
    ):
        for module in modules:
            for other_name, other in module.functions.items():
                if collected(module.path, other_name) == wanted and fits(other_name, other):
                    return module, other
    return None


def compare(path: str, name: str, old: tuple[Function, Module], new: tuple[Function, Module]) -> Iterator[Finding]:
    """One function before and after."""
    (function, module), (other, other_module) = old, new
    before, after = assertions(function, module.names), assertions(other, other_module.names)
    counts = [sum(entry.counted for entry in entries) for entries in (before, after)]
    if counts[1] < counts[0]:
        message = f"{name} makes {counts[1]} assertions, it made {counts[0]}"
        yield Finding("T2", path, message, "put the assertions back")
    yield from compare_bounds(path, name, before, after, fewer=counts[1] < counts[0])
    added = Counter(skips([other])) - Counter(skips([function]))
    if added:
        yield Finding("T3", path, f"{name}: {', '.join(added)} was added", "make the test pass instead")
    if is_test(name) and early_returns(other) > early_returns(function):
        yield Finding("T3", path, f"{name} returns before its end", "make the test pass instead")
    lost = Counter(cases(function, module.lists)) - Counter(cases(other, other_module.lists))
    if lost:
        yield Finding("T1", path, f"{name} lost the case {', '.join(lost)[:120]}", "put the case back")


def compare_bounds(
    path: str, name: str, before: list[Assertion], after: list[Assertion], fewer: bool
) -> Iterator[Finding]:
    left = list(after)
    unmatched = []
    for old in before:
        new = next((entry for entry in left if entry.skeleton == old.skeleton), None)
        if new is None:
            unmatched.append(old)
            continue
        left.remove(new)
        for bound, other in zip(old.bounds, new.bounds, strict=False):
            if other.looser_than(bound):
                message = f"{name}: `{shown(old)}` became `{shown(new)}` ({bound.value:g} to {other.value:g})"
                yield Finding("T4", path, message, "put the bound back; loosening needs a person's signature")
    for old in unmatched:
        if fewer and not left:
            continue
        now = f"became `{shown(left.pop(0))}`" if left else "is gone"
        yield Finding("T5", path, f"{name}: `{shown(old)}` {now}", "add a new test beside it instead")


def shown(entry: Assertion) -> str:
    line = " ".join(entry.text.split())
    return line if len(line) <= 100 else line[:99] + "…"


def added_marks(path: str, old: Module, new: Module | None) -> Iterator[Finding]:
    added = Counter(new.marks if new else []) - Counter(old.marks)
    if added:
        yield Finding("T3", path, f"{', '.join(added)} was added for the whole file or class", "make the tests pass")


def acts_everywhere(node: ast.stmt) -> bool:
    """A fixture that every test gets, asked for or not."""
    decorators = node.decorator_list if isinstance(node, Function) else []
    keywords = [keyword.arg for call in decorators if isinstance(call, ast.Call) for keyword in call.keywords]
    return "autouse" in keywords


def calls(node: ast.stmt) -> list[ast.Expr]:
    """Calls that are made for their effect when a file is read, under conditions and in loops as well."""
    if isinstance(node, Function | ast.ClassDef):
        return []
    found = [inner for inner in ast.walk(node) if isinstance(inner, ast.Expr)]
    return [inner for inner in found if not isinstance(inner.value, ast.Constant)]


def everywhere(path: str, old: Module | None, new: Module | None) -> Iterator[Finding]:
    """Code that acts on every test: hooks, fixtures that nobody asks for, patches made when a file is read."""

    def own(module: Module | None) -> dict[str, str]:
        named = {}
        for name, node in walk(module.tree, "") if module else ():
            given = [part for target in getattr(node, "targets", []) for part in getattr(target, "elts", [target])]
            targets = [ast.unparse(part) for part in given]
            if acts_everywhere(node) or name.startswith(HOOKS):
                named[name] = ast.dump(node)
            for call in calls(node):
                named[f"`{ast.unparse(call)[:80]}`"] = ast.dump(call)
            for target in targets:
                if target.startswith(HOOKS) or not target.replace("_", "a").isalnum():
                    named[target] = ast.dump(node)
        return named

    before = own(old)
    for name, code in own(new).items():
        if before.get(name) != code:
            yield Finding("T3", path, f"{name} was added or changed", "make the tests pass as they are collected")


def replaced(path: str, old: Module, new: Module | None) -> Iterator[Finding]:
    """Names that a test file imported and that now mean something of its own, or of another package."""
    now = new.bindings if new else {}
    for name, source in old.bindings.items():
        if source and now.get(name, source) != source:
            message = f"{name}, imported from {source}, comes from {now[name] or 'the test itself'}"
            yield Finding("T6", path, message, "test what was tested")
