"""A small real repository with a bare remote, in which fake agents work on a toy item."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FAKE_AGENT = Path(__file__).with_name("fake_agent.py")
ITEM = "TOY-001"

LEDGER = """\
# Fix Plan Ledger

**Last Updated:** 2026-11-23 (toy)
**Active Focus:** Make the toy add.

## Index
| ID | Title | Priority | Status |
| --- | --- | --- | --- |
| [TOY-001](#toy-001-sums-are-wrong) | Sums are wrong | High | in_progress |

---

## [TOY-001] Sums are wrong
- Spec/AT: README
- Priority: High
- Status: in_progress
- Owner/Date: tester/2026-11-01
- Reproduction (C & PyTorch):
  * C: n/a (toy)
  * PyTorch: `python -m pytest -q tests/test_toy.py`
  * Shapes/ROI: n/a
- First Divergence (if known): n/a
- Attempts History:
- Risks/Assumptions: none
- Exit Criteria:
  * The error of add is ≤ 0.001.
  * Both tests of the toy pass.

---

### Completed Items

---

### Archive
Nothing yet.
"""

GATES = """\
schema: 1
parity-matrix:
  kind: pytest
  argv: [python, -m, pytest, -q, tests/test_parity.py]
  min_passed: 1
  env: &env {PYTEST_DISABLE_PLUGIN_AUTOLOAD: "1"}
items:
  TOY-001:
    - criterion: 1
      kind: metric
      run: [python, scripts/measure.py, "{out}/error.json"]
      json: "{out}/error.json#/error"
      op: "<="
      value: 0.001
    - {criterion: 2, kind: pytest, argv: [python, -m, pytest, -q, tests/test_toy.py], min_passed: 2, env: *env}
"""

# The same two criteria, decided by looking at the source: for tests of the runner, not of gates.
FAST_GATES = """\
schema: 1
items:
  TOY-001:
    - {criterion: 1, kind: text, path: src/toy.py, lacks: "+ 0.5"}
    - {criterion: 2, kind: text, path: src/toy.py, contains: "a * 2"}
"""

FILES = {
    "README.md": "# Toy\n",
    "CLAUDE.md": "# Rules\n\n" + "\n".join(f"- rule {n}" for n in range(30)) + "\n",
    "loop.sh": "#!/bin/sh\necho loop\n",
    ".gitignore": "__pycache__/\n.cache/\n*.img\n",
    "src/toy.py": "def add(a, b):\n    return a + b + 0.5\n\n\ndef scale(a):\n    return a * 3\n",
    "scripts/measure.py": (
        "import json, sys\nfrom toy import add\njson.dump({'error': abs(add(1, 2) - 3)}, open(sys.argv[1], 'w'))\n"
    ),
    "tests/test_toy.py": (
        "from toy import add, scale\n\n\ndef test_add():\n    assert abs(add(1, 2) - 3) < 1e-3\n\n\n"
        "def test_scale():\n    assert abs(scale(2) - 4) < 1e-3\n    assert scale(0) == 0\n"
    ),
    "tests/test_parity.py": "def test_parity():\n    assert 1 + 1 == 2\n",
    "docs/index.md": (
        "# Index\n\n- [Rules](../CLAUDE.md)\n- [Loop](../loop.sh)\n- [Ledger](fix_plan.md)\n- [Index](index.md)\n"
        "- [Evidence](../reports/keep/)\n"
    ),
    "docs/fix_plan.md": LEDGER,
    "docs/fix_plan_archive.md": "# Archive\n\nOlder items.\n",
    "plans/gates.yaml": GATES,
    "reports/keep/a.json": "{}\n",
}


def sh(where: Path, *argv: str, **more) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", **more.pop("env", {})}
    done = subprocess.run(argv, cwd=where, env=env, text=True, capture_output=True, check=False, **more)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def running(pid: int) -> bool:
    """Whether a process is there and not a mere entry that nobody has fetched."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


@dataclass
class Toy:
    """root: the main checkout; remote: the bare repository that it was cloned from."""

    root: Path
    remote: Path

    def git(self, *argv: str) -> str:
        return sh(self.root, "git", *argv)

    def head(self) -> str:
        return self.git("rev-parse", "main").strip()

    def ledger(self) -> str:
        return self.git("show", "main:docs/fix_plan.md")

    def tree_without_ledger(self) -> dict[str, str]:
        """Path -> object of everything on main that is neither ledger nor evidence."""
        rows = (line.split("\t") for line in self.git("ls-tree", "-r", "main").splitlines())
        return {
            name: about
            for about, name in rows
            if not name.startswith(("docs/fix_plan", "docs/archive", "reports/loop", "reports/2"))
        }

    def scenario(self, *actions: dict, name: str = "scenario") -> Path:
        path = self.root.parent / f"{name}.yaml"
        path.write_text(yaml.safe_dump(list(actions)))
        return path

    def loop(self, *argv: str, check: int | None = 0, env: dict | None = None, **more) -> subprocess.CompletedProcess:
        """Run the real command in the checkout."""
        full = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "NBLOOP_REPLAY": str(self.root.parent / "replay"),
            **(env or {}),
        }
        done = subprocess.run(
            [sys.executable, "-m", "nanobrag_loop", *argv],
            cwd=self.root,
            env=full,
            text=True,
            capture_output=True,
            timeout=120,
            **more,
        )
        if check is not None:
            assert done.returncode == check, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def loop_yaml(**changes) -> str:
    """A configuration with short limits and the fake agent."""
    argv = [sys.executable, str(FAKE_AGENT)]
    base = {
        "schema": 1,
        "roles": {
            "engineer": {"agent": "reproduce", "prompts": {"debug": "prompts/debug.md", "main": "prompts/main.md"}}
        },
        "agents": {"fake": {"argv": [*argv, "@SCENARIO@"], "events": "plain"}},
        "limits": {"run": {"wall_s": 60, "idle_s": 15, "after_result_s": 1, "log_mib": 1}},
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(value, dict) and key in base else value
    return yaml.safe_dump(base)


def make_toy(folder: Path, files: dict[str, str] | None = None, **config) -> Toy:
    """A fresh clone of a fresh bare remote."""
    remote, root = folder / "remote.git", folder / "clone"
    sh(folder, "git", "init", "-q", "--bare", "-b", "main", str(remote))
    sh(folder, "git", "clone", "-q", str(remote), str(root))
    sh(root, "git", "switch", "-q", "-c", "main")
    sh(root, "git", "config", "user.name", "Tester")
    sh(root, "git", "config", "user.email", "tester@localhost")
    prompts = {f"prompts/{path.name}": path.read_text() for path in (ROOT / "prompts").glob("*.md")}
    scenario = folder / "scenario.yaml"
    content = {
        **FILES,
        **prompts,
        "plans/loop.yaml": loop_yaml(**config).replace("@SCENARIO@", str(scenario)),
        **(files or {}),
    }
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "loop.sh").chmod(0o755)
    sh(root, "git", "add", ".")
    sh(root, "git", "commit", "-q", "-m", "Toy")
    sh(root, "git", "push", "-q", "-u", "origin", "main")
    return Toy(root, remote)


def recording(toy: Toy, attempt: int, claim: str, edits: dict[str, tuple[str, str]], summary: str) -> None:
    """What an agent once did, as the replay agent expects it: a patch against that attempt's base, a result."""
    folder = toy.root.parent / "replay" / ITEM / str(attempt)
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "notes.txt").write_text(f"attempt {attempt}\n")
    for name, (old, new) in edits.items():
        path = toy.root / name
        path.write_text(path.read_text().replace(old, new))
    patch = subprocess.run(["git", "diff"], cwd=toy.root, capture_output=True, check=True).stdout
    (folder / "change.patch").write_bytes(patch)
    toy.git("checkout", "-q", "--", ".")
    (folder / "result.json").write_text(
        json.dumps({"schema": 1, "result": claim, "summary": summary, "artifacts": ["notes.txt"]})
    )
