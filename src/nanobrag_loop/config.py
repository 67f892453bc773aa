"""The settings of the loop, `plans/loop.yaml`: every key has a default, an unknown key is an error with its line."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from nanobrag_loop.errors import ConfigError
from nanobrag_loop.strictyaml import Loader, mistakes, shown
from nanobrag_loop.typed import finite

CONFIG_FILE = "plans/loop.yaml"


@dataclass(frozen=True)
class Agent:
    """A command line. prompt: how it gets the prompt; events: the form of its output."""

    argv: tuple[str, ...] = ()
    prompt: str = "stdin"
    events: str = "plain"


@dataclass(frozen=True)
class Role:
    """agent: a name of `agents` or a built-in one; prompts: template by route; prompt: the only template;
    every: a supervisor turn after so many engineer cycles, 0 for never."""

    agent: str = "noop"
    prompts: dict[str, str] = field(default_factory=dict)
    prompt: str = ""
    every: int = 5


@dataclass(frozen=True)
class RunLimits:
    """Bounds of one agent run. 0 tokens or dollars: no bound."""

    wall_s: float = 3600.0
    idle_s: float = 600.0
    after_result_s: float = 30.0
    log_mib: float = 32.0
    tokens: int = 2_000_000
    usd: float = 10.0


@dataclass(frozen=True)
class SessionLimits:
    """Bounds of one session. failures, no_progress, guard_hits: in a row on one item, 0 for no bound."""

    cycles: int = 20
    wall_s: float = 28800.0
    usd: float = 50.0
    failures: int = 3
    no_progress: int = 3
    guard_hits: int = 2


@dataclass(frozen=True)
class Limits:
    run: RunLimits = RunLimits()
    session: SessionLimits = SessionLimits()


@dataclass(frozen=True)
class Parity:
    """gate: the shared gate that measures parity; unknown: what an unmeasured state counts as."""

    gate: str = "parity-matrix"
    unknown: str = "red"


@dataclass(frozen=True)
class RolePolicy:
    """Path prefixes that a role may write, and those that it may not although they lie below one of these."""

    write: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protect:
    """index: the document whose links are protected; extra: further paths or shell patterns; relocate_to: prefixes
    that files of protected folders may be moved below."""

    index: str = "docs/index.md"
    extra: tuple[str, ...] = ("docs/fix_plan.md", "docs/index.md", "CLAUDE.md", "loop.sh", "supervisor.sh", "reports/")
    relocate_to: tuple[str, ...] = ("reports/archive/", "plans/archive/")


@dataclass(frozen=True)
class Tests:
    """roots: where tests live; frozen_in: routes in which existing tests may not change; golden: hashes of
    reference data, as `sha256sum` writes them."""

    roots: tuple[str, ...] = ("tests/",)
    frozen_in: tuple[str, ...] = ("debug", "main")
    golden: str = "golden_suite_generator/SHA256SUMS"


@dataclass(frozen=True)
class Files:
    """Bounds on the files that a change adds, in KiB."""

    file_kib: int = 256
    total_kib: int = 2048


@dataclass(frozen=True)
class Identity:
    """Author of the commits that the loop makes."""

    name: str = "nb-loop"
    email: str = "nb-loop@localhost"


ENGINEER = RolePolicy(
    ("src/", "tests/", "docs/", "scripts/", "examples/"),
    ("docs/fix_plan.md", "docs/fix_plan_archive.md", "docs/archive/", "docs/index.md", "docs/waivers.yaml"),
)  # fmt: skip
SUPERVISOR = RolePolicy(("plans/active/", "plans/steering.yaml"))
HARNESS = (
    "loop.sh", "supervisor.sh", "prompts/", "CLAUDE.md", "plans/loop.yaml", "plans/gates.yaml", "src/nanobrag_loop/",
    ".pre-commit-config.yaml", ".gitattributes", ".ci/", ".github/",
)  # fmt: skip
ROUTES = (
    {"when": "parity != green", "allow": ("debug",)},
    {"when": "always", "allow": ("debug", "main")},
)


def _roles() -> dict[str, Role]:
    prompts = {"debug": "prompts/debug.md", "main": "prompts/main.md"}
    return {
        "engineer": Role("reproduce", prompts),
        "supervisor": Role("planner", prompt="prompts/supervisor.md"),
    }


@dataclass(frozen=True)
class Config:
    """Everything in `plans/loop.yaml`.

    branch: the only one the loop works on; mode: "auto", or "review" to park every passing change for a person;
    merge_partial: merge changes that move some gates only; harness: paths no role may change; push: "never" or
    "after-cycle"; env_allow: variables that agents see; wip_limit: items in progress at once; stale_days: an item
    in progress without an attempt for longer is stale; stuck_attempts: as many attempts in a row that change no
    measurement are work in circles.
    """

    schema: int = 1
    ledger: str = "docs/fix_plan.md"
    branch: str = "main"
    mode: str = "auto"
    merge_partial: bool = False
    roles: dict[str, Role] = field(default_factory=_roles)
    agents: dict[str, Agent] = field(default_factory=dict)
    limits: Limits = Limits()
    parity: Parity = Parity()
    routes: tuple[dict[str, Any], ...] = ROUTES
    policy: dict[str, RolePolicy] = field(default_factory=lambda: {"engineer": ENGINEER, "supervisor": SUPERVISOR})
    harness: tuple[str, ...] = HARNESS
    protect: Protect = Protect()
    tests: Tests = Tests()
    files: Files = Files()
    identity: Identity = Identity()
    push: str = "never"
    env_allow: tuple[str, ...] = ("PATH", "HOME", "LANG", "NB_C_BIN", "NBLOOP_REPLAY")
    wip_limit: int = 3
    stale_days: int = 14
    stuck_attempts: int = 3


CHOICES = {
    ("Config", "schema"): (1,),
    ("Config", "mode"): ("auto", "review"),
    ("Config", "push"): ("never", "after-cycle"),
    ("Parity", "unknown"): ("red",),
    ("Agent", "prompt"): ("stdin",),
}


def load(root: Path) -> Config:
    """The settings of the checkout at `root`; the defaults if it has no such file."""
    path = root / CONFIG_FILE
    return parse(path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else "", CONFIG_FILE)


def parse(text: str, where: str = CONFIG_FILE) -> Config:
    """Read and check settings; `ConfigError` names file, line and key of the first mistake."""
    with mistakes(text, where):
        node = yaml.compose(text, Loader=Loader)
        if node is None:
            return Config()
        pairs = _pairs(node, where, "the file")
        if "schema" not in pairs:
            raise ConfigError(f"{where}: expected `schema: 1`")
        if "policy" in pairs:
            _lift_harness(pairs["policy"], node, where)
        return _whole(_build(Config, node, Config(), where, ""), where)


def _whole(config: Config, where: str) -> Config:
    """What no single key shows: each rule is complete, each prompt that it allows has a template, agents can start."""
    prompts = config.roles["engineer"].prompts
    for number, rule in enumerate(config.routes, 1):
        names = rule.get("allow") if isinstance(rule, dict) else None
        listed = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
        if not listed or not isinstance(rule.get("when"), str) or set(rule) != {"when", "allow"}:
            raise ConfigError(f"{where}: routes[{number}]: expected `when` and a list `allow`, got {rule!r}")
        lacking = next((name for name in names if name not in prompts), None)
        if lacking is not None:
            raise ConfigError(f"{where}: routes[{number}]: no template for {lacking!r} in roles.engineer.prompts")
    for name, agent in config.agents.items():
        if not agent.argv or not agent.argv[0]:
            raise ConfigError(f"{where}: agents.{name}.argv: expected a program and its words, got {agent.argv!r}")
    return config


def _lift_harness(policy: yaml.Node, top: yaml.Node, where: str) -> None:
    """`policy.harness` belongs to all roles, so it is read as a key of the file."""
    if "harness" not in _pairs(policy, where, "policy"):
        return
    moved = [entry for entry in policy.value if entry[0].value == "harness"]
    policy.value = [entry for entry in policy.value if entry[0].value != "harness"]
    top.value = [*top.value, *moved]


def _pairs(node: yaml.Node, where: str, name: str) -> dict[str, yaml.Node]:
    """A mapping's values by key; a repeated key is an error."""
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{_place(node, where)}: {name}: expected a mapping, got {shown(node)}")
    pairs: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if key.value in pairs:
            raise ConfigError(f"{_place(key, where)}: {name}: repeated key {key.value!r}")
        pairs[key.value] = value
    return pairs


