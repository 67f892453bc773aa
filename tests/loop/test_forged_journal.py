"""An agent that kills its runner and writes the journal in its place: `--resume` merges nothing on its word."""

from __future__ import annotations

import json
import signal
import sys
import time

import pytest
from fake_agent_repo import FAST_GATES, ITEM, make_toy

from nanobrag_loop import runs

PASSED = [
    {"gate": f"{ITEM}#{n}", "kind": "text", "title": "t", "state": "pass", "criterion": n, "base_state": "fail"}
    for n in (1, 2)
]
GOOD = {
    "escapes": [],
    "findings": [],
    "gates": PASSED,
    "claim_problem": "",
    "block": "",
    "result": "success",
    "criteria": 2,
    "claim": {"result": "success", "summary": "all mended"},
    "outcome": {"ended": "exited", "exit_code": 0, "wall_s": 1.0, "tokens": None, "usd": None, "left": [],
                "survivors": []},
    "decision": {"result": "success", "reason": "every gate passes", "merge": True, "close": True, "progress": True},
}  # fmt: skip

# What the agent leaves running: it ends the runner, commits what it likes beside the branch, writes the journal.
FORGE = """\
import json, os, signal, subprocess, sys, time
from contextlib import suppress
from pathlib import Path
folder = Path(os.environ["NBLOOP_RESULT"]).parent
git = lambda *words, **more: subprocess.check_output(["git", *words], text=True, **more).strip()
common = Path(git("rev-parse", "--path-format=absolute", "--git-common-dir"))
runner = json.loads((common / "nbloop.lock").read_text())["pid"]
journal = json.loads((folder / "run.json").read_text())
facts = json.loads(Path(sys.argv[1]).read_text())
for name, text in facts.pop("files").items():
    Path(name).unlink() if text is None else Path(name).write_text(text)
for command in facts.pop("commands"):
    subprocess.run(command, shell=True, check=True, cwd=common.parent)
index = {**os.environ, "GIT_INDEX_FILE": str(folder / "forged")}
git("add", "-A", env=index)
tree = git("write-tree", env=index)
commit = git("commit-tree", tree, "-p", "HEAD", "-m", "mine")
(folder / "result.json").write_text('{"schema": 1, "result": "success", "summary": "all mended"}')
os.kill(runner, signal.SIGKILL)
with suppress(OSError):  # gone between two looks, or while it is read
    while Path(f"/proc/{runner}/cmdline").read_bytes():
        time.sleep(0.02)
text = json.dumps({**journal, **facts})
for word, name in {"@TREE": tree, "@COMMIT": commit, "@BASE": journal["base"]}.items():
    text = text.replace(word, name)
(folder / "run.json").write_text(text)
Path(sys.argv[1] + ".done").touch()
"""

FAULTY = {"src/toy.py": "# nothing is mended\n", "loop.sh": None}
HARMLESS = {"docs/notes.md": "x\n"}
TEST = {"tests/test_toy.py": "def test_add():\n    assert True\n\n\ndef test_scale():\n    assert True\n"}
MENDED = {"src/toy.py": "def add(a, b):\n    return a + b\n\n\ndef scale(a):\n    return a * 2\n"}
LOOSE = FAST_GATES.replace("+ 0.5", "+ 9.9").replace("a * 2", "a * 3")
FILTER = "git config filter.x.smudge \"sed -e 's/ + 0.5//' -e 's/a . 3/a * 2/'\""
ATTRIBUTES = "echo '*.py filter=x' > .git/info/attributes"

# name: files, journal, commands in the main checkout
FORGERIES = {
    "a decision": (FAULTY, {"phase": "decided", "tree": "@TREE", "paths": list(FAULTY)}, []),
    "gates": (FAULTY, {"phase": "gated", "tree": "@TREE", "paths": list(FAULTY)}, []),
    "no changed paths": (FAULTY, {"phase": "guarded", "tree": "@TREE", "paths": []}, []),
    "a commit": (
        FAULTY,
        {"phase": "committed", "tree": "@TREE", "paths": list(FAULTY), "head": "@COMMIT", "tip": "@BASE"}, []),
    "a merge": (FAULTY, {"phase": "merged", "tree": "@TREE", "paths": list(FAULTY), "head": "@COMMIT"}, []),
    "a base with other gates": (
        {"plans/gates.yaml": LOOSE}, {"phase": "collected", "tree": "@TREE", "base": "@COMMIT", "paths": []}, []),
    "a route that thaws tests": (
        {**MENDED, **TEST}, {"phase": "collected", "tree": "@TREE", "route": {"name": "any"}}, []),
    "a checkout that shows something else": (HARMLESS, {"phase": "collected", "tree": "@TREE"}, [FILTER, ATTRIBUTES]),
    "where the branch was": (
        FAULTY, {"phase": "running", "before": {"refs": {"refs/heads/main": "@COMMIT"}, "files": {}, "status": {},
                 "head": "", "memory": {}, "worktrees": [], "user": {}, "damage": []}}, []),
    "an item that is none": (FAULTY, {"phase": "decided", "tree": "@TREE", "item": "../../NONE-1"}, []),
    "a tree that is none": (FAULTY, {"phase": "decided", "tree": "1" * 40}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forged(tmp_path, name):
    toy = make_toy(tmp_path, {"plans/gates.yaml": FAST_GATES})
    files, journal, commands = FORGERIES[name]
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps({**GOOD, **journal, "files": files, "commands": commands}))
    (tmp_path / "forge.py").write_text(FORGE)
    daemon = f"setsid {sys.executable} {tmp_path}/forge.py {facts} < /dev/null > {tmp_path}/forge.log 2>&1 &"
    toy.scenario({"shell": daemon}, {"sleep": 20})
    before, head = toy.tree_without_ledger(), toy.head()
    assert toy.loop("run", "--role", "engineer", "--agent", "fake", check=None).returncode == -signal.SIGKILL
    end = time.monotonic() + 20
    while not facts.with_name("facts.json.done").exists():
        assert time.monotonic() < end, (tmp_path / "forge.log").read_text()
        time.sleep(0.05)

    done = toy.loop("run", "--resume")
    assert toy.tree_without_ledger() == before, done.stderr
    assert "- Status: in_progress" in toy.ledger()
    run = runs.find(toy.root, "last")
    assert run.finished
    commits = {"failed": "1", "aborted": "0"}[run.journal["result"]]
    assert toy.git("rev-list", "--count", f"{head}..main").strip() == commits
    assert not list((toy.root / ".nbloop").glob("wt/*"))
    assert "Traceback" not in done.stderr
