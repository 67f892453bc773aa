"""Modules of torch that commands never use: left out of their start, there when asked for."""

import subprocess
import sys
from importlib import metadata

import pytest

from nanobrag_torch import deferred

pytestmark = pytest.mark.skipif(metadata.version("torch").partition("+")[0] not in deferred.CHECKED,
                                reason="modules are deferred in versions of torch that were checked")

PROGRAM = """
import sys
from nanobrag_torch.process import whole_process

def executed(name):
    return any(not known.startswith("__") for known in vars(sys.modules[name]))

def main():
    {steps}

whole_process(main)
"""
COMMAND = """
    from nanobrag_torch.cli.main import main
    from nanobrag_torch.deferred import UNUSED
    words = "-cell 100 100 100 90 90 90 -default_F 10 -lambda 1 -distance 100 -N 5 -detpixels 32 -quiet {}"
    status = main(words.split())
    print([name for name in UNUSED if executed(name)])
    return status
"""
ASKED_FOR = """
    import torch
    print([executed(name) for name in ("torch.export", "torch.distributions", "torch._meta_registrations")])
    from torch.export import Dim
    print(Dim("pixels").__name__, torch.distributions.Normal(torch.tensor(1.0), 2.0).mean.item())
    print(torch.nn.quantized.Linear.__name__, hasattr(torch.export, "nonsense"))
    print(torch._meta_registrations.meta_fill.__name__)
"""


def printed(steps: str, folder) -> list[str]:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM.format(steps=steps.strip())],
                          capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("options", ["-floatfile image.bin -noisefile noise.img", "-compile off -pgmfile image.pgm",
                                     "-oversample 2 -mosaic_spread 1 -mosaic_domains 3 -dtype mixed"])
def test_commands_execute_none_of_them(tmp_path, options):
    assert printed(COMMAND.format(options), tmp_path) == ["[]"]


def test_they_are_there_when_asked_for(tmp_path):
    assert printed(ASKED_FOR, tmp_path) == [
        "[False, False, False]", "pixels 1.0", "Linear False", "meta_fill"]


def test_torch_is_imported_whole_in_a_version_that_was_not_checked(monkeypatch):
    before = list(sys.meta_path)
    monkeypatch.setattr(deferred, "CHECKED", ())
    deferred.defer_unused()
    assert sys.meta_path == before
