#!/usr/bin/env python3
"""An agent for tests: a real program that does what its scenario, a YAML list of actions, says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def replace(path, old, new):
    text = Path(path).read_text()
    assert old in text, f"{old!r} not in {path}"
    Path(path).write_text(text.replace(old, new))


def result(content):
    target = Path(os.environ["NBLOOP_RESULT"])
    target.write_text(content if isinstance(content, str) else json.dumps({"schema": 1, "summary": "done", **content}))


ACTIONS = {
    "write": write,
    "replace": replace,
    "delete": lambda path: shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(),
    "rename": lambda path, to: Path(path).rename(to),
    "artifact": lambda name, text: write(Path(os.environ["NBLOOP_ARTIFACTS"]) / name, text),
    "shell": lambda command: subprocess.run(command, shell=True, check=True),
    "stderr": lambda count: sys.stderr.write("e" * count),
    "print": lambda text: print(text, flush=True),
    "sleep": lambda seconds: time.sleep(seconds),
    "ignore_term": lambda value: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "grandchild": lambda seconds: subprocess.Popen(["sleep", str(seconds)], start_new_session=True),
    "result": result,
    "exit": lambda code: sys.exit(code),
}


def main(scenario: str) -> None:
    sys.stdin.read()
    for action in yaml.safe_load(Path(scenario).read_text()):
        for name, value in action.items():
            if isinstance(value, dict) and name != "result":
                ACTIONS[name](**value)
            else:
                ACTIONS[name](value)


if __name__ == "__main__":
    main(sys.argv[1])
