"""What a test function asserts, in a form that can be compared: expressions with their numeric bounds taken out.

`assert 1e-3 > abs(x - y)` and `assert abs(x - y) < 0.001` are the same assertion with the same bound; constants are
folded, so `0.9995 - 0.001` is 0.9985, and names stand for the constants that they were given.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

Function = ast.FunctionDef | ast.AsyncFunctionDef

ARITHMETIC = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
UPPER, LOWER = "at most", "at least"
DIRECTION = {ast.Lt: (UPPER, True), ast.LtE: (UPPER, False), ast.Gt: (LOWER, True), ast.GtE: (LOWER, False)}
OPPOSITE = {UPPER: LOWER, LOWER: UPPER}
TOLERANCES = {
    **dict.fromkeys(
        ("rtol", "atol", "rel", "abs", "rel_tol", "abs_tol", "tol", "tolerance", "max_distance", "max_error", "max_ulp",
         "maxulp", "delta", "max_diff", "max_skipped"), UPPER),
    **dict.fromkeys(("decimal", "places", "significant", "min_passed", "min_correlation", "min_fraction"), LOWER),
}  # fmt: skip
POSITIONAL = {
    "approx": ("", "rel", "abs"),
    **dict.fromkeys(("isclose", "allclose", "assert_allclose"), ("", "", "rtol", "atol")),
    **dict.fromkeys(("assert_almost_equal", "assert_array_almost_equal"), ("", "", "decimal")),
}
CHECKING_CALLS = ("raises", "warns", "deprecated_call", "fail")
SKIPPING = (
    "skip", "skipif", "skipIf", "skipUnless", "xfail", "importorskip", "skipTest", "SkipTest", "expectedFailure",
)  # fmt: skip


@dataclass(frozen=True)
class Bound:
    """A number that an assertion holds something to. strict: the number itself does not pass."""

    direction: str
    value: float
    strict: bool = False

    def looser_than(self, other: Bound) -> bool:
        if self.value == other.value:
            return other.strict and not self.strict
        return (self.value > other.value) == (self.direction == UPPER)


@dataclass(frozen=True)
class Assertion:
    """skeleton: the expression with its bounds taken out; text: as written; counted: it can fail the test by itself."""

    skeleton: str
    bounds: tuple[Bound, ...]
    text: str
    line: int
    counted: bool = True


def fold(node: ast.AST, names: Mapping[str, float]) -> float | None:
    """The number that an expression of constants is; None if it is none."""
    if isinstance(node, ast.Constant):
        value = node.value
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = fold(node.operand, names)
        return None if inner is None else -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        left, right = fold(node.left, names), fold(node.right, names)
        if left is None or right is None:
            return None
        try:
            return float(ARITHMETIC[type(node.op)](left, right))
        except (ArithmeticError, ValueError, TypeError):
            return None
    return None


def constants(body: Sequence[ast.stmt], names: Mapping[str, float]) -> dict[str, float]:
    """Names that are given one number and nothing else, on top of `names`."""
    found, spoilt = dict(names), set()
    for statement in body:
        for node in ast.walk(statement):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For | ast.NamedExpr):
                targets = [node.target]
            given = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            for name in (target.id for target in targets if isinstance(target, ast.Name)):
                value = fold(given, found) if given is not None else None
                if value is None or (name in found and name not in names and found[name] != value):
                    spoilt.add(name)
                else:
                    found[name] = value
    return {name: value for name, value in found.items() if name not in spoilt}


def defaults(function: Function) -> dict[str, float]:
    """Parameters whose default is a number."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    pairs = list(zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True))
    pairs += [(name, value) for name, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value]
    values = ((name.arg, fold(value, {})) for name, value in pairs)
    return {name: value for name, value in values if value is not None}


class Masker(ast.NodeTransformer):
    """Takes the bounds out of an expression: comparisons with a constant, and tolerances given to calls."""

    def __init__(self, names: Mapping[str, float]) -> None:
        self.names, self.negated = names, False
        self.bounds: list[Bound] = []

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if not isinstance(node.op, ast.Not):
            return self.generic_visit(node)
        self.negated = not self.negated
        masked_node = self.generic_visit(node)
        self.negated = not self.negated
        return masked_node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        sides = [node.left, *node.comparators]
        parts = [self.pair(*part) for part in zip(sides, node.ops, sides[1:], strict=False)]
        return parts[0] if len(parts) == 1 else ast.BoolOp(ast.And(), parts)

    def pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> ast.expr:
        low, high = fold(left, self.names), fold(right, self.names)
        direction = DIRECTION.get(type(op))
        bound = low if high is None else high
        if direction is None or bound is None or None not in (low, high):
            return ast.Compare(self.visit(left), [op], [self.visit(right)])
        toward, strict = direction
        if high is None:
            left, toward = right, OPPOSITE[toward]
        if self.negated:
            toward, strict = OPPOSITE[toward], not strict
        self.bounds.append(Bound(toward, bound, strict))
        return ast.Call(ast.Name(toward.replace(" ", "_")), [self.visit(left)], [])

    def visit_Call(self, node: ast.Call) -> ast.AST:
        names = POSITIONAL.get(last_name(node.func), ())
        pairs = zip(names, node.args, strict=False)
        words: list[tuple[str | None, ast.expr]] = [(name, value) for name, value in pairs if name]
        kept = [value for n, value in enumerate(node.args) if n >= len(names) or not names[n]]
        words += [(keyword.arg, keyword.value) for keyword in node.keywords]
        keywords = [ast.keyword(name, self.tolerance(name, value)) for name, value in words]
        keywords.sort(key=lambda keyword: keyword.arg or "")
        return ast.Call(self.visit(node.func), [self.visit(value) for value in kept], keywords)

    def tolerance(self, name: str | None, value: ast.expr) -> ast.expr:
        number = fold(value, self.names) if name in TOLERANCES else None
        if number is None or name is None:
            return self.visit(value)
        self.bounds.append(Bound(TOLERANCES[name], number))
        return ast.Name("_")


