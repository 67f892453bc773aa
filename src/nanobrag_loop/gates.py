"""Exit criteria as measurements: the file `plans/gates.yaml`, its kinds of gates, and their results compared.

A gate passes, fails, is unavailable (what it needs is not here) or is in error (it could not be measured). Only a
pass is a pass. How gates are measured is in `measure`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import yaml

from nanobrag_loop.errors import ConfigError

GATES_FILE = "plans/gates.yaml"

PASS, FAIL, UNAVAILABLE, ERROR = "pass", "fail", "unavailable", "error"

COMMON = {"criterion", "kind", "name", "needs"}
RUNNING = {"env", "timeout_s"}
KINDS: dict[str, tuple[set[str], set[str]]] = {
    # kind: (keys of which exactly one is needed, all other keys)
    "pytest": ({"argv", "ref"}, {"select", "min_passed", "max_skipped"} | RUNNING),
    "metric": ({"json"}, {"run", "op", "value", "unit", "noise"} | RUNNING),
    "blob": ({"sha256", "git"}, {"path"}),
    "path": ({"exists", "absent", "non_empty"}, set()),
    "text": ({"contains", "lacks"}, {"path"}),
    "manual": ({"signed"}, set()),
}
NEEDED = {"metric": {"op", "value"}, "blob": {"path"}, "text": {"path"}}
OPERATORS = {
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    "==": lambda value, bound: value == bound,
    "within": lambda value, bound: bound[0] <= value <= bound[1],
}


@dataclass(frozen=True)
class Gate:
    """One measurement. criterion: which bullet of the item's exit criteria it decides (None for a shared gate)."""

    item: str
    number: int
    kind: str
    options: Mapping
    criterion: int | None = None
    line: int = 0

    @property
    def id(self) -> str:
        return f"{self.item}#{self.number}" if self.number else self.item

    @property
    def title(self) -> str:
        return str(self.options.get("name") or describe(self))

    @property
    def threshold(self) -> float | Sequence[float] | None:
        """The number that an exit criterion may quote."""
        return self.options.get("value") if self.kind == "metric" else None


@dataclass(frozen=True)
class Prepare:
    """How to make an ignored file (a compiled program) that gates need; run at most once per checkout."""

    makes: str
    run: tuple[str, ...]


@dataclass(frozen=True)
class GateBook:
    """The whole gates file. shared: gates by name; items: the gates of each item, in order."""

    shared: Mapping[str, Gate]
    items: Mapping[str, tuple[Gate, ...]]
    prepare: tuple[Prepare, ...] = ()

    def of(self, name: str) -> tuple[Gate, ...]:
        """The gates of an item, or the one shared gate of that name; empty if there is none."""
        if name in self.items:
            return self.items[name]
        return (self.shared[name],) if name in self.shared else ()


@dataclass(frozen=True)
class GateResult:
    """One evaluation. value and threshold are numbers for metrics; counts are the outcomes of a pytest run."""

    gate: str
    kind: str
    title: str
    state: str
    detail: str = ""
    criterion: int | None = None
    seconds: float = 0.0
    value: float | None = None
    op: str | None = None
    threshold: float | Sequence[float] | None = None
    unit: str = ""
    noise: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    command: Sequence[str] = ()
    base_state: str | None = None
    base_value: float | None = None

    def as_dict(self) -> dict:
        """For a record: without the fields that say nothing."""
        numbers = {"seconds": round(self.seconds, 3), "value": self.value, "base_value": self.base_value}
        row = {**vars(self), **numbers, "threshold": self.threshold}
        return {key: value for key, value in row.items() if value is not None and value not in ("", ()) and value != {}}

    @staticmethod
    def from_dict(row: Mapping) -> GateResult:
        return GateResult(**{part.name: row[part.name] for part in fields(GateResult) if part.name in row})

    def line(self) -> str:
        """One clause for the ledger: what was measured against what."""
        if self.value is not None:
            bound = f"{self.op} {self.threshold}"
            return f"{self.gate} {self.value:.6g}{self.unit} ({bound}) {self.state}"
        return f"{self.gate} {self.state} ({self.detail})" if self.detail else f"{self.gate} {self.state}"