def _build(kind: Any, node: yaml.Node, default: Any, where: str, name: str) -> Any:
    """A value of the annotated type `kind` from a YAML node; what a mapping leaves out comes from `default`."""
    if is_dataclass(kind):
        return _build_record(kind, node, default, where, name)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is dict:
        before = default if isinstance(default, dict) else {}
        value_kind = arguments[1]
        built = {
            key: _build(value_kind, value, before.get(key), where, f"{name}.{key}")
            for key, value in _pairs(node, where, name).items()
        }
        return {**before, **built} if is_dataclass(value_kind) else built
    if origin is tuple:
        if not isinstance(node, yaml.SequenceNode):
            raise ConfigError(f"{_place(node, where)}: {name}: expected a list, got {shown(node)}")
        return tuple(_build(arguments[0], entry, None, where, f"{name}[{n}]") for n, entry in enumerate(node.value, 1))
    return _scalar(kind, node, where, name)


def _build_record(kind: Any, node: yaml.Node, default: Any, where: str, name: str) -> Any:
    hints = get_type_hints(kind)
    known = {part.name for part in fields(kind)}
    values = {}
    for key, value in _pairs(node, where, name or "the file").items():
        if key not in known:
            listed = ", ".join(sorted(known))
            raise ConfigError(f"{_place(value, where)}: unknown key {key!r} in {name or 'the file'} (known: {listed})")
        base = getattr(default, key, None) if default is not None else None
        values[key] = _build(hints[key], value, base, where, f"{name}.{key}".lstrip("."))
        choices = CHOICES.get((kind.__name__, key))
        if choices and values[key] not in choices:
            wanted = " or ".join(map(repr, choices))
            raise ConfigError(f"{_place(value, where)}: {key}: expected {wanted}, got {values[key]!r}")
    return replace(default, **values) if default is not None else kind(**values)


def _scalar(kind: Any, node: yaml.Node, where: str, name: str) -> Any:
    value = Loader("").construct_object(node, deep=True)
    if kind is Any:
        return tuple(value) if isinstance(value, list) else value
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        expected = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise ConfigError(f"{_place(node, where)}: {name}: expected {expected}, got {shown(node)}")
    if kind in (int, float) and (finite(value) is None or value < 0):
        expected = "no negative number, and a finite one"
        raise ConfigError(f"{_place(node, where)}: {name}: expected {expected}, got {shown(node)}")
    return value


def _place(node: yaml.Node, where: str) -> str:
    return f"{where}:{node.start_mark.line + 1}"
