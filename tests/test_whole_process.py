"""Commands as processes: their status, and what ending them costs."""

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, gc
from nanobrag_torch.process import whole_process

collections = lambda: sum(generation["collections"] for generation in gc.get_stats())

def main():
    global before, kept
    before = collections()
    kept = [[] for _ in range(50_000)]
    return {status}

atexit.register(lambda: print(gc.get_freeze_count() > 50_000, collections() - before))
whole_process(main)
"""


@pytest.mark.parametrize("status", [0, 2])
def test_the_status_is_that_of_the_command_and_its_objects_are_left_alone_at_the_end(status):
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(status=status)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, "True 0\n", "")


@pytest.mark.parametrize("module", ["nanobrag_torch", "nanobrag_torch.batch"])
def test_a_wrong_option_ends_the_process_with_2(module):
    done = subprocess.run([sys.executable, "-m", module, "-wrong"], capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