class _Loader(yaml.SafeLoader):
    """Safe loading that remembers the line of every mapping and refuses a repeated key."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"repeated key {name!r}", key.start_mark)
            seen.add(name)
        return {**super().construct_mapping(node, deep), "__line__": node.start_mark.line + 1}


def load(text: str, where: str = GATES_FILE) -> GateBook:
    """Read and check a gates file; `ConfigError` names file, line and key of the first mistake."""
    try:
        data = yaml.load(text, _Loader) if text.strip() else {"schema": 1}  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        raise ConfigError(f"{place}: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise ConfigError(f"{where}: an alias that holds itself, or nested too deeply") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping, got {type(data).__name__}")
    data.pop("__line__", None)
    if data.pop("schema", None) != 1:
        raise ConfigError(f"{where}: expected `schema: 1`")
    prepare = tuple(_prepare(entry, where) for entry in _list(data.pop("prepare", []), f"{where}: prepare"))
    items = data.pop("items", None) or {}
    if not isinstance(items, dict):
        raise ConfigError(f"{where}: items: expected a mapping of item ids")
    items.pop("__line__", None)
    shared = {name: _gate(name, 0, options, where, {}) for name, options in data.items()}
    book = {}
    for item, entries in items.items():
        listed = enumerate(_list(entries, f"{where}: items.{item}"), 1)
        book[item] = tuple(_gate(item, number, options, where, shared) for number, options in listed)
    return GateBook(shared, book, prepare)


def _list(value: object, where: str) -> list:
    if not isinstance(value, list):
        raise ConfigError(f"{where}: expected a list, got {type(value).__name__}")
    return value


def _prepare(entry: object, where: str) -> Prepare:
    if not isinstance(entry, dict) or set(entry) - {"__line__"} != {"makes", "run"}:
        raise ConfigError(f"{where}: prepare: expected entries with `makes` and `run`")
    return Prepare(str(entry["makes"]), _argv(entry["run"], f"{where}:{entry['__line__']}: run"))


def _argv(value: object, where: str) -> tuple[str, ...]:
    words = value if isinstance(value, list | tuple) else []
    if not words or not all(isinstance(word, str | int | float) for word in words):
        raise ConfigError(f"{where}: expected a list of words (commands run without a shell)")
    return tuple(str(word) for word in words)


def _gate(item: str, number: int, raw: object, where: str, shared: Mapping[str, Gate]) -> Gate:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: {item}: expected a mapping with `kind`")
    line = raw.pop("__line__", 0)
    place = f"{where}:{line}: {item}"
    kind = raw.get("kind")
    if kind not in KINDS:
        raise ConfigError(f"{place}: kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    one_of, others = KINDS[kind]
    unknown = sorted(set(raw) - one_of - others - COMMON)
    if unknown:
        raise ConfigError(f"{place}: unknown key {unknown[0]!r} for kind {kind}")
    if len(set(raw) & one_of) != 1 and kind != "manual":
        raise ConfigError(f"{place}: kind {kind} needs exactly one of {', '.join(sorted(one_of))}")
    for key in sorted(NEEDED.get(kind, set()) - set(raw)):
        raise ConfigError(f"{place}: kind {kind} needs {key!r}")
    criterion = raw.get("criterion")
    if criterion is not None and (isinstance(criterion, bool) or not isinstance(criterion, int) or criterion < 1):
        raise ConfigError(f"{place}: criterion: expected the number of a bullet, got {criterion!r}")
    if number and criterion is None:
        raise ConfigError(f"{place}: needs 'criterion', the number of the bullet that it decides")
    options = _options(raw, place, shared)
    return Gate(item, number, kind, options, criterion, line)


def _options(raw: dict, place: str, shared: Mapping[str, Gate]) -> dict:
    """The checked options of one gate, with a reference to a shared gate filled in."""
    options = {key: value for key, value in raw.items() if key not in ("kind", "criterion")}
    if "ref" in options:
        target = shared.get(options["ref"])
        if target is None or target.kind != "pytest":
            raise ConfigError(f"{place}: ref: no shared pytest gate {options['ref']!r}")
        options = {**target.options, **options}
    for key in ("argv", "run"):
        if key in options:
            options[key] = _argv(options[key], f"{place}: {key}")
    _check_values(options, raw["kind"], place)
    needs = options.get("needs", [])
    options["needs"] = tuple(str(need) for need in (needs if isinstance(needs, list | tuple) else [needs]))
    for need in options["needs"]:
        if need != "cuda" and not need.startswith(("file:", "program:")):
            raise ConfigError(f"{place}: needs: expected cuda, file:PATH or program:NAME, got {need!r}")
    env = options.get("env") or {}
    if not isinstance(env, dict):
        raise ConfigError(f"{place}: env: expected a mapping")
    options["env"] = {str(key): str(value) for key, value in env.items() if key != "__line__"}
    return options


def _check_values(options: Mapping, kind: str, place: str) -> None:
    for key in ("min_passed", "max_skipped"):
        value = options.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(f"{place}: {key}: expected a whole number, got {value!r}")
    if kind == "metric":
        bound, op = options["value"], options["op"]
        if op not in OPERATORS:
            raise ConfigError(f"{place}: op: expected one of {', '.join(OPERATORS)}, got {op!r}")
        numbers = bound if op == "within" and isinstance(bound, list) and len(bound) == 2 else [bound]
        if (op == "within") != isinstance(bound, list) or any(finite(number) is None for number in numbers):
            expected = "two numbers" if op == "within" else "a number"
            raise ConfigError(f"{place}: value: expected {expected}, got {bound!r}")
        if not str(options["json"]).startswith("{out}/") or "#/" not in str(options["json"]):
            raise ConfigError(f"{place}: json: expected {{out}}/FILE#/POINTER, got {options['json']!r}")
    if kind == "manual" and options.get("signed") is not None:
        signed = options["signed"]
        if not isinstance(signed, dict) or not all(signed.get(key) for key in ("by", "date", "reason")):
            raise ConfigError(f"{place}: signed: expected by, date and reason")


def finite(value: object) -> float | None:
    """The value if it is a number that a float can hold; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def describe(gate: Gate) -> str:
    """The gate in words."""
    options = gate.options
    if gate.kind == "pytest":
        chosen = f" -k {options['select']!r}" if options.get("select") else ""
        floor = f"; at least {options.get('min_passed', 1)} pass, at most {options.get('max_skipped', 0)} skipped"
        return " ".join(options["argv"]) + chosen + floor
    if gate.kind == "metric":
        return f"{options['json'].partition('#')[2]} {options['op']} {options['value']}{options.get('unit', '')}"
    if gate.kind == "blob":
        return f"{options['path']} is {options.get('git') or 'sha256 ' + str(options['sha256'])[:12]}"
    if gate.kind == "path":
        key = next(key for key in ("exists", "absent", "non_empty") if key in options)
        return f"{key.replace('_', '-')} {options[key]}"
    if gate.kind == "text":
        return next(f"{options['path']} {key} {options[key]!r}" for key in ("contains", "lacks") if key in options)
    return "a person's signed decision"


