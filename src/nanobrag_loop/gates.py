"""Exit criteria as measurements: the file `plans/gates.yaml`, its kinds of gates, and their results compared.

A gate passes, fails, is unavailable (what it needs is not here) or is in error (it could not be measured). Only a
pass is a pass. How gates are measured is in `measure`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from nanobrag_loop import strictyaml, typed
from nanobrag_loop.errors import ConfigError
from nanobrag_loop.typed import finite

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
        """The result that `as_dict` gave; `ValueError` if the row is none."""
        return typed.build(GateResult, row)

    def line(self) -> str:
        """One clause for the ledger: what was measured against what."""
        if self.value is not None:
            bound = f"{self.op} {self.threshold}"
            return f"{self.gate} {self.value:.6g}{self.unit} ({bound}) {self.state}"
        return f"{self.gate} {self.state} ({self.detail})" if self.detail else f"{self.gate} {self.state}"


class _Loader(strictyaml.Loader):
    """Loading that remembers the line of every mapping."""

    def construct_mapping(self, node, deep=False):
        return {**super().construct_mapping(node, deep), "__line__": node.start_mark.line + 1}


def load(text: str, where: str = GATES_FILE) -> GateBook:
    """Read and check a gates file; `ConfigError` names file, line and key of the first mistake."""
    data = strictyaml.load(text, where, _Loader) if text.strip() else {"schema": 1}
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
    place = f"{where}:{entry['__line__']}: prepare"
    _check_shapes(entry, place)
    return Prepare(entry["makes"], _argv(entry["run"], f"{place}: run"))


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
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{place}: kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    one_of, others = KINDS[kind]
    unknown = sorted(set(raw) - one_of - others - COMMON)
    if unknown:
        raise ConfigError(f"{place}: unknown key {unknown[0]!r} for kind {kind}")
    if len(set(raw) & one_of) != 1 and kind != "manual":
        raise ConfigError(f"{place}: kind {kind} needs exactly one of {', '.join(sorted(one_of))}")
    for key in sorted(NEEDED.get(kind, set()) - set(raw)):
        raise ConfigError(f"{place}: kind {kind} needs {key!r}")
    _check_shapes(raw, place)
    criterion = raw.get("criterion")
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
    if raw["kind"] == "metric":
        _check_metric(options, place)
    if options.get("signed") is not None:
        _check_signature(options["signed"], place)
    needs = options.get("needs", [])
    options["needs"] = tuple(str(need) for need in (needs if isinstance(needs, list | tuple) else [needs]))
    for need in options["needs"]:
        if need != "cuda" and not need.startswith(("file:", "program:")):
            raise ConfigError(f"{place}: needs: expected cuda, file:PATH or program:NAME, got {need!r}")
    options["env"] = _env(options.get("env") or {}, place)
    return options


def _env(value: object, place: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: env: expected a mapping")
    env = {key: entry for key, entry in value.items() if key != "__line__"}
    for key, entry in env.items():
        if not key or "=" in key or not isinstance(entry, str | int | float):
            raise ConfigError(f"{place}: env: expected NAME: a text or a number, got {key!r}: {entry!r}")
    return {key: str(entry) for key, entry in env.items()}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_inside(value: object) -> bool:
    """Whether a value is a path, or a pattern of paths, below the checkout."""
    parts = PurePosixPath(value).parts if isinstance(value, str) else ()
    strange = [part for part in parts if part in ("/", "//", "..") or ("**" in part and part != "**")]
    return bool(parts) and not strange


def _is_count(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


# What the value of a key must be, whatever the kind of the gate, and that in words.
SHAPES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(("contains", "git", "json", "lacks", "name", "ref", "select", "sha256", "unit"),
                    (_is_text, "a text (in quotes if it looks like something else)")),
    **dict.fromkeys(("absent", "exists", "makes", "non_empty", "path"), (_is_inside, "a path inside the checkout")),
    **dict.fromkeys(("min_passed", "max_skipped"), (_is_count, "a whole number")),
    "criterion": (lambda value: value is None or _is_count(value, 1), "the number of a bullet"),
    "noise": (lambda value: finite(value) is not None and value >= 0, "a number, not negative"),
    "op": (lambda value: _is_text(value) and value in OPERATORS, f"one of {', '.join(OPERATORS)}"),
    "timeout_s": (lambda value: finite(value) is not None and value > 0, "a number of seconds, more than 0"),
}  # fmt: skip


def _check_shapes(options: Mapping, place: str) -> None:
    for key, value in options.items():
        fits, expected = SHAPES.get(key, (None, ""))
        if fits and not fits(value):
            raise ConfigError(f"{place}: {key}: expected {expected}, got {value!r}")


def _check_metric(options: Mapping, place: str) -> None:
    bound, within = options["value"], options["op"] == "within"
    numbers = [bound] if not within else bound if isinstance(bound, list) and len(bound) == 2 else [None]
    if any(finite(number) is None for number in numbers):
        raise ConfigError(f"{place}: value: expected {'two numbers' if within else 'a number'}, got {bound!r}")
    if not options["json"].startswith("{out}/") or "#/" not in options["json"]:
        raise ConfigError(f"{place}: json: expected {{out}}/FILE#/POINTER, got {options['json']!r}")


def _check_signature(signed: object, place: str) -> None:
    if not isinstance(signed, dict) or not all(signed.get(key) for key in ("by", "date", "reason")):
        raise ConfigError(f"{place}: signed: expected by, date and reason")


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
