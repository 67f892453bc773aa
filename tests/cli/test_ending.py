"""A command that is asked to end: by the keyboard, by the system, by its terminal, at the first moment or the last."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WRITING = ["-cell", "50", "-default_F", "1000", "-N", "3", "-detpixels", "1024", "-oversample", "1", "-seed", "1",
           "-nopgm", "-quiet", "-clean"]
REQUESTS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def started(*words: str, **options) -> subprocess.Popen:
    return subprocess.Popen([*words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def hidden(folder: Path) -> list[Path]:
    return list(folder.glob(".*"))


@pytest.mark.parametrize(("number", "status"), REQUESTS)
def test_while_files_are_written_none_is_left(tmp_path, number, status):
    (tmp_path / "floatimage.bin").write_bytes(b"earlier")
    with started(sys.executable, "-m", "nanobrag_torch", *WRITING, cwd=tmp_path) as program:
        while not hidden(tmp_path):
            assert program.poll() is None, program.communicate()
            time.sleep(0.001)
        program.send_signal(number)
        _, stderr = program.communicate(timeout=60)
    assert (program.returncode, stderr) == (status, "nanoBragg: interrupted; no output file was left incomplete\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"floatimage.bin": b"earlier"}


@pytest.mark.parametrize(("number", "status"), REQUESTS)
def test_a_batch_of_which_every_process_is_told(tmp_path, number, status):
    (tmp_path / "b.yaml").write_text("options: {cell: 50, default_F: 10, N: 3, detpixels: 256, oversample: 1}\n"
                                     "series: {phi: {start: 0, step: 1, count: 40}}\n")
    with started(sys.executable, "-m", "nanobrag_torch.batch", "b.yaml", cwd=tmp_path,
                 start_new_session=True) as program:
        while not hidden(tmp_path):
            assert program.poll() is None, program.communicate()
            time.sleep(0.001)
        os.killpg(program.pid, number)
        _, stderr = program.communicate(timeout=60)
    assert program.returncode == status
    assert "the same command makes the others" in stderr.splitlines()[-1]
    assert hidden(tmp_path) == []


def test_a_hangup_that_the_caller_has_ignored(tmp_path):
    with started("nohup", sys.executable, "-m", "nanobrag_torch", *WRITING, cwd=tmp_path) as program:
        while not hidden(tmp_path):
            assert program.poll() is None, program.communicate()
            time.sleep(0.001)
        program.send_signal(signal.SIGHUP)
        program.communicate(timeout=60)
    assert program.returncode == 0
    assert (tmp_path / "noiseimage.img").exists()


@pytest.mark.parametrize("module", ["nanobrag_torch", "nanobrag_torch.batch"])
def test_an_interrupt_while_the_program_is_loaded(module):
    name = {"nanobrag_torch": "nanoBragg", "nanobrag_torch.batch": "nanoBragg-batch"}[module]
    loading = (f"import os, signal, sys\n"
               f"from {module}.__main__ import command\n"
               "def interrupted(event, arguments, imports=iter(range(10**6))):\n"
               "    if event == 'import' and next(imports) == 3:\n"
               "        os.kill(os.getpid(), signal.SIGINT)\n"
               "sys.addaudithook(interrupted)\n"
               "command()\n")
    result = subprocess.run([sys.executable, "-c", loading], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (130, f"{name}: interrupted\n")
