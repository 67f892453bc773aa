"""Programs under limits: real programs, ended for real."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nanobrag_loop.agents.process import Identity, RunLimits, Usage, Watcher, identity, members, run

LIMITS = RunLimits(wall_s=20, kill_grace_s=0.3)


class Case:
    def __init__(self, folder: Path):
        self.folder = folder
        self.log = folder / "log"

    def run(self, code: str, limits: RunLimits = LIMITS, argv: list[str] | None = None, **more):
        with self.log.open("wb") as log:
            return run(
                argv or [sys.executable, "-c", code],
                cwd=self.folder,
                env=dict(os.environ),
                marker=f"test-{self.folder.name}",
                limits=limits,
                log=log,
                **more,
            )


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


@pytest.mark.parametrize("code", [0, 3])
def test_exit_code(case, code):
    outcome = case.run(f"print('hello'); raise SystemExit({code})")
    assert (outcome.ended, outcome.exit_code) == ("exited", code)
    assert case.log.read_bytes() == b"hello\n"


def test_wall_limit(case):
    outcome = case.run(
        "import time\nwhile True: print('.', flush=True); time.sleep(0.05)", RunLimits(wall_s=0.8, kill_grace_s=0.3)
    )
    assert outcome.ended == "wall"
    assert outcome.exit_code < 0
    assert outcome.wall_s < 5


def test_idle_limit_counts_from_the_last_byte(case):
    code = "import time\nfor _ in range(8): print('.', flush=True); time.sleep(0.2)\ntime.sleep(60)"
    outcome = case.run(code, RunLimits(wall_s=30, idle_s=1.5, kill_grace_s=0.3))
    assert outcome.ended == "idle"
    assert outcome.output_bytes == 16


def test_hanging_after_the_result_file(case):
    result = case.folder / "result.json"
    code = f"import time; open({str(result)!r}, 'w').write('{{}}'); time.sleep(60)"
    outcome = case.run(code, RunLimits(wall_s=30, after_result_s=0.4, kill_grace_s=0.3), watcher=Watcher(result))
    assert outcome.ended == "after-result"
    assert result.read_text() == "{}"


def test_a_program_that_ignores_term_is_killed(case):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    outcome = case.run(code, RunLimits(wall_s=30, idle_s=0.5, kill_grace_s=0.3))
    assert outcome.exit_code == -9
    assert outcome.survivors == ()


@pytest.mark.parametrize("own_session", [False, True], ids=["in the group", "in a session of its own"])
def test_a_grandchild_that_holds_the_output_is_ended(case, own_session):
    code = (
        "import subprocess, sys\n"
        "wait = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        f"child = subprocess.Popen(wait, start_new_session={own_session})\n"
        "print(child.pid, flush=True)"
    )
    outcome = case.run(code)
    grandchild = int(case.log.read_text())
    assert outcome.ended == "exited"
    assert outcome.left == (grandchild,)
    assert outcome.survivors == ()
    assert grandchild not in members(-1, f"test-{case.folder.name}")
    assert outcome.wall_s < 6


def test_an_orphan_with_a_cleared_environment_is_ended(case):
    """Neither its group nor its environment tells whose it is: its descent does."""
    code = (
        "import os, subprocess, sys\n"
        "wait = [sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(60)']\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0: os.execve(sys.executable, wait, {})\n"
        "    os._exit(0)\n"
        "os.wait()"
    )
    outcome = case.run(code)
    orphan = int(case.log.read_text())
    assert outcome.left == (orphan,)
    assert outcome.survivors == ()
    assert not Path(f"/proc/{orphan}").exists()


def test_other_children_of_the_runner_are_left_alone(case):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    outcome = case.run("print('hello')")
    assert outcome.left == ()
    assert other.poll() is None
    other.kill()
    other.wait()


def test_much_on_stderr_does_not_block(case):
    outcome = case.run("import sys; sys.stderr.write('e' * 200_000); sys.stderr.flush(); print('done')")
    assert outcome.ended == "exited"
    assert outcome.output_bytes == 200_005


def test_fifty_megabytes_are_read_through(case):
    outcome = case.run("import sys\nfor _ in range(50): sys.stdout.buffer.write(b'x' * 1_000_000)")
    assert (outcome.ended, outcome.output_bytes) == ("exited", 50_000_000)


def test_log_limit_ends_the_program_and_caps_the_file(case):
    outcome = case.run(
        "import sys\nwhile True: sys.stdout.write('y' * 1000)",
        RunLimits(wall_s=20, log_bytes=100_000, kill_grace_s=0.3),
    )
    assert outcome.ended == "log"
    assert case.log.stat().st_size == 100_000


def test_bytes_that_are_no_text(case):
    lines = []

    class Collect(Watcher):
        def feed(self, line):
            lines.append(line)

    outcome = case.run(r"import sys; sys.stdout.buffer.write(b'a\xff\x00b\r\nlast')", watcher=Collect())
    assert outcome.ended == "exited"
    assert lines == ["a\ufffd\x00b", "last"]
    assert case.log.read_bytes() == b"a\xff\x00b\r\nlast"


def test_output_closed_early(case):
    outcome = case.run("import os, time; os.close(1); os.close(2); time.sleep(0.5)")
    assert (outcome.ended, outcome.exit_code) == ("exited", 0)
    assert outcome.wall_s > 0.4


def test_the_prompt_is_read_to_its_end(case):
    prompt = case.folder / "prompt.md"
    prompt.write_text("p" * 300_000)
    case.run("import sys; print(len(sys.stdin.read()))", stdin=prompt)
    assert case.log.read_text() == "300000\n"


def test_no_prompt_is_an_empty_one(case):
    case.run("import sys; print(repr(sys.stdin.read()))")
    assert case.log.read_text() == "''\n"


@pytest.mark.parametrize("name", ["missing", "not-executable"])
def test_a_program_that_cannot_start(case, name):
    (case.folder / "not-executable").write_text("text")
    outcome = case.run("", argv=[str(case.folder / name)])
    assert outcome.ended == "not-started"
    assert name in outcome.detail


@pytest.mark.parametrize("limit", ["tokens", "usd"])
def test_usage_limits(case, limit):
    class Spend(Watcher):
        def feed(self, line):
            setattr(self.usage, limit, 11)

    outcome = case.run(
        "import time; print('spent', flush=True); time.sleep(60)",
        RunLimits(wall_s=30, kill_grace_s=0.3, **{limit: 10}),
        watcher=Spend(),
    )
    assert outcome.ended == limit
    assert outcome.usage == Usage(**{limit: 11})


def test_stop(case):
    begin = time.monotonic()
    outcome = case.run("import time; time.sleep(60)", stop=lambda: time.monotonic() - begin > 0.5)
    assert outcome.ended == "stop"


def test_an_exception_of_the_caller_leaves_no_process(case):
    seen = []

    def interrupt(who):
        seen.append(who)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.run("import time; time.sleep(60)", started=interrupt)
    assert not seen[0].alive()


def test_identity_is_pid_and_start_time():
    mine = identity(os.getpid())
    assert mine.alive()
    assert not Identity(mine.pid, mine.started + 1).alive()
