"""Named workloads, as words that both programs understand."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

REFLECTIONS = "reflections.hkl"
HIGHEST_INDEX = 18
"""Indices of the list run from -18 to 18: 50653 reflections."""
DETECTOR_MM = 102.4
OUTPUTS = "-floatfile float.bin -intfile int.img -nonoise -nopgm"
CRYSTAL = "-cell 70 80 90 75 85 95 -misset 15 20 30 -default_F 100"

_SPREAD = "-mosaic 0.5 -mosaic_domains"
_TABLE = f"-hkl {REFLECTIONS}"
MODES = {
    "plain": "",
    "phi": "-phi 1 -osc 1 -phisteps 10",
    "mosaic": f"{_SPREAD} 10",
    "sources": "-square_div -divergence 2 -hdivsteps 3 -vdivsteps 3",
    "dispersion": "-dispersion 1 -dispsteps 5",
    "subpixels": "-oversample 2",
    "table": f"{_TABLE} -nointerpolate",
    "tricubic": f"{_TABLE} -interpolate -lambda 3",
    "gauss": f"-gauss_xtal {_SPREAD} 10",
    "round": f"-round_xtal {_SPREAD} 10",
    "tophat": f"-tophat_spots {_SPREAD} 10",
    "layers": "-detector_abs 500 -detector_thick 450 -detector_thicksteps 5",
    "roi": "-roi {low} {high} {low} {high}",
}
"""Mode to the words that tell it from a plain run; a region of interest is the middle quarter."""

EAGER = "eager"
"""float64 without compiled kernels."""


class Workload(NamedTuple):
    """Name, words, by variant how often faster than the C program it should at least be, and the most seconds that
    the whole command may take."""

    name: str
    words: tuple[str, ...]
    targets: Mapping[str, float] = {}
    whole_s: float | None = None


def workload(mode: str, size: int) -> Workload:
    """A mode on a square detector of this many pixels."""
    extra = MODES[mode].format(low=size // 4, high=3 * size // 4 - 1)
    return Workload(f"{size}² {mode}", words(size, extra))


def words(size: int, extra: str = "", *, cells: int = 5) -> tuple[str, ...]:
    """A triclinic crystal on a detector of fixed extent; of options given twice the last one holds."""
    base = f"{CRYSTAL} -lambda 1.5 -N {cells} -distance 100 -detpixels {size} -pixel {DETECTOR_MM / size:.9g}"
    return tuple(f"{base} -oversample 1 {extra} {OUTPUTS}".split())


def _target(name: str, size: int, extra: str, float64: float, mixed: float, eager: float | None = None,
            cells: int = 5, whole_s: float | None = None) -> Workload:
    targets = {"float64": float64, "mixed": mixed} | ({} if eager is None else {EAGER: eager})
    return Workload(name, words(size, extra, cells=cells), targets, whole_s)


TABLE = (
    _target("256², 10 phi × 10 domains", 256, f"{MODES['phi']} {_SPREAD} 10", 25, 45, 2.5),
    _target("256², 50 domains", 256, f"{_SPREAD} 50", 22, 40, 2.5),
    _target("256², 45 sources", 256, f"{MODES['sources']} {MODES['dispersion']}", 22, 40, 2.5),
    _target("1024², one direction", 1024, "", 20, 22, 2.5, whole_s=2),
    _target("512², 3×3 sub-pixels, 50k reflections", 512, f"-oversample 3 {MODES['table']}", 14, 17),
    _target("2048², N = 20", 2048, "", 22, 28, 2.5, cells=20),
    _target("256² tricubic", 256, f"{_TABLE} -interpolate -lambda 3 -pixel 0.2", 5.5, 6),
    _target("256² gauss, 50 domains", 256, f"-gauss_xtal {_SPREAD} 50", 15, 20),
    _target("256² round, 50 domains", 256, f"-round_xtal {_SPREAD} 50", 15, 20),
    _target("256² tophat, 50 domains", 256, f"-tophat_spots {_SPREAD} 50", 15, 20),
)
"""Workloads with targets."""


def write_inputs(folder: Path) -> None:
    """The files that workloads read."""
    import numpy as np

    indices = list(product(range(-HIGHEST_INDEX, HIGHEST_INDEX + 1), repeat=3))
    factors = np.random.default_rng(1).uniform(10, 500, len(indices))
    with open(folder / REFLECTIONS, "w") as stream:
        stream.writelines(f"{h} {k} {ell} {factor:.3f}\n"
                          for (h, k, ell), factor in zip(indices, factors, strict=True))
