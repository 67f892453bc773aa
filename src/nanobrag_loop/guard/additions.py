"""T6: what may be added to test code while existing tests are frozen. Whatever is not listed here is refused.

Existing files and every conftest.py are shared with tests that exist: what is added there binds names that mean nothing
yet. A new file has its names to itself. Nowhere may anything outside the file be changed while it is read.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from nanobrag_loop.config import Config
from nanobrag_loop.gitio import TreePair
from nanobrag_loop.guard.assertions import Function, last_name, skips
from nanobrag_loop.guard.assets import below
from nanobrag_loop.guard.effects import when_read, when_run
from nanobrag_loop.guard.findings import Finding
from nanobrag_loop.guard.testfile import HOOKS, Module, is_test, parse, shape, walk

Import = ast.Import | ast.ImportFrom

PYTEST_FIXTURES = (
    "cache", "capfd", "capfdbinary", "caplog", "capsys", "capsysbinary", "capteesys", "doctest_namespace",
    "monkeypatch", "pytestconfig", "record_property", "record_testsuite_property", "record_xml_attribute", "recwarn",
    "request", "subtests", "testdir", "pytester", "testrun_uid", "tmp_path", "tmp_path_factory", "tmpdir",
    "tmpdir_factory", "worker_id",
)  # fmt: skip
RUN_AROUND_TESTS = (
    "setup", "teardown", *(f"{when}_{what}" for when in ("setup", "teardown")
                           for what in ("module", "function", "class", "method")),
    "setUp", "tearDown", "setUpClass", "tearDownClass", "setUpModule", "tearDownModule", "asyncSetUp", "asyncTearDown",
)  # fmt: skip
# Decorators in shared files, and the packages that they come from.
DECORATORS = {
    **dict.fromkeys(("pytest.fixture", "pytest.mark.parametrize", "pytest.mark.usefixtures", "pytest.mark.timeout",
                     "pytest.mark.filterwarnings"), "pytest"),
    "dataclass": "dataclasses", "contextmanager": "contextlib", "cache": "functools", "given": "hypothesis",
    "settings": "hypothesis", "property": "", "staticmethod": "", "classmethod": "",
}  # fmt: skip
FIXTURE_WORDS, CASE_WORDS = ("scope", "params", "ids", "name"), ("argnames", "argvalues", "indirect", "ids")
PLAIN = ("__all__", "__version__")
TOOLS = ("_pytest", "builtins", "ctypes")
LEAVE = "leave existing test code as it is in this route"
LISTED = "add imports, functions, classes, plain assignments under new names; let monkeypatch change what must change"
Refused = tuple[ast.stmt, str]


@dataclass(frozen=True)
class Scope:
    """Where statements are added. taken: names that mean something already; attributes: those that do in a class;
    hooks: beginnings of names that Python or pytest look for; shared: existing tests run with it; moved: tests that
    were there, under whatever name."""

    module: Module
    fixtures: frozenset[str]
    taken: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    hooks: tuple[str, ...] = ()
    shared: bool = False
    moved: frozenset[str] = frozenset()

    def inside(self, new: bool) -> Scope:
        """The body of a class; a new one has its names to itself."""
        if new:
            return replace(self, taken=frozenset(), hooks=(), shared=False)
        return replace(self, taken=self.taken | self.attributes)

    def meaning(self, name: str) -> str:
        """Why a name may not be bound; empty if it may."""
        if name == "*":
            return "binds names that are not written here"
        if name.startswith(self.hooks) and name not in PLAIN:
            return f"binds {name}, which Python or pytest look for"
        return f"binds {name}, which means something already" if name in self.taken else ""


def fixture_names(pair: TreePair, config: Config) -> frozenset[str]:
    """Every fixture of the first tree, and those that pytest brings."""
    found = set(PYTEST_FIXTURES)
    for path in pair.before:
        module = parse(path, pair.old_text(path)) if path.endswith(".py") and below(path, config.tests.roots) else None
        functions = [node for node in ast.walk(module.tree) if isinstance(node, Function)] if module else []
        for node in functions:
            for mark in (mark for mark in node.decorator_list if last_name(called(mark)) == "fixture"):
                found |= {node.name, *(str(getattr(word.value, "value", "")) for word in words(mark, "name"))}
    return frozenset(found)


def check(path: str, old: Module | None, new: Module, fixtures: frozenset[str]) -> Iterator[Finding]:
    """Findings on one file. fixtures: names that are taken by fixtures anywhere."""
    scope = Scope(new, fixtures, hooks=(*HOOKS, "__"))
    if old or path.rpartition("/")[2] == "conftest.py":
        meant = fixtures.union(dir(builtins), RUN_AROUND_TESTS, ["pytestmark"])
        scope = replace(scope, taken=meant, shared=True)
    if old:
        attributes = frozenset(node.attr for node in ast.walk(old.tree) if isinstance(node, ast.Attribute))
        moved = frozenset(shape(node) for name, node in old.functions.items() if is_test(name))
        scope = replace(scope, taken=scope.taken.union(identifiers(old.tree)), attributes=attributes, moved=moved)
    for node, reason in [*compare(old.tree.body if old else [], new.tree.body, scope), *early(old, new)]:
        remedy = LEAVE if reason.startswith("was ") else LISTED
        yield Finding("T6", path, f"line {node.lineno}: `{shown(node)}` {reason}", remedy)


def shown(node: ast.stmt) -> str:
    """The first line of a statement, decorators left out."""
    return next(line for line in ast.unparse(node).splitlines() if not line.startswith("@"))[:80]


def compare(old: Sequence[ast.stmt], new: Sequence[ast.stmt], scope: Scope) -> Iterator[Refused]:
    """What was taken from a body or changed in it, and what was added that may not be."""
    kept, lost, added = difference(old, new)
    here = {shape(node) for node in scope.module.functions.values()}
    for node in lost:
        if not (isinstance(node, Function) and is_test(node.name) and shape(node) in here):
            yield node, "was changed or removed"
    for node in added:
        reason = refusal(node, scope)
        if reason:
            yield node, reason
    for before, after in kept:
        if isinstance(before, Function) and isinstance(after, Function) and shape(before) != shape(after):
            yield after, "was changed"
        elif isinstance(before, ast.ClassDef) and isinstance(after, ast.ClassDef):
            yield from compare_classes(before, after, scope)


def compare_classes(old: ast.ClassDef, new: ast.ClassDef, scope: Scope) -> Iterator[Refused]:
    if header(old) != header(new):
        yield new, "was given other bases or decorators"
    if old.bases and difference(old.body, new.body)[2]:
        yield new, "was given something that may replace what it inherits"
    yield from compare(old.body, new.body, scope.inside(new=False))


def difference(
    old: Sequence[ast.stmt], new: Sequence[ast.stmt]
) -> tuple[list[tuple[ast.stmt, ast.stmt]], list[ast.stmt], list[ast.stmt]]:
    """(kept, lost, added) statements of a body. Texts do not count, nor does the order of imports; functions and
    classes are kept as long as their names are."""
    (imports, before), (other_imports, after) = apart(old), apart(new)
    kept: list[tuple[ast.stmt, ast.stmt]] = []
    lost = [node for name, node in imports.items() if name not in other_imports]
    added = [node for name, node in other_imports.items() if name not in imports]
    matcher = SequenceMatcher(None, [key(node) for node in before], [key(node) for node in after], autojunk=False)
    for tag, start, end, other_start, other_end in matcher.get_opcodes():
        if tag == "equal":
            kept += zip(before[start:end], after[other_start:other_end], strict=True)
        else:
            lost += before[start:end]
            added += after[other_start:other_end]
    return kept, lost, added


def apart(body: Sequence[ast.stmt]) -> tuple[dict[str, ast.stmt], list[ast.stmt]]:
    """Imports by what they import, and the other statements in their order."""
    every = list(single(body))
    imports: dict[str, ast.stmt] = {key(node): node for node in every if isinstance(node, Import)}
    return imports, [node for node in every if not isinstance(node, Import)]


def single(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements without texts, imports one name each."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (ast.copy_location(ast.Import([name]), node) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            every = (ast.ImportFrom(node.module, [name], node.level) for name in node.names)
            yield from (ast.copy_location(one, node) for one in every)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield node


def key(node: ast.stmt) -> str:
    if isinstance(node, Function | ast.ClassDef):
        return f"{type(node).__name__} {node.name}"
    return ast.dump(node)


def header(node: ast.ClassDef) -> list[str]:
    return [ast.dump(part) for part in (*node.bases, *node.keywords, *node.decorator_list)]


def identifiers(tree: ast.Module) -> Iterator[str]:
    """Every name that a file uses or binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]
        elif isinstance(node, Function | ast.ClassDef):
            yield node.name


