"""What may be added to test code while existing tests are frozen, and the ways to switch them off by adding."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import make_trees

from nanobrag_loop.config import Config
from nanobrag_loop.guard import tests

ROOT = Path(__file__).resolve().parents[2]
TOY, NEW = "tests/test_toy.py", "tests/test_new.py"
CONFTEST, NEW_CONFTEST = "tests/conftest.py", "tests/sub/conftest.py"
BASE = {
    "src/toy.py": "TABLE = {}\n\n\ndef add(a, b):\n    return a + b + 0.5\n",
    TOY: '''\
"""The toy."""
import pytest
from toy import add

LIMIT = 1e-3


class Cell:
    edge = 1

    def volume(self):
        return self.edge**3


class Cube(Cell):
    pass


def near(a, b):
    return abs(a - b) < LIMIT


def test_add(golden):
    assert near(add(1, 2), golden)


class TestMore:
    def test_zero(self):
        assert near(add(0, 0), 0)

    def test_volume(self):
        assert Cell().volume() == 1


@pytest.mark.parametrize("n", [1, 2])
def test_many(n):
    assert near(add(n, 0), n)
''',
    CONFTEST: "import pytest\n\n\n@pytest.fixture\ndef golden():\n    return 3\n",
    "tests/shapes.py":
        'import pytest\n\nEDGES = 4\n\n\n@pytest.fixture(name="square")\ndef made():\n    return 4\n',
}  # fmt: skip


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_trees(tmp_path_factory.mktemp("additions"), BASE)


def refused(trees, changed, code="T6"):
    """What is refused in frozen tests, in words."""
    found = [finding for finding in tests.check(trees.pair(changed), Config(), frozen=True) if finding.code == code]
    assert all(finding.severity == "E" and finding.remedy for finding in found)
    return [finding.message for finding in found]


# Each stands at the end of an existing test file.
APPENDED = {
    "the test again under a condition": "if True:\n    def test_add():\n        pass",
    "the test again in an else": "if add is None:\n    pass\nelse:\n    def test_add():\n        pass",
    "the test again as a coroutine": "async def test_add():\n    pass",
    "the test again as a class": "class test_add:\n    pass",
    "the test as a value": "test_add: object = lambda: None",
    "a test from elsewhere": "from more import test_more",
    "a test of another name": "test_less = near",
    "what is tested, under a condition": "if True:\n    add = lambda a, b: a + b",
    "what is tested, in a loop": "for add in [max]:\n    pass",
    "what is tested, in a failed import": "try:\n    from more import add\nexcept ImportError:\n    pass",
    "what is tested, in a context": "with open('/dev/null') as add:\n    pass",
    "what is tested, annotated": "add: object = lambda a, b: a + b",
    "what is tested, with another name": "add, more = max, 1",
    "what is tested, within a value": "more = (add := max)",
    "what is tested, as an import": "import math as add",
    "what is tested, as an import from": "from math import hypot as add",
    "what is tested, as a function": "def add(a, b):\n    return a + b",
    "what is tested, as a class": "class add:\n    pass",
    "what is tested, by star": "from more import *",
    "what is tested, deleted": "del add",
    "a limit made larger": "LIMIT += 1",
    "a helper again": "def near(a, b):\n    return True",
    "a built-in function that a test uses": "def abs(a):\n    return 0",
    "the built-in functions": "__builtins__ = {}",
    "a module that answers for itself": "def __getattr__(name):\n    return max",
    "a patch as a call": "import toy\n\nsetattr(toy, 'add', max)",
    "a patch as an assigned call": "import toy\n\nmore = setattr(toy, 'add', max)",
    "a patch by another name": "import toy\nfrom builtins import setattr as put\n\nmore = put(toy, 'add', max)",
    "a patch by a helper": "import toy\nfrom more import put\n\nmore = put(toy)",
    "a patch by a dictionary": "import toy\n\nmore = vars(toy).update(add=max)",
    "a patch by operator": "import operator\nimport toy\n\nmore = operator.setitem(toy.__dict__, 'add', max)",
    "a patch of modules": "import sys\n\nmore = sys.modules.pop('toy')",
    "a patch of what a module holds": "from toy import TABLE\n\nmore = TABLE.update(a=1)",
    "a patch by the tool": "more = pytest.MonkeyPatch().setattr('toy.add', max)",
    "a patch by mock": "from unittest import mock\n\nmore = mock.patch('toy.add', max).start()",
    "a patch in a decorator": "@(lambda f: __import__('toy').__dict__.update(add=max) or f)\ndef more():\n    pass",
    "a decorator of one's own": "def mend(f):\n    return f\n\n\n@mend\ndef more():\n    pass",
    "a decorator that only looks known": "from more import given\n\n\n@given(1)\ndef test_more():\n    pass",
    "a patch in a default": "def more(x=setattr(__import__('toy'), 'add', max)):\n    pass",
    "a patch in a default of a keyword": "def more(*, x=exec('import toy; toy.add = max')):\n    pass",
    "a patch in an annotation": "def more(x: exec('import toy; toy.add = max')):\n    pass",
    "a patch in an annotation of a name": "more: exec('import toy; toy.add = max') = 1",
    "a patch in what a function returns": "def more() -> exec('import toy; toy.add = max'):\n    pass",
    "a patch in the cases of a test": (
        "@pytest.mark.parametrize('x', [eval('1')])\ndef test_more(x):\n    assert x"),
    "a patch in a function that is called": "import toy\n\n\ndef mend():\n    toy.add = max\n\n\nmore = mend()",
    "a patch in a function, of a dictionary": "import toy\n\n\ndef mend():\n    toy.__dict__.update(add=max)",
    "a patch in a function, of a table": "import toy\n\n\ndef mend():\n    toy.TABLE.clear()",
    "a patch in a function, by setattr": "import toy\n\n\ndef mend():\n    setattr(toy, 'add', max)",
    "a patch in a function, of its own module": "def mend():\n    global add\n    add = max",
    "a patch in a class": "import toy\n\n\nclass More:\n    toy.add = max",
    "a patch in a metaclass": "class More(metaclass=lambda *a: globals().update(add=max)):\n    pass",
    "a patch in a base": "class More(exec('import toy; toy.add = max') or object):\n    pass",
    "an attribute of the test": "test_add.__test__: bool = False",
    "the code of the test": "test_add.__code__: object = (lambda: None).__code__",
    "the code of the test in a function": "def mend():\n    test_add.__code__ = (lambda: None).__code__",
    "a skip by another name": "pytestmark = getattr(pytest.mark, 'sk' + 'ip')",
    "a skip with an annotation": "pytestmark: object = pytest.mark.skip",
    "any mark for the file": "pytestmark = pytest.mark.timeout(1)",
    "a test that is skipped": "@pytest.mark.skip\ndef test_more():\n    pass",
    "a hook": "def pytest_generate_tests(metafunc):\n    pass",
    "a hook under another name": "from more import hook as pytest_generate_tests",
    "plugins": "pytest_plugins: object = ['more']",
    "a function that runs around the tests": "def setup_module():\n    pass",
    "a function that runs around each test": "def setup_function():\n    pass",
    "a fixture in place of another": "@pytest.fixture\ndef golden():\n    return add(1, 2)",
    "a fixture in place of another by its name": "@pytest.fixture(name='golden')\ndef more():\n    return 3.5",
    "a fixture in place of one of pytest": "@pytest.fixture\ndef tmp_path():\n    return 1",
    "a fixture in place of one in another file": "@pytest.fixture\ndef square():\n    return 1",
    "a fixture for every test": "@pytest.fixture(autouse=True)\ndef more():\n    pass",
    "a fixture for every test, spelt otherwise": "@pytest.fixture(**{'auto' + 'use': True})\ndef more():\n    pass",
    "a fixture without a decorator": "more = pytest.fixture(autouse=True)(lambda: None)",
    "a fixture made in a function": "def make():\n    return pytest.fixture(autouse=True)(max)\n\n\nmore = make()",
    "a fixture under another name": "from pytest import fixture as f\n\n\n@f(autouse=True)\ndef more():\n    pass",
    "cases that change the order of tests": (
        "@pytest.mark.parametrize('n', [1], scope='module')\ndef test_more(n):\n    pass"),
    "the inner side of pytest": "import _pytest.python as inner",
}  # fmt: skip


@pytest.mark.parametrize("name", APPENDED)
def test_frozen_tests_cannot_be_switched_off_by_adding(trees, name):
    assert refused(trees, {TOY: f"{BASE[TOY]}\n\n{APPENDED[name]}\n"})


def toy(old, new):
    assert old in BASE[TOY]
    return {TOY: BASE[TOY].replace(old, new, 1)}


CHANGED = {
    "an import less": toy("from toy import add\n", ""),
    "a statement less": toy("LIMIT = 1e-3\n", ""),
    "a constant moved": toy("LIMIT = 1e-3\n", "") | {TOY: toy("LIMIT = 1e-3\n", "")[TOY] + "\n\nLIMIT = 1e-3\n"},
    "a helper less": toy("def near(a, b):\n    return abs(a - b) < LIMIT\n", ""),
    "a helper by another name": toy("def near", "def close"),
    "a helper that returns something else": toy("def near(a, b):", "def near(a, b) -> exec('1'):"),
    "a test with an annotation that runs": toy("def test_add(golden):", "def test_add(golden: exec('1')):"),
    "a test that is no function": toy("def test_add", "async def test_add"),
    "a class of another kind": toy("class Cell:", "class Cell(int):"),
    "a class with a decorator": toy("class TestMore:", "@pytest.mark.usefixtures('golden')\nclass TestMore:"),
    "a class attribute": toy("edge = 1", "edge = 1.0"),
    "a method again": toy("    edge = 1", "    edge = 1\n    volume = edge"),
    "a method that Python calls": toy("    edge = 1", "    edge = 1\n\n    def __eq__(self, _):\n        return True"),
    "a method in place of an inherited one": toy("    pass", "    def volume(self):\n        return 1"),
    "a class that runs something around its tests": toy(
        "    def test_zero", "    def setup_method(self):\n        pass\n\n    def test_zero"),
    "a class that says it is no test": toy("    def test_zero", "    __test__: bool = False\n\n    def test_zero"),
    "a fixture of a class in place of another": toy(
        "    def test_zero", "    @pytest.fixture\n    def golden(self):\n        return 3.5\n\n    def test_zero"),
    "a test before another": toy("def test_add", "def test_early():\n    pass\n\n\ndef test_add"),
    "a method before another": toy("    def test_zero", "    def test_early(self):\n        pass\n\n    def test_zero"),
    "a class of tests before a test": toy("class TestMore", "class TestEarly:\n    pass\n\n\nclass TestMore"),
    "inherited tests before a test": toy("class TestMore", "class Early(Cell):\n    pass\n\n\nclass TestMore"),
    "a file of tests less": {TOY: None},
    "a file of helpers less": {"tests/shapes.py": None},
    "a file of helpers elsewhere": {"tests/shapes.py": None, "tests/sub/shapes.py": BASE["tests/shapes.py"]},
    "a name of a helper again": {"tests/shapes.py": BASE["tests/shapes.py"] + "\nif True:\n    EDGES = 3\n"},
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_frozen_tests_stay_with_all_that_they_use(trees, name):
    assert refused(trees, CHANGED[name])


CONFTESTS = {
    "a hook under a condition": "if True:\n    def pytest_pyfunc_call(pyfuncitem):\n        return True",
    "a hook": "def pytest_pyfunc_call(pyfuncitem):\n    return True",
    "a hook from elsewhere": "from more import pytest_pyfunc_call",
    "a hook under another name": "from more import x as pytest_pyfunc_call",
    "a hook as a value": "pytest_pyfunc_call: object = lambda pyfuncitem: True",
    "a hook from everywhere": "from more import *",
    "tests that are left out": "collect_ignore_glob: object = ['*.py']",
    "a fixture for every test": "import pytest\n\n\n@pytest.fixture(**{'auto' + 'use': True})\ndef mend():\n    pass",
    "a fixture in place of another": "import pytest\n\n\n@pytest.fixture\ndef golden():\n    return 3.5",
    "a fixture in place of one of pytest": "import pytest\n\n\n@pytest.fixture\ndef tmp_path():\n    return 3.5",
    "a fixture in place of another, imported": "from more import golden",
    "a fixture in place of another, by name": "import pytest\n\n\n@pytest.fixture(name='golden')\ndef a():\n    pass",
    "a patch": "import toy\n\nmend = setattr(toy, 'add', max)",
}


@pytest.mark.parametrize("name", CONFTESTS)
@pytest.mark.parametrize("path", [CONFTEST, NEW_CONFTEST])
def test_conftest_cannot_act_on_existing_tests(trees, name, path):
    assert refused(trees, {path: f"{BASE.get(path, '')}\n\n{CONFTESTS[name]}\n"})


NEW_FILES = {
    "a patch": "import toy\n\ntoy.add = max",
    "a patch under a condition": "import toy\n\nif True:\n    toy.add = max",
    "a patch as an assigned call": "import toy\n\n_ = setattr(toy, 'add', max)",
    "a patch by a helper": "import toy\nfrom more import mend\n\n_ = mend(toy)",
    "a patch of an item": "import toy\n\ntoy.TABLE['a'], b = 1, 2",
    "a patch in a loop": "import toy\n\nfor toy.add in [max]:\n    pass",
    "a patch in a test": "import toy\n\n\ndef test_a():\n    toy.add = max",
    "a patch in a test, by deletion": "import toy\n\n\ndef test_a():\n    del toy.add",
    "a patch in a method": "import toy\n\n\nclass TestA:\n    def test_a(self):\n        toy.TABLE['a'] = 1",
    "a patch of the environment": "import os\n\n\ndef test_a():\n    os.environ['A'] = '1'",
    "a patch of Python's path": "import sys\n\nsys.path.insert(0, 'more')",
    "plugins": "pytest_plugins: object = ['more']",
    "plugins from elsewhere": "from more import names as pytest_plugins",
    "a fixture in place of another, to be imported": (
        "import pytest\n\n\n@pytest.fixture(name='golden')\ndef more():\n    return 3.5"),
    "a skip of the file": "import pytest\n\npytestmark = [pytest.mark.skipif(True, reason='later')]",
    "a skip of the file by another name": "import pytest\n\npytestmark = getattr(pytest.mark, 'sk' + 'ip')",
    "a program that runs when it is imported": "__name__ = '__main__'\nif __name__ == '__main__':\n    print()",
    "a statement of another kind": "import toy\n\nassert toy.add(1, 2) == 3",
}


@pytest.mark.parametrize("name", NEW_FILES)
def test_a_new_file_changes_nothing_but_itself(trees, name):
    assert refused(trees, {NEW: NEW_FILES[name] + "\n"})


WRITTEN = '''\
"""More."""
from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from toy import add

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
CASES = {"one": 1, "two": 2, **{str(n): n for n in range(3, 5)}}
FIRST, WORDS = 1, json.dumps([1]).split()
FAR: float = math.hypot(3, 4)
pytestmark = pytest.mark.filterwarnings("ignore:old")


@dataclass(frozen=True)
class Case:
    n: int = 1

    def __str__(self) -> str:
        return str(self.n)


def doubled(values: list[int]) -> list[int]:
    found = []
    for value in values:
        found.append(2 * value)
    return found


@pytest.fixture(scope="module", params=[1, 2])
def start(request) -> Iterator[int]:
    yield request.param


def setup_module():
    doubled([])


@pytest.mark.skipif(FAR > 6, reason="too far")
@pytest.mark.parametrize("n", [n * n for n in range(3)], ids=lambda n: f"n{n}")
def test_more(start, n, monkeypatch, tmp_path):
    monkeypatch.setattr("toy.TABLE", {})
    assert add(start, n) == pytest.approx(start + n + 0.5)


class TestCases:
    @pytest.fixture
    def case(self):
        return Case()

    @pytest.mark.parametrize("name", CASES)
    def test_name(self, name, case):
        case_of = {"n": 1}
        case_of["n"] = CASES[name]
        assert case_of["n"]
'''
FREE = {
    "a new file": {NEW: WRITTEN},
    "a new file of helpers": {"tests/more.py": "def main():\n    return 1\n\n\nSHAPES = {'square': 4}\n"},
    "a new conftest with a fixture": {
        NEW_CONFTEST: "import pytest\n\n\n@pytest.fixture(scope='session')\ndef fresh():\n    return 1\n"},
    "a test at the end": {
        TOY: f"{BASE[TOY]}\n\n@pytest.mark.parametrize('n', [n for n in range(3)], ids=str)\ndef test_more(n):\n"
             "    assert near(add(n, 1), n + 1)\n"},
    "a class at the end": {
        TOY: f"{BASE[TOY]}\n\nclass TestLast:\n    limit = 2\n\n    def setup_method(self):\n        self.a = 1\n\n"
             "    def test_a(self):\n        assert self.a < self.limit\n"},
    "a helper, a constant and a fixture above the tests": toy(
        "def near", "ROOT = pytest.__file__.split('/')\n\n\ndef far(a, b):\n    return not near(a, b)\n\n\n"
                    "@pytest.fixture(scope='module', params=[1])\ndef fresh(request):\n    return request.param\n\n\n"
                    "def near"),
    "imports in another order": toy(
        "import pytest\nfrom toy import add\n", "from math import pi\n\nfrom toy import TABLE, add\nimport pytest\n"),
    "another text": toy('"""The toy."""', '"""The toy, in words."""'),
    "a test by another name": toy("def test_many", "def test_numbers"),
    "a method of a helper, and its test": {
        TOY: BASE[TOY].replace("    edge = 1", "    edge = 1\n\n    def surface(self):\n        return 6")
             + "\n\ndef test_surface():\n    assert Cell().surface() == 6\n"},
}  # fmt: skip


@pytest.mark.parametrize("name", FREE)
def test_tests_are_added_in_the_usual_way(trees, name):
    assert list(tests.check(trees.pair(FREE[name]), Config(), frozen=True)) == []


def test_nearly_every_test_file_of_this_repository_could_be_added(tmp_path):
    """What the others do: fixtures for every test, a search path, a skip of the whole file, `vars`, `getattr`."""
    files = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    found = list(tests.check(make_trees(tmp_path, {"README.md": "x"}).pair(files), Config(), frozen=True))
    paths = {finding.path for finding in found} - {CONFTEST}
    assert len(paths) <= len(files) // 10, [finding.line for finding in found]


def test_the_message_shows_the_statement_and_the_reason(trees):
    (message,) = refused(trees, {TOY: f"{BASE[TOY]}\n\nif True:\n    near = max\n"})
    assert message == "line 40: `if True:` is no import, function, class or plain assignment"