def with_base(results: Sequence[GateResult], base: Sequence[GateResult]) -> list[GateResult]:
    """The results with the state and value that each gate had at the base."""
    before = {result.gate: result for result in base}
    return [
        replace(result, base_state=before[result.gate].state, base_value=before[result.gate].value)
        if result.gate in before
        else result
        for result in results
    ]


def all_pass(results: Sequence[GateResult]) -> bool:
    return bool(results) and all(result.state == PASS for result in results)


def regressions(results: Iterable[GateResult]) -> list[str]:
    """Gates that passed at the base and do not pass now."""
    return [result.gate for result in results if result.base_state == PASS and result.state != PASS]


def improvements(results: Iterable[GateResult]) -> list[str]:
    """Gates that did not pass at the base and pass now."""
    return [result.gate for result in results if result.base_state not in (None, PASS) and result.state == PASS]


def distance(result: GateResult, value: float | None) -> float | None:
    """How far `value` is from the gate's threshold, 0 if it meets it; None if there is no number."""
    if value is None or result.threshold is None or result.op is None:
        return None
    low, high = result.threshold if result.op == "within" else (result.threshold, result.threshold)
    below = max(0.0, low - value) if result.op != "<=" else 0.0
    above = max(0.0, value - high) if result.op != ">=" else 0.0
    return below + above


def closer(result: GateResult) -> bool:
    """Whether the metric came nearer to its threshold by more than its stated noise."""
    before, after = distance(result, result.base_value), distance(result, result.value)
    return before is not None and after is not None and before - after > result.noise