def early(old: Module | None, new: Module) -> Iterator[Refused]:
    """Added tests that would run before existing ones of their file: whatever they do, they do it afterwards."""
    if old is None:
        return
    before = {name for name, _ in walk(old.tree, "")}
    known = {shape(node) for node in old.functions.values()}
    tests = [(name, node) for name, node in walk(new.tree, "") if holds_tests(node)]
    last = max((n for n, (name, _) in enumerate(tests) if name in before), default=0)
    for name, node in tests[:last]:
        if name not in before and not (isinstance(node, Function) and shape(node) in known):
            yield node, "would run before existing tests; add it below them"


def holds_tests(node: ast.stmt) -> bool:
    if isinstance(node, ast.ClassDef):
        return node.name.startswith("Test") or bool(node.bases)
    return isinstance(node, Function) and is_test(node.name)


def refusal(node: ast.stmt, scope: Scope) -> str:
    """Why a statement may not be added; empty if it may."""
    bound = bindings(node)
    if bound is None:
        return "" if harmless_condition(node, scope) else "is no import, function, class or plain assignment"
    reason = next((reason for name in bound if (reason := scope.meaning(name))), "")
    if reason or isinstance(node, ast.Pass):
        return reason
    if isinstance(node, Function):
        return refused_function(node, scope)
    if isinstance(node, ast.ClassDef):
        return refused_class(node, scope)
    if scope.shared and any(name.startswith(("test", "Test")) for name in bound):
        return "gives a test that is defined elsewhere"
    return refused_import(node) if isinstance(node, Import) else refused_value(node, bound, scope)


