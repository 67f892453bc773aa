"""A workload as simulators: the command's own reading of the words, then one simulator for each run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nanobrag_torch.experiment import Experiment
    from nanobrag_torch.io.structure_factors import StructureFactorTable
    from nanobrag_torch.simulator import Simulator

CELL = ("cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma")
REFINED = (*CELL, "misset_deg", "mosaic_spread_deg")
"""Fields of the crystal of which the loss is a function, beside the distance."""
DERIVATIVES = (*(f"crystal.{name}" for name in CELL), "crystal.mosaic_spread_deg", "crystal.phi_start_deg",
               "detector.distance_mm", "beam.wavelength_A")
"""Parameters of the ten derivative images."""


@dataclass(frozen=True)
class Problem:
    """What a command line describes; its structure factors are read once."""

    experiment: Experiment
    table: StructureFactorTable | None

    @classmethod
    def of(cls, words: Sequence[str], folder: Path) -> Problem:
        """The problem of these words in a folder; `InputError` for anything unusable."""
        from nanobrag_torch.cli.parse import parse
        from nanobrag_torch.cli.prepare import prepare
        from nanobrag_torch.cli.resolve import resolve

        with chdir(folder):
            prepared = prepare(resolve(parse(words)))
        return cls(prepared.experiment, prepared.table)

    def simulator(self, dtype: str, *, compile: str | None = None, device: str = "cpu") -> Simulator:
        """A new simulator."""
        from nanobrag_torch.models import Crystal
        from nanobrag_torch.simulator import Simulator

        experiment = self.experiment
        crystal = Crystal(experiment.crystal, structure_factors=self.table, device=device)
        return Simulator(crystal, experiment.detector, experiment.beam, sampling=experiment.sampling, device=device,
                         dtype=dtype, quirks=experiment.quirks, compile=compile)

    def gradient(self, dtype: str, *, compile: str | None = None) -> tuple[Tensor, list[Tensor]]:
        """A loss of the image, and its gradient with respect to cell, orientation, mosaic spread and distance."""
        simulator = self.simulator(dtype, compile=compile)
        simulator.crystal.refine(*REFINED)
        simulator.detector.refine("distance_mm")
        loss = simulator.run().square().mean()
        loss.backward()
        parameters = (*simulator.crystal.parameters(), *simulator.detector.parameters())
        return loss, [parameter.grad for parameter in parameters]


def samples(simulator: Simulator) -> int:
    """Evaluations of the whole image: pixels, sub-pixels, layers, sources and orientations."""
    return len(simulator.raster) * simulator.choices.steps * simulator.choices.layers
