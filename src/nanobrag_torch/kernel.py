"""The physics of a chunk: pixels x directions to photons, as pure functions of tensors (part B §§3 to 8).

Shapes: P pixels, S sources, M orientations of each source (phi steps x mosaic domains).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .config import CrystalShape
from .geometry import dot, norm
from .models.detector import deflection, pixel_positions, solid_angle
from .physics.absorption import capture_fraction
from .physics.lattice_factor import lattice_factor
from .physics.polarization import polarization
from .physics.singularities import sincg_product_squared
from .physics.structure_factor import FEWEST_NODES, nearest_factor, tricubic_factor, within_tricubic_range
from .recompute import differentiated
from .scene import Choices, Directions, Scene

FEWEST_DIRECTIONS = 4
"""Directions from which a matrix product gives indices; its order of additions depends on the numbers of both."""
TILE_ELEMENTS = 2**18
"""Pixels x directions summed at once: their phases along one axis stay in the processor's cache, and operations are
long beside what threads wait for each other between them."""


class Pass(NamedTuple):
    """One sub-pixel of one sensor layer, the outer loops of the sum."""

    layer: int
    sub_slow: int
    sub_fast: int


class Aim(NamedTuple):
    """Where P pixels look: coordinates m, as given to `aim`, position (P, 3) m, air path (P,) m, unit direction (P, 3),
    the same from the origin of `Directions` (P, 3), solid angle (P,) sr, captured fraction (P,)."""

    fast_m: Tensor
    slow_m: Tensor
    position: Tensor
    airpath: Tensor
    diffracted: Tensor
    bearing: Tensor
    omega: Tensor
    capture: Tensor


class Indices(NamedTuple):
    """Fractional Miller indices h, k, l, their nearest nodes, and the offsets from those, all (3, P, J).

    Pixels lie side by side in memory, whatever the number of directions.
    """

    hkl: Tensor
    nodes: Tensor
    offsets: Tensor


def passes(choices: Choices) -> list[Pass]:
    """Loop order: layer outermost, then sub-pixel slow, then fast."""
    subs = range(choices.oversample)
    return [Pass(layer, slow, fast) for layer in range(choices.layers) for slow in subs for fast in subs]


def aim(scene: Scene, choices: Choices, slow: Tensor, fast: Tensor, step: Pass) -> Aim:
    """Geometry of pixels (whole numbers in a float dtype) at one sub-pixel and layer (part B §§3.4 to 3.7).

    The numbers are (P,), or a column of slow and a row of fast ones: the pixels of whole rows.
    """
    geometry = scene.geometry
    sub_size = geometry.pixel_size / choices.oversample
    if choices.oversample > 1:
        fast, slow = fast * choices.oversample + step.sub_fast, slow * choices.oversample + step.sub_slow
    fast_m, slow_m = sub_size * fast + sub_size / 2.0, sub_size * slow + sub_size / 2.0
    position = pixel_positions(geometry, fast_m, slow_m, step.layer, curved=choices.curved,
                               by_lab=choices.quirks.curved_detector)
    airpath = norm(position)
    diffracted = position / airpath[..., None]
    if choices.absorbing:
        capture = capture_fraction(step.layer, geometry.layer_depth, geometry.attenuation,
                                   parallax(scene, choices, diffracted))
    else:
        capture = torch.ones_like(airpath)
    omega = solid_angle(geometry, airpath, point_pixel=choices.point_pixel, facing=_facing(choices))
    bearing = diffracted
    if choices.about_beam(diffracted.dtype):
        bearing = deflection(geometry, fast_m, slow_m, step.layer, position, airpath, curved=choices.curved)
    position, diffracted, bearing = (vectors.flatten(0, -2) for vectors in (position, diffracted, bearing))
    return Aim(fast_m, slow_m, position, airpath.flatten(), diffracted, bearing, omega.flatten(), capture.flatten())


def parallax(scene: Scene, choices: Choices, diffracted: Tensor) -> Tensor:
    """Cosine (...) of unit directions (..., 3) to the detector's normal (part B §3.7)."""
    return torch.ones_like(diffracted[..., 0]) if _facing(choices) else dot(diffracted, scene.geometry.odet)


def _facing(choices: Choices) -> bool:
    """Whether every pixel faces the crystal."""
    return choices.curved and not choices.quirks.curved_detector


def polarization_factors(scene: Scene, choices: Choices, diffracted: Tensor) -> Tensor:
    """Polarisation of every source at unit directions (P, 3): (P, S)."""
    if choices.unpolarized:
        return torch.ones(len(diffracted), len(scene.polar_forms), dtype=diffracted.dtype, device=diffracted.device)
    return polarization(diffracted, scene.polar_forms)