def bindings(node: ast.stmt) -> list[str] | None:
    """The names that a statement of the listed kinds binds; None for a statement of another kind."""
    if isinstance(node, Import):
        return [name.asname or name.name.split(".")[0] for name in node.names]
    if isinstance(node, Function | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Pass):
        return []
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return None
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if len(names) == len(parts) else None


def harmless_condition(node: ast.stmt, scope: Scope) -> bool:
    """`if TYPE_CHECKING:` with imports only; in a new file also what a program does when it is run by itself."""
    if not isinstance(node, ast.If) or node.orelse:
        return False
    if last_name(node.test) == "TYPE_CHECKING":
        return all(isinstance(inner, Import) and not refusal(inner, scope) for inner in node.body)
    return ast.unparse(node.test) == "__name__ == '__main__'" and not scope.shared


def refused_import(node: ast.Import | ast.ImportFrom) -> str:
    (name,) = node.names
    module = name.name if isinstance(node, ast.Import) else node.module or ""
    if module.split(".")[0] in TOOLS or (name.name == "fixture" and name.asname):
        return "imports a means to change the tests"
    return ""


def refused_value(node: ast.stmt, bound: list[str], scope: Scope) -> str:
    value = getattr(node, "value", None)
    if "pytestmark" in bound and skips([node]):
        return "skips the tests of the file"
    return changes(when_read([value, getattr(node, "annotation", None)], scope.module.modules))


def changes(what: str) -> str:
    return f"may change something outside this file: `{what}`" if what else ""


def refused_class(node: ast.ClassDef, scope: Scope) -> str:
    if node.keywords:
        return "is made by something other than `type`"
    reason = refused_marks(node, scope) or changes(when_read(node.bases, scope.module.modules))
    within = scope.inside(new=True)
    return reason or next((reason for inner in single(node.body) if (reason := refusal(inner, within))), "")


def refused_function(node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> str:
    if is_test(node.name) and shape(node) in scope.moved:
        return ""
    given = node.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    annotations = [argument.annotation for argument in arguments if argument]
    first = [*given.defaults, *given.kw_defaults, *annotations, node.returns]
    found = when_read(first, scope.module.modules) or when_run(node.body, scope.module.imported)
    return refused_marks(node, scope) or changes(found)


def refused_marks(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, scope: Scope) -> str:
    """What is wrong with the decorators of a function or class."""
    for mark in node.decorator_list:
        text, unlisted = ast.unparse(called(mark)), f"may not have the decorator `{ast.unparse(mark)[:60]}`"
        keywords = mark.keywords if isinstance(mark, ast.Call) else []
        fixture = last_name(called(mark)) == "fixture"
        if scope.shared and DECORATORS.get(text) != scope.module.bindings.get(text.split(".")[0], ""):
            return unlisted
        listed = FIXTURE_WORDS if fixture else CASE_WORDS if scope.shared and text.endswith("parametrize") else ()
        if listed and (any(word.arg not in listed for word in keywords) or len(getattr(mark, "args", [])) > 2):
            return unlisted
        if fixture and any(getattr(word.value, "value", "") in scope.fixtures | {""} for word in words(mark, "name")):
            return f"{unlisted}, which takes the place of another fixture"
        inner = [*getattr(mark, "args", []), *(word.value for word in keywords), *([] if fixture else [called(mark)])]
        if found := when_read(inner, scope.module.modules):
            return changes(found)
    return ""


def called(mark: ast.expr) -> ast.expr:
    """The decorator itself, without what it is given."""
    return mark.func if isinstance(mark, ast.Call) else mark


def words(mark: ast.expr, name: str) -> list[ast.keyword]:
    return [word for word in getattr(mark, "keywords", []) if word.arg == name]
