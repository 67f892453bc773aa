"""What is committed says nothing of the machine that it was made on."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from fake_agent_repo import make_toy

from nanobrag_loop.portable import portable

ROOT = Path("/srv/checkout")
TREE = ROOT / ".nbloop/wt/r1"
RUN = ROOT / ".nbloop/runs/r1"


def rewritten(text: str) -> str:
    return portable([TREE, Path(f"{TREE}-check")], RUN, ROOT).data(text.encode()).decode()


def test_each_place_gets_its_name():
    home, temporary = Path.home(), tempfile.gettempdir()
    assert rewritten(f"{TREE}/tests/test_a.py:3 {TREE}-check/src") == "./tests/test_a.py:3 ./src"
    assert rewritten(f"-o{RUN}/gates/a.json in {ROOT}") == "-o$RUN/gates/a.json in ."
    assert rewritten(f"{sys.prefix}/bin/python, {temporary}/x; {home}/y") == "$PYTHON/bin/python, $TMP/x; ~/y"


def test_what_only_looks_like_one_stays():
    temporary = tempfile.gettempdir()
    for text in (f"tests{temporary}/x", f"{temporary}like/x", f"{ROOT}2/x", "a/b", ""):
        assert rewritten(text) == text


def test_files_are_rewritten_once_and_pictures_never(tmp_path):
    log, picture = tmp_path / "a.log", tmp_path / "a.png"
    log.write_text(f"{TREE}/a\n")
    picture.write_bytes(f"{TREE}/a".encode())
    rules = portable([TREE], RUN, ROOT)
    for _ in range(2):
        rules.files(tmp_path)
        assert log.read_text() == "./a\n"
    assert picture.read_bytes() == f"{TREE}/a".encode()


def test_only_files_of_the_folder_itself_are_touched(tmp_path):
    """An agent's folder may be a link, or hold links, to what is not its own."""
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    for name in ("hard.txt", "soft.txt"):
        (other / name).write_text(f"{TREE}/a\n")
    (own / "hard.txt").hardlink_to(other / "hard.txt")
    (own / "soft.txt").symlink_to(other / "soft.txt")
    (tmp_path / "link").symlink_to(other)
    for folder in (own, tmp_path / "link"):
        portable([TREE], RUN, ROOT).files(folder)
    assert (own / "hard.txt").read_text() == "./a\n"
    assert {path.read_text() for path in other.iterdir()} == {f"{TREE}/a\n"}


def test_a_whole_attempt_leaves_no_path_of_this_machine(tmp_path):
    """The agent's words and files, the gates' commands, the guard's findings."""
    toy = make_toy(tmp_path)
    toy.scenario(
        {"shell": 'pwd > "$NBLOOP_ARTIFACTS/where.log"; git rev-parse --show-toplevel > src/where.txt'},
        {"shell": 'printf \'{"schema": 1, "result": "success", "summary": "in %s", "observations": ["%s"]}\' '
                  '"$PWD" "$HOME/x" > "$NBLOOP_RESULT"'},
        {"delete": "loop.sh"},
    )  # fmt: skip
    toy.loop("run", "--role", "engineer", "--agent", "fake", check=None)
    toy.loop("run", "--role", "engineer", "--agent", "reproduce", check=None)
    names = toy.git("ls-tree", "-r", "--name-only", "main", "reports/").split()
    assert any(name.endswith("where.log") for name in names)
    text = "".join(toy.git("show", f"main:{name}") for name in [*names, "docs/fix_plan.md"])
    for place in (toy.root, tmp_path, Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())):
        assert f"{place}/" not in text
    assert toy.git("show", "main:" + next(name for name in names if name.endswith("where.log"))) == ".\n"
    records = [json.loads(toy.git("show", f"main:{name}")) for name in names if name.startswith("reports/loop/")]
    assert records[1]["gates"][0]["command"] == ["python", "scripts/measure.py", "{out}/error.json"]
    done = subprocess.run([sys.executable, "-m", "nanobrag_loop", "runs", "verify"], cwd=toy.root)
    assert done.returncode == 0