def last_name(node: ast.AST) -> str:
    """`approx` of `pytest.approx`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def masked(node: ast.expr, names: Mapping[str, float], counted: bool = True, negated: bool = False) -> Assertion:
    masker = Masker(names)
    masker.negated = negated
    text = ast.unparse(node)
    skeleton = ast.unparse(ast.fix_missing_locations(masker.visit(ast.parse(text, mode="eval").body)))
    bounds = tuple(masker.bounds)
    return Assertion(("not " if negated else "") + skeleton, bounds, text, node.lineno, counted)


def assertions(function: Function, names: Mapping[str, float]) -> list[Assertion]:
    """Everything a function asserts, in order. names: constants of the module."""
    known = constants(function.body, {**names, **defaults(function)})
    found: list[Assertion] = []
    for statement in function.body:
        found += _below(statement, known)
    return found


def _below(node: ast.AST, names: Mapping[str, float], around: str = "") -> Iterator[Assertion]:
    """Assertions at or below a node. around: the conditions that they stand under, which belong to the skeleton."""
    if isinstance(node, ast.Assert):
        yield placed(masked(node.test, names), around)
        return
    if isinstance(node, ast.If) and any(_gives_up(statement) for statement in node.body):
        yield placed(masked(node.test, names, negated=True), around)
        for statement in node.orelse:
            yield from _below(statement, names, around)
        return
    if isinstance(node, ast.Call):
        name = last_name(node.func)
        checking = name.lower().startswith("assert") or name in CHECKING_CALLS
        if checking or name in POSITIONAL or any(keyword.arg in TOLERANCES for keyword in node.keywords):
            yield placed(masked(node, names, counted=checking), around)
            return
    inner = f"{around}{condition(node)}"
    for child in ast.iter_child_nodes(node):
        in_body = isinstance(child, ast.stmt | ast.ExceptHandler)
        yield from _below(child, names, inner if in_body else around)


def condition(node: ast.AST) -> str:
    """What decides whether, how often, or with what consequence the statements below a node run."""
    if isinstance(node, ast.If | ast.While):
        return f"if {ast.unparse(node.test)}: "
    if isinstance(node, ast.For | ast.AsyncFor):
        return f"for {ast.unparse(node.iter)}: "
    if isinstance(node, ast.With | ast.AsyncWith):
        return f"with {', '.join(ast.unparse(item.context_expr) for item in node.items)}: "
    if isinstance(node, ast.Try | ast.ExceptHandler):
        return "try: " if isinstance(node, ast.Try) else "except: "
    return f"def {node.name}: " if isinstance(node, Function) else ""


def placed(assertion: Assertion, around: str) -> Assertion:
    return replace(assertion, skeleton=around + assertion.skeleton)


def _gives_up(statement: ast.stmt) -> bool:
    """`pytest.fail(...)` or `raise AssertionError`."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return last_name(statement.value.func) == "fail"
    if isinstance(statement, ast.Raise) and statement.exc is not None:
        raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        return last_name(raised) == "AssertionError"
    return False


def skips(nodes: list[ast.AST]) -> list[str]:
    """Every skip and xfail below the nodes, as written."""
    found = []
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Attribute | ast.Name) and last_name(node) in SKIPPING:
            found.append(ast.unparse(node))
    return found


def early_returns(function: Function) -> int:
    return sum(isinstance(statement, ast.Return) for statement in function.body)


def cases(function: Function, lists: Mapping[str, ast.expr]) -> list[str]:
    """The parametrised cases of a test, as written. lists: what names of the module stand for."""
    found = []
    for decorator in function.decorator_list:
        if not isinstance(decorator, ast.Call) or last_name(decorator.func) != "parametrize":
            continue
        for given in decorator.args[1:2]:
            listed = lists.get(given.id, given) if isinstance(given, ast.Name) else given
            if isinstance(listed, ast.List | ast.Tuple | ast.Set):
                found += [ast.unparse(element) for element in listed.elts]
            elif isinstance(listed, ast.Dict):
                found += [ast.unparse(key) if key else "**" for key in listed.keys]
    return found
