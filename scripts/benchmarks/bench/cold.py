"""cold.py JOB: the steps of the command in a new process, each timed; prints them as JSON.

JOB: words (of the command).
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """Do what the command does, from `import torch` to the files."""
    job = json.loads(sys.argv[1])
    clock = Clock()
    import torch

    clock.lap("import_torch_s")
    from nanobrag_torch.cli.parse import parse
    from nanobrag_torch.cli.prepare import prepare
    from nanobrag_torch.cli.resolve import resolve

    prepared = prepare(resolve(parse(job["words"])))
    simulator = prepared.simulator
    scene = simulator.scene()
    clock.lap("set_up_s")
    simulator.kernels(scene)
    clock.lap("package_load_s")
    with torch.no_grad():
        image = simulator.run()
        clock.lap("kernel_s")
        write(prepared.experiment, simulator, image)
    clock.lap("output_s")
    print(json.dumps(clock.laps | {"compiled": simulator.summary.compiled}))


def write(experiment, simulator, image) -> None:
    """Write the files that the words ask for."""
    from nanobrag_torch.cli.outputs import smv_header, write_outputs

    statistics = simulator.compute_statistics(image)
    for _ in write_outputs(experiment, smv_header(experiment, simulator), image.float().numpy(), statistics):
        pass


class Clock:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        """The time since the last one is this step's."""
        now = time.perf_counter()
        self.laps[name], self.last = now - self.last, now


if __name__ == "__main__":
    from nanobrag_torch.process import whole_process

    whole_process(main)
