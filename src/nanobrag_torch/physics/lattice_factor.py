"""Shape transforms of a crystal of Na x Nb x Nc cells, from the distance to the nearest node (part B §7).

Everything takes f = h - round(h) rather than h: sin(πNh)/sin(πh) equals sin(πNf)/sin(πf) up to sign for whole N,
without losing digits at large h.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import plain3
from ..config import CrystalShape
from ..recompute import differentiated
from .singularities import sinc3, sincg

ROUND_SCALE = 0.723601254558268
"""Ratio that gives a round crystal's central peak the volume of a sphere (part B §7)."""
SPOT_SIZE = 0.63
"""Reciprocal-space radius of gauss and tophat spots in units of 1/N (part B §7)."""


MOST_CELLS = 24
"""Whole cells along an axis up to which the grating factor's zeros cost less than a second sine."""


class Lattice(NamedTuple):
    """What the shape transform needs: cells (3,), fudge (), and for gauss and tophat the quadratic form (3, 3)
    whose value at (Δh, Δk, Δl) is the squared radius in units of the spot; the cells once more if they are `few`."""

    cells: Tensor
    fudge: Tensor
    radius_form: Tensor
    few: tuple[int, ...] | None = None

    def to(self, dtype: torch.dtype) -> Lattice:
        """The same in another floating dtype."""
        return Lattice(self.cells.to(dtype), self.fudge.to(dtype), self.radius_form.to(dtype), self.few)


def few(cells: Tensor) -> tuple[int, ...] | None:
    """Cells (3,) as whole numbers if they are small ones, and neither differentiated nor on a device that would have to
    be waited for."""
    if differentiated(cells) or cells.device.type != "cpu":
        return None
    counts = plain3(cells)
    return tuple(map(int, counts)) if all(count <= MOST_CELLS and count == int(count) for count in counts) else None


def radius_form(cells: Tensor, reciprocal_axes: Tensor, *, by_volume: bool) -> Tensor:
    """Quadratic form of the squared spot radius, (3, 3).

    Clean: diag(N²). `by_volume`: the reciprocal metric (1/Å²) times (Na·Nb·Nc)², as the canonical program has it.
    """
    if not by_volume:
        return torch.diag(cells * cells)
    return reciprocal_axes @ reciprocal_axes.T * torch.square(torch.prod(cells))


def lattice_factors(f: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The grating factors sin(πNf)/sin(πf) along a, b, c, each (...), at offsets f (3, ...)."""
    # one axis after the other stays in the processor's cache
    a, b, c = (sincg(along, count) for along, count in zip(f, cells, strict=True))
    return a, b, c


def lattice_factor(shape: CrystalShape, f: Tensor, lattice: Lattice, *, literal_sinc3: bool = False) -> Tensor:
    """F_latt (...) (dimensionless, up to sign) at offsets f (3, ...) from the nearest node in index units."""
    if shape is CrystalShape.SQUARE:
        a, b, c = lattice_factors(f, lattice.cells)
        return a * b * c
    volume = torch.prod(lattice.cells)
    if shape is CrystalShape.ROUND:
        Na, Nb, Nc = lattice.cells
        squared = torch.square(f[0] * Na) + torch.square(f[1] * Nb) + torch.square(f[2] * Nc)
        transform = sinc3(squared * lattice.fudge * math.pi**2, literal=literal_sinc3)
        return volume * ROUND_SCALE * transform
    radius = squared_radius(f, lattice.radius_form)
    if shape is CrystalShape.GAUSS:
        return volume * torch.exp(-(radius / SPOT_SIZE * lattice.fudge))
    inside = radius * lattice.fudge < SPOT_SIZE * SPOT_SIZE
    return volume * inside.to(radius.dtype)


def squared_radius(f: Tensor, form: Tensor) -> Tensor:
    """Value (...) of a symmetric quadratic form (3, 3) at offsets f (3, ...)."""
    x, y, z = f
    return (form[0, 0] * x * x + form[1, 1] * y * y + form[2, 2] * z * z
            + 2.0 * (form[0, 1] * x * y + form[0, 2] * x * z + form[1, 2] * y * z))
