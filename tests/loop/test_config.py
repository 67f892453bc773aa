"""Settings: defaults, what a file changes, and mistakes named with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobrag_loop.config import Config, load, parse
from nanobrag_loop.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_no_file_and_an_empty_file_give_the_defaults(tmp_path):
    assert load(tmp_path) == parse("") == parse("schema: 1") == Config()
    assert Config().roles["engineer"].agent == "reproduce"


def test_what_is_left_out_keeps_its_default():
    config = parse("""\
schema: 1
roles:
  engineer: {agent: claude}
agents:
  claude: {argv: [claude, -p], events: claude}
limits: {run: {wall_s: 60, usd: 1.5}}
policy:
  engineer: {write: [src/]}
  harness: [loop.sh]
routes:
  - {when: always, allow: [debug]}
""")
    assert config.roles["engineer"].prompts["debug"] == "prompts/debug.md"
    assert config.roles["supervisor"] == Config().roles["supervisor"]
    assert config.agents["claude"].argv == ("claude", "-p")
    assert (config.limits.run.wall_s, config.limits.run.usd, config.limits.run.idle_s) == (60, 1.5, 600)
    assert config.limits.session == Config().limits.session
    assert config.policy["engineer"].write == ("src/",)
    assert config.policy["engineer"].deny == Config().policy["engineer"].deny
    assert config.harness == ("loop.sh",)
    assert config.routes == ({"when": "always", "allow": ("debug",)},)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: 1\nbranhc: x", "plans/loop.yaml:2: unknown key 'branhc'"),
        ("schema: 1\nlimits:\n  run:\n    wall: 3", "plans/loop.yaml:4: unknown key 'wall' in limits.run"),
        ("schema: 1\nroles: {engineer: {agnet: x}}", "unknown key 'agnet' in roles.engineer"),
        ("schema: 1\nlimits: {run: {wall_s: long}}", "limits.run.wall_s: expected a number, got 'long'"),
        ("schema: 1\nlimits: {run: {wall_s: -1}}", "expected no negative number"),
        ("schema: 1\nlimits: {session: {cycles: 1.5}}", "expected a whole number"),
        ("schema: 1\nmerge_partial: maybe", "expected true or false"),
        ("schema: 1\nenv_allow: PATH", "env_allow: expected a list, got 'PATH'"),
        ("schema: 1\nenv_allow: [1]", "env_allow[1]: expected a text"),
        ("schema: 1\nmode: yolo", "mode: expected 'auto' or 'review', got 'yolo'"),
        ("schema: 1\npush: always", "push: expected 'never' or 'after-cycle'"),
        ("schema: 1\nmode: auto\nmode: auto", "plans/loop.yaml:3: the file: repeated key 'mode'"),
        ("schema: 2", "schema: expected 1, got 2"),
        ("branch: main", "expected `schema: 1`"),
        ("- a", "expected a mapping, got a list"),
        ("schema: 1\nx: [", "plans/loop.yaml:2"),
        ("schema: 1\nbranch: &a [*a]", "an alias that holds itself"),
        ("schema: 1\nroutes: [{allow: [debug]}]", "routes[1]: expected `when` and a list `allow`"),
        ("schema: 1\nroutes: [{when: always, allow: 3}]", "routes[1]: expected `when` and a list `allow`"),
        ("schema: 1\nroles: {engineer: {prompts: {main: a.md}}}", "no template for 'debug' in roles.engineer.prompts"),
        ("schema: 1\nagents: {x: {argv: []}}", "agents.x.argv: expected a program and its words"),
        ("schema: 1\nlimits: 5", "limits: expected a mapping, got '5'"),
        ("schema: 1\nbranch: 2026-13-45", "plans/loop.yaml:2: '2026-13-45' is no timestamp"),
        ("schema: 1\nbranch: !!bool perhaps", "plans/loop.yaml:2: 'perhaps' is no bool"),
        ("schema: 1\nbranch: !!python/name:os.system x", "plans/loop.yaml:2: could not determine a constructor"),
        ("schema: 1\n? [a, b]\n: 1", "plans/loop.yaml:2: expected a text as key, got a list"),
        ("schema: 1\n? {a: b}\n: 1", "plans/loop.yaml:2: expected a text as key, got a mapping"),
        ("schema: 1\nagents: {1: {argv: [x]}}", "plans/loop.yaml:2: expected a text as key, got '1'"),
        ("schema: 1\nlimits: {run: {log_mib: .inf}}", "limits.run.log_mib: expected no negative number, and a finite"),
        ("schema: 1\nlimits: {run: {wall_s: .nan}}", "limits.run.wall_s: expected no negative number, and a finite"),
        (f"schema: 1\nlimits: {{run: {{usd: {'9' * 400}}}}}", "limits.run.usd: expected no negative number, and a"),
        (f"schema: 1\nlimits: {{run: {{usd: {'9' * 5000}}}}}", "plans/loop.yaml:2: '9999"),
        ("schema: 1\nledger: '\udcff'", "plans/loop.yaml:2: expected printable text in UTF-8, got b'\\xff'"),
        ('schema: 1\nledger: "\\UFFFFFFFF"', "plans/loop.yaml:2: cannot be read"),
        ('schema: 1\nledger: "a\\0"', "plans/loop.yaml:2: no text may hold NUL"),
        ("schema: 1\nroutes: [{when: always, allow: [[x]]}]", "routes[1]: expected `when` and a list `allow`"),
    ],
)
def test_mistakes_are_named_with_their_place(text, words):
    with pytest.raises(ConfigError) as refusal:
        parse(text)
    assert words in str(refusal.value)
    assert refusal.value.exit_code == 2
    assert "\n" not in refusal.value.line


def test_the_repositorys_own_settings_are_valid():
    config = load(ROOT)
    assert config.branch == "main"
    assert config.push == "never"


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Config().branch = "x"
