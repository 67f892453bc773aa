"""Gates: the file is checked, measurements are real, and only a pass is a pass."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from nanobrag_loop import gates, measure
from nanobrag_loop.errors import ConfigError

HEAD = "schema: 1\n"


@pytest.fixture
def place(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return measure.Place(tree, tmp_path / "out", env, time.time(), timeout_s=60)


def one(place, body: str) -> gates.GateResult:
    book = gates.load(f"{HEAD}items:\n  TOY-001:\n    - {body}\n")
    return measure.evaluate_all(book, book.of("TOY-001"), place)[0]


def write_tests(place, source: str) -> None:
    (place.tree / "test_toy.py").write_text(source)


PYTEST = "{criterion: 1, kind: pytest, argv: [python, -m, pytest, -q, test_toy.py]"


@pytest.mark.parametrize(
    ("source", "more", "state"),
    [
        ("def test_a(): pass\ndef test_b(): pass", "min_passed: 2", "pass"),
        ("def test_a(): pass", "min_passed: 2", "fail"),
        ("def test_a(): assert 0", "", "fail"),
        ("import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('no')", "", "fail"),
        ("import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('no')", "max_skipped: 1", "pass"),
        ("import pytest\n@pytest.mark.xfail\ndef test_a(): assert 0\ndef test_b(): pass", "", "fail"),
        ("import pytest\n@pytest.mark.xfail\ndef test_a(): pass\ndef test_b(): pass", "", "fail"),
        ("import nowhere_to_be_found", "", "error"),
        ("x = 1", "", "fail"),
        ("def test_a(): pass\ndef test_b(): assert 0", "select: test_a", "pass"),
        ("def test_a(): pass", "select: test_none", "fail"),
        ("import os\ndef test_a(): os._exit(0)", "", "error"),
        ("import pytest\n@pytest.fixture\ndef f():\n    yield\n    raise OSError\ndef test_a(f): pass", "", "error"),
        ("import time\ndef test_a(): time.sleep(60)", "timeout_s: 2", "error"),
        ("import os\ndef test_a(): assert os.environ['NB_RUN_PARALLEL'] == '1'", 'env: {NB_RUN_PARALLEL: "1"}', "pass"),
    ],
    ids=["pass", "too-few", "fail", "skip", "skip-allowed", "xfail", "xpass", "collection", "nothing", "select",
         "select-nothing", "exit-0-no-report", "teardown", "timeout", "env"],
)  # fmt: skip
def test_pytest_gate(place, source, more, state):
    write_tests(place, source)
    result = one(place, f"{PYTEST}{', ' + more if more else ''}}}")
    assert result.state == state, result


def test_what_a_test_prints_is_not_believed(place):
    write_tests(place, "def test_a():\n    print('1 passed in 0.01s')\n    assert 0")
    result = one(place, PYTEST + "}")
    assert (result.state, result.counts["passed"], result.counts["failed"]) == ("fail", 0, 1)


METRIC = (
    '{criterion: 1, kind: metric, run: [python, -c, "CODE"], json: "{out}/m.json#/a/corr", op: ">=", value: 0.9995}'
)


@pytest.mark.parametrize(
    ("content", "state", "detail"),
    [
        ('{"a": {"corr": 0.9996}}', "pass", ""),
        ('{"a": {"corr": 0.9995}}', "pass", ""),
        ('{"a": {"corr": 0.9994}}', "fail", ""),
        ('{"a": {"corr": NaN}}', "fail", "not a finite number"),
        ('{"a": {"corr": Infinity}}', "fail", "not a finite number"),
        ('{"a": {"corr": true}}', "fail", "not a finite number"),
        ('{"a": {"corr": "1.0"}}', "fail", "not a finite number"),
        ('{"a": {}}', "fail", "has no /a/corr"),
        ("{broken", "fail", "unreadable"),
        (None, "fail", "was not written"),
    ],
)
def test_metric_gate(place, content, state, detail):
    code = "pass" if content is None else f"open('{place.out}/m.json','w').write(CONTENT)"
    place.env["CONTENT"] = content or ""
    code = code.replace("CONTENT", "__import__('os').environ['CONTENT']")
    result = one(place, METRIC.replace("CODE", code))
    assert result.state == state
    assert detail in result.detail


@pytest.mark.parametrize(
    ("op", "bound", "value", "state"),
    [("<=", "1.5", 1.5, "pass"), ("<=", "1.5", 1.6, "fail"), ("==", "6", 6, "pass"), ("==", "6", 7, "fail"),
     ("within", "[1, 2]", 2, "pass"), ("within", "[1, 2]", 2.1, "fail")],
)  # fmt: skip
def test_operators(place, op, bound, value, state):
    place.out.mkdir()
    (place.out / "m.json").write_text(json.dumps([{"v": value}]))
    assert (
        one(place, f'{{criterion: 1, kind: metric, json: "{{out}}/m.json#/0/v", op: "{op}", value: {bound}}}').state
        == state
    )


def test_a_file_older_than_the_run_does_not_count(place):
    place.out.mkdir()
    old = place.out / "m.json"
    old.write_text('{"v": 1}')
    os.utime(old, (place.started - 60, place.started - 60))
    result = one(place, '{criterion: 1, kind: metric, json: "{out}/m.json#/v", op: ">=", value: 1}')
    assert (result.state, result.detail) == ("fail", "m.json is older than this run")


def test_a_link_out_of_the_folder_does_not_count(place, tmp_path):
    place.out.mkdir()
    (tmp_path / "elsewhere.json").write_text('{"v": 1}')
    (place.out / "m.json").symlink_to(tmp_path / "elsewhere.json")
    result = one(place, '{criterion: 1, kind: metric, json: "{out}/m.json#/v", op: ">=", value: 1}')
    assert result.state == "fail"


@pytest.mark.parametrize(
    ("command", "state"),
    [('[python, -c, "raise SystemExit(77)"]', "unavailable"), ('[python, -c, "raise SystemExit(1)"]', "error"),
     ("[no-such-program-here]", "unavailable")],
)  # fmt: skip
def test_a_metric_whose_command_fails(place, command, state):
    assert (
        one(
            place, f'{{criterion: 1, kind: metric, run: {command}, json: "{{out}}/m.json#/v", op: ">=", value: 1}}'
        ).state
        == state
    )


def test_commands_run_without_a_shell(place):
    result = one(
        place,
        '{criterion: 1, kind: metric, run: [echo, "$(touch hit); touch hit"], '
        'json: "{out}/m.json#/v", op: ">=", value: 1}',
    )
    assert result.state == "fail"
    assert not list(place.tree.iterdir())
    assert "$(touch hit)" in (place.out / "gate-1.log").read_text()


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("{criterion: 1, kind: path, exists: 'a/*.txt'}", "pass"),
        ("{criterion: 1, kind: path, exists: b}", "fail"),
        ("{criterion: 1, kind: path, absent: 'b*'}", "pass"),
        ("{criterion: 1, kind: path, absent: a}", "fail"),
        ("{criterion: 1, kind: path, non_empty: a/one.txt}", "pass"),
        ("{criterion: 1, kind: path, non_empty: a/nil.txt}", "fail"),
        ("{criterion: 1, kind: text, path: a/one.txt, contains: rule}", "pass"),
        ("{criterion: 1, kind: text, path: a/one.txt, contains: 'r.le'}", "fail"),
        ("{criterion: 1, kind: text, path: a/one.txt, lacks: other}", "pass"),
        ("{criterion: 1, kind: text, path: a/one.txt, lacks: rule}", "fail"),
        ("{criterion: 1, kind: text, path: missing.txt, lacks: rule}", "fail"),
        ("{criterion: 1, kind: manual}", "unavailable"),
        ("{criterion: 1, kind: manual, signed: {by: A Person, date: 2026-11-23, reason: looked at it}}", "pass"),
        ("{criterion: 1, kind: path, exists: a, needs: ['file:missing']}", "unavailable"),
        ("{criterion: 1, kind: path, exists: a, needs: ['program:no-such-program']}", "unavailable"),
        ("{criterion: 1, kind: path, exists: a, needs: ['program:git', 'file:a']}", "pass"),
    ],
)
def test_path_text_manual_needs(place, body, state):
    (place.tree / "a").mkdir()
    (place.tree / "a/one.txt").write_text("the rule\n")
    (place.tree / "a/nil.txt").write_text("")
    assert one(place, body).state == state


def test_blob_gate(place):
    (place.tree / "f.c").write_text("int main;\n")
    subprocess.run(["git", "init", "-q"], cwd=place.tree, check=True)
    subprocess.run(["git", "add", "f.c"], cwd=place.tree, check=True)
    digest = measure.sha256_file(place.tree / "f.c")
    by_git = "{criterion: 1, kind: blob, path: f.c, git: ':f.c'}"
    assert one(place, f"{{criterion: 1, kind: blob, path: f.c, sha256: {digest}}}").state == "pass"
    assert one(place, by_git).state == "pass"
    assert one(place, "{criterion: 1, kind: blob, path: f.c, git: 'HEAD:f.c'}").state == "unavailable"
    (place.tree / "f.c").write_text("int main; \n")
    assert one(place, f"{{criterion: 1, kind: blob, path: f.c, sha256: {digest}}}").state == "fail"
    assert one(place, by_git).state == "fail"
    (place.tree / "f.c").unlink()
    (place.tree / "f.c").symlink_to("g.c")
    assert one(place, by_git).state == "fail"


def test_what_a_gate_needs_is_made_once(place):
    text = HEAD + (
        "prepare: [{makes: built, run: [sh, -c, 'echo x >> built']}]\nitems:\n  TOY-001:\n"
        "    - {criterion: 1, kind: path, exists: built, needs: ['file:built']}\n"
        "    - {criterion: 2, kind: text, path: built, contains: x, needs: ['file:built']}\n"
    )
    book = gates.load(text)
    assert gates.all_pass(measure.evaluate_all(book, book.of("TOY-001"), place))
    assert (place.tree / "built").read_text() == "x\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("items: {}", "plans/gates.yaml: expected `schema: 1`"),
        ("[1]", "expected a mapping, got list"),
        ("schema: 1\nitems: [", "plans/gates.yaml:2"),
        ("schema: 1\nschema: 1", "plans/gates.yaml:2: repeated key 'schema'"),
        ("{criterion: 1, kind: hope}", "plans/gates.yaml:4: A-1: kind: expected one of pytest"),
        ("{kind: path, exists: a}", "needs 'criterion'"),
        ("{criterion: 1, kind: path, exist: a}", "unknown key 'exist' for kind path"),
        ("{criterion: 1, kind: path, exists: a, absent: b}", "needs exactly one of"),
        ("{criterion: 1, kind: pytest, argv: pytest -q}", "expected a list of words"),
        ("{criterion: 1, kind: pytest, ref: nothing}", "no shared pytest gate 'nothing'"),
        ("{criterion: 1, kind: metric, json: '{out}/a#/b', op: '>', value: 1}", "op: expected one of"),
        ("{criterion: 1, kind: metric, json: '{out}/a#/b', op: '>=', value: .nan}", "expected a number"),
        ("{criterion: 1, kind: metric, json: 'a.json#/b', op: '>=', value: 1}", "expected {out}/FILE#/POINTER"),
        ("{criterion: 0, kind: path, exists: a}", "expected the number of a bullet"),
        ("{criterion: 1, kind: path, exists: a, needs: gpu}", "expected cuda, file:PATH"),
        ("{criterion: 1, kind: manual, signed: {by: me}}", "expected by, date and reason"),
        ("{criterion: 1, kind: pytest, argv: [a], min_passed: -1}", "expected a whole number"),
        ("{criterion: 1, kind: [path], exists: a}", "plans/gates.yaml:4: A-1: kind: expected one of pytest"),
        ("{criterion: 1, kind: path, exists: a, 1: b}", "plans/gates.yaml:4: expected a text as key, got '1'"),
        ("{criterion: 1, kind: path, exists: /etc/passwd}", "exists: expected a path inside the checkout"),
        ("{criterion: 1, kind: path, absent: a/../../b}", "absent: expected a path inside the checkout"),
        ("{criterion: 1, kind: path, non_empty: ''}", "non_empty: expected a path inside the checkout"),
        ("{criterion: 1, kind: path, exists: 'a/**b'}", "exists: expected a path inside the checkout"),
        ("{criterion: 1, kind: text, path: [1], lacks: a}", "path: expected a path inside the checkout, got [1]"),
        ("{criterion: 1, kind: text, path: a, lacks: 4}", "lacks: expected a text"),
        ('{criterion: 1, kind: text, path: "a\\0b", lacks: a}', "plans/gates.yaml:4: no text may hold NUL"),
        ("{criterion: 1, kind: pytest, ref: [a]}", "ref: expected a text"),
        ("{criterion: 1, kind: pytest, argv: [a], timeout_s: abc}", "timeout_s: expected a number of seconds"),
        ("{criterion: 1, kind: pytest, argv: [a], timeout_s: 0}", "timeout_s: expected a number of seconds"),
        ("{criterion: 1, kind: pytest, argv: [a], env: {A=B: c}}", "env: expected NAME: a text or a number"),
        ("{criterion: 1, kind: metric, json: '{out}/a#/b', op: [1], value: 1}", "op: expected one of >="),
        ("{criterion: 1, kind: metric, json: '{out}/a#/b', op: within, value: 1}", "value: expected two numbers"),
        ("{criterion: 1, kind: metric, json: '{out}/a#/b', op: '==', value: [1, 2]}", "value: expected a number"),
        (f"{{criterion: 1, kind: metric, json: '{{out}}/a#/b', op: '==', value: {'9' * 400}}}", "expected a number"),
        ("{criterion: 1, kind: metric, json: '{out}/a#/b', op: '==', value: 1, noise: x}", "noise: expected a number"),
        ("{criterion: 1, kind: metric, json: '{out}/a#/b', op: '==', value: 1, noise: -1}", "noise: expected a number"),
        ("schema: 1\n# \udcff", "plans/gates.yaml:2: expected printable text in UTF-8"),
        ("schema: 1\nprepare: [{makes: [a], run: [b]}]", "plans/gates.yaml:2: prepare: makes: expected a path"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file_are_named(text, message):
    with pytest.raises(ConfigError) as caught:
        gates.load(f"{HEAD}items:\n  A-1:\n    - {text}" if text.startswith("{") else text)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_reference_takes_the_shared_gate_and_adds_to_it():
    book = gates.load(
        HEAD + "parity-matrix: {kind: pytest, argv: [python, -m, pytest], min_passed: 20}\nitems:\n"
        "  A-1:\n    - {criterion: 3, kind: pytest, ref: parity-matrix, select: x, min_passed: 4}\n"
    )
    options = book.of("A-1")[0].options
    assert (options["argv"], options["select"], options["min_passed"]) == (("python", "-m", "pytest"), "x", 4)
    assert book.of("parity-matrix")[0].id == "parity-matrix"
    assert book.of("B-2") == ()


def test_a_gate_may_take_over_another_ones_keys():
    entries = "    - &one {criterion: 1, kind: path, exists: a}\n    - {<<: *one, criterion: 2}\n"
    book = gates.load(f"{HEAD}items:\n  A-1:\n{entries}")
    assert [(gate.criterion, gate.options["exists"]) for gate in book.of("A-1")] == [(1, "a"), (2, "a")]


def test_a_key_that_is_taken_over_twice_is_not_repeated():
    first = "    - &one {criterion: 1, kind: path, exists: a}\n    - &two {<<: *one, exists: b}\n"
    book = gates.load(f"{HEAD}items:\n  A-1:\n{first}    - {{<<: *two, criterion: 2}}\n")
    assert [gate.options["exists"] for gate in book.of("A-1")] == ["a", "b", "b"]


def result(gate, state, value=None, **more):
    return gates.GateResult(gate, "metric", gate, state, value=value, op=">=", threshold=48, **more)


def test_comparison_with_the_base():
    base = [result("a", "pass"), result("b", "fail", 43), result("c", "unavailable")]
    now = gates.with_base(
        [result("a", "unavailable"), result("b", "pass", 48), result("c", "error"), result("d", "pass")], base
    )
    assert gates.regressions(now) == ["a"]
    assert gates.improvements(now) == ["b"]
    assert [row.base_value for row in now] == [None, 43, None, None]


@pytest.mark.parametrize(
    ("before", "after", "noise", "nearer"),
    [
        (43, 45, 0, True),
        (43, 45, 2, False),
        (45, 43, 0, False),
        (None, 45, 0, False),
        (48, 49, 0, False),
        (43, 48, 0, True),
    ],
)
def test_nearer_to_the_threshold(before, after, noise, nearer):
    assert gates.closer(result("a", "fail", after, base_value=before, noise=noise)) is nearer


def test_nothing_measured_is_no_pass():
    assert not gates.all_pass([])


def test_results_survive_the_record():
    before = result("a", "fail", 0.0, noise=0.5, unit="x", counts={"passed": 1}, command=("a", "b"))
    after = gates.GateResult.from_dict(json.loads(json.dumps(before.as_dict())))
    assert (after.value, after.noise, after.unit, tuple(after.command)) == (0.0, 0.5, "x", ("a", "b"))