def kept_rays(scene: Scene, diffracted: Tensor) -> Tensor:
    """(P, S) bool: rays whose spacing 1/|q| is not below dmin (part B §6.4)."""
    q = (diffracted[:, None, :] - scene.sources.incident) / scene.sources.wavelength[:, None]
    stol = 0.5 * norm(q)
    return ~((stol > 0) & (scene.dmin_m * stol > 0.5))


def miller_indices(bearing: Tensor, directions: Directions, work: torch.dtype) -> Indices:
    """h, k, l of bearings (P, 3) for J = S·M folded directions; offsets in the working dtype (part B §6.1).

    The nearest node of a tie is the lower one.
    """
    maps = directions.maps.reshape(-1, 3, 3).transpose(0, 1).reshape(-1, 3)
    shift = directions.shift.reshape(-1, 3).T.reshape(-1, 1)
    if len(maps) < 3 * FEWEST_DIRECTIONS:
        a, b, c = maps.split(1, dim=1)
        x, y, z = bearing.T
        flat = torch.addcmul(torch.addcmul(torch.addcmul(shift, a, x), b, y), c, z)
    else:
        flat = torch.addmm(shift, maps, bearing.T)
    hkl = flat.reshape(3, -1, len(bearing)).transpose(1, 2)
    nodes = torch.ceil(hkl - 0.5)
    return Indices(hkl, nodes, (hkl - nodes).to(work))


def half_turns(bearing: Tensor, directions: Directions) -> Iterator[Tensor]:
    """πh, πk and πl in turn, each (P, J) and a new tensor: an axis at a time stays in the processor's cache. No
    derivative is taken."""
    maps, shift = math.pi * directions.maps.reshape(-1, 3, 3), math.pi * directions.shift.reshape(-1, 3, 1)
    x, y, z = bearing.T
    for row, start in zip(maps.unbind(1), shift.unbind(1), strict=True):
        if len(row) < FEWEST_DIRECTIONS:
            a, b, c = row.split(1, dim=1)
            yield (a * x).addcmul_(b, y).addcmul_(c, z).add_(start).T
        else:
            yield torch.addmm(start, row, bearing.T).T


def cell_factor(scene: Scene, indices: Indices, interpolate: bool, work: torch.dtype) -> Tensor:
    """F_cell at every index (P, J), or () where no list is loaded (part B §6)."""
    if scene.grid is None:
        return scene.default_F.to(work)
    nearest = nearest_factor(scene.grid, *indices.nodes).to(work)
    if not interpolate or min(scene.grid.shape) < FEWEST_NODES:
        return nearest
    inside = within_tricubic_range(scene.grid, *indices.hkl)
    return torch.where(inside, tricubic_factor(scene.grid, *indices.hkl).to(work), nearest)


def spot_intensity(scene: Scene, choices: Choices, bearing: Tensor, directions: Directions, interpolate: bool,
                   work: torch.dtype) -> Tensor:
    """F_cell²·F_latt² of every direction, (P, J)."""
    few = scene.lattice.few if choices.shape is CrystalShape.SQUARE and work == torch.float64 else None
    if differentiated(bearing, *directions):
        few = None
    if few and scene.grid is None:  # neither nodes nor offsets are needed
        return torch.square(scene.default_F) * sincg_product_squared(half_turns(bearing, directions), few)
    indices = miller_indices(bearing, directions, work)
    factor = cell_factor(scene, indices, interpolate, work)
    if few:
        return torch.square(factor) * sincg_product_squared((math.pi * along for along in indices.offsets), few)
    return torch.square(factor * lattice_factor(choices.shape, indices.offsets, scene.lattice.to(work),
                                                literal_sinc3=choices.quirks.sinc3_cancellation))


def ray_sums(scene: Scene, choices: Choices, bearing: Tensor, interpolate: bool, work: torch.dtype,
             block: tuple[slice, slice]) -> Tensor:
    """Σ over a block of orientations of F_cell²·F_latt², (P, S) for the block's sources, in the geometry's dtype."""
    part = Directions(scene.directions.maps[block], scene.directions.shift[block])
    tall, wide = part.maps.shape[:2]
    tiles = bearing.split(max(1, TILE_ELEMENTS // (tall * wide)))
    intensities = (spot_intensity(scene, choices, tile, part, interpolate, work) for tile in tiles)
    sums = [last_summed(intensity.reshape(-1, tall, wide)).to(bearing.dtype) for intensity in intensities]
    return sums[0] if len(sums) == 1 else torch.cat(sums)


def last_summed(terms: Tensor) -> Tensor:
    """Sum over the last dimension, which costs nothing where there is nothing to add."""
    return terms[..., 0] if terms.shape[-1] == 1 else terms.sum(-1)

