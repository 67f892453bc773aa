"""Every evaluation of a few pixels, kept side by side in the program's loop order.

For what a reduced sum cannot give: traces, factors that multiply the running sum, and the pixels at which the
canonical program's order-dependent faults change state. Axis E below is the loop order: layer, sub-pixel slow,
sub-pixel fast, source, phi step, mosaic domain (part B §8).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .integrate import EndFactors, combine, pass_factor, ray_weights
from .kernel import (
    Aim,
    Indices,
    Pass,
    aim,
    cell_factor,
    kept_rays,
    miller_indices,
    passes,
    polarization_factors,
)
from .physics.lattice_factor import lattice_factor
from .physics.structure_factor import nearest_factor, within_tricubic_range
from .scene import Choices, Directions, Place, Scene


class PassTerms(NamedTuple):
    """One sub-pixel and layer of P pixels: rays (P, S), evaluations (P, S·M)."""

    step: Pass
    aimed: Aim
    polar: Tensor
    kept: Tensor
    indices: Indices
    latt: Tensor
    evaluated: Tensor
    refused: Tensor


def pass_terms(scene: Scene, choices: Choices, slow: Tensor, fast: Tensor, step: Pass, *,
               first_ray: bool = False) -> PassTerms:
    """Geometry, indices and lattice factors of one pass; `first_ray` marks the run's very first evaluations."""
    aimed = aim(scene, choices, slow, fast, step)
    polar = polarization_factors(scene, choices, aimed.diffracted)
    kept = kept_rays(scene, aimed.diffracted) if choices.culling else torch.ones_like(polar, dtype=torch.bool)
    directions = first_ray_directions(scene, kept) if first_ray else scene.directions
    indices = miller_indices(aimed.bearing, directions, aimed.airpath.dtype)
    latt = lattice_factor(choices.shape, indices.offsets, scene.lattice,
                          literal_sinc3=choices.quirks.sinc3_cancellation)
    evaluated = kept.repeat_interleave(directions.maps.shape[1], dim=1)
    if not choices.watery:
        evaluated = evaluated & (latt != 0)
    refused = torch.zeros_like(evaluated)
    if scene.grid is not None and choices.interpolate:
        refused = evaluated & ~within_tricubic_range(scene.grid, *indices.hkl)
    return PassTerms(step, aimed, polar, kept, indices, latt, evaluated, refused)


def all_terms(scene: Scene, choices: Choices, slow: Tensor, fast: Tensor, *, first: bool = False) -> list[PassTerms]:
    """All passes of P pixels; `first`: the (single) pixel holds the run's first evaluation (part B §4.7)."""
    collected, waiting = [], first and scene.first_directions is not None
    for step in passes(choices):
        terms = pass_terms(scene, choices, slow, fast, step, first_ray=waiting)
        waiting = waiting and not bool(terms.kept.any())
        collected.append(terms)
    return collected


def interpolated(terms: list[PassTerms], latched_at: int | None) -> list[Tensor]:
    """Per pass, which evaluations (P, S·M) are interpolated: none refused, and none after the latch's index."""
    flags, offset = [], 0
    for entry in terms:
        allowed = ~entry.refused
        if latched_at is not None:
            order = torch.arange(offset, offset + allowed.shape[1], device=allowed.device)
            allowed = allowed & (order < latched_at)
        flags.append(allowed)
        offset += allowed.shape[1]
    return flags


def first_refusal(terms: list[PassTerms]) -> int | None:
    """Index along E of the first refused interpolation of a single pixel."""
    refused = torch.cat([entry.refused[0] for entry in terms])
    return int(refused.to(torch.uint8).argmax()) if bool(refused.any()) else None


def cell_factors(scene: Scene, terms: PassTerms, allowed: Tensor | None) -> Tensor:
    """F_cell (P, S·M); allowed (same shape) says where to interpolate."""
    dtype = terms.latt.dtype
    if scene.grid is None:
        return scene.default_F.expand_as(terms.latt)
    nearest = nearest_factor(scene.grid, *terms.indices.nodes).to(dtype)
    if allowed is None:
        return nearest
    return torch.where(allowed, cell_factor(scene, terms.indices, True, dtype), nearest)


def photons_from_terms(scene: Scene, choices: Choices, terms: list[PassTerms],
                       allowed: list[Tensor] | None) -> Tensor:
    """Photons (P,) of explicit terms, running multiplications included (part B §8)."""
    contributions, multipliers, diffuse = [], [], torch.zeros_like(terms[0].aimed.airpath)
    for position, entry in enumerate(terms):
        factors = cell_factors(scene, entry, None if allowed is None else allowed[position])
        weights = ray_weights(scene, choices, entry.polar)
        factor = pass_factor(choices, entry.aimed)
        repeats = entry.latt.shape[1] // weights.shape[1]
        scaled = torch.square(factors * entry.latt) * (factor[..., None] * weights).repeat_interleave(repeats, dim=1)
        contributions.append(torch.where(entry.evaluated, scaled, torch.zeros_like(scaled)))
        running = running_multiplier(choices, entry).repeat_interleave(repeats, dim=1)
        multipliers.append(torch.where(entry.evaluated, running, torch.ones_like(running)))
        diffuse = diffuse + factor * weights.mean(-1)
    total, multiplier = torch.cat(contributions, 1), torch.cat(multipliers, 1)
    if choices.running_product:
        remaining = torch.flip(torch.cumprod(torch.flip(multiplier, [1]), 1), [1])
        total = _damped(total, remaining)
        if choices.quirks.water_scaling:
            scene = scene._replace(background=_damped(scene.background, remaining[:, 0]))
    return combine(scene, choices, total.sum(1), diffuse, end_factors(choices, terms))


def _damped(intensity: Tensor, multiplier: Tensor) -> Tensor:
    """Nothing stays nothing, even where a product of point-pixel solid angles has overflowed."""
    return torch.where(intensity == 0, torch.zeros_like(multiplier), intensity * multiplier)


def running_multiplier(choices: Choices, entry: PassTerms) -> Tensor:
    """(P, S): product of the factors that multiply the running sum after each addition."""
    multiplier = torch.ones_like(entry.polar)
    if choices.capture_place is Place.RUNNING:
        multiplier = multiplier * entry.aimed.capture[:, None]
    if choices.polar_place is Place.RUNNING:
        multiplier = multiplier * entry.polar
    if choices.omega_place is Place.RUNNING:
        multiplier = multiplier * entry.aimed.omega[:, None]
    return multiplier


def cached_polarization(choices: Choices, terms: list[PassTerms]) -> Tensor:
    """Polarisation (P,) of the first kept ray; 0 where dmin leaves none (part B §3.8)."""
    if choices.unpolarized:
        return torch.ones_like(terms[0].aimed.airpath)
    polar = torch.cat([entry.polar for entry in terms], 1)
    kept = torch.cat([entry.kept for entry in terms], 1)
    first = torch.gather(polar, 1, kept.to(torch.uint8).argmax(1, keepdim=True))[:, 0]
    return torch.where(kept.any(1), first, torch.zeros_like(first))


def end_factors(choices: Choices, terms: list[PassTerms]) -> EndFactors:
    """The factors applied once to the sum of each pixel."""
    one = torch.ones_like(terms[0].aimed.airpath)
    last_layer = next(entry for entry in terms if entry.step.layer == choices.layers - 1)
    return EndFactors(
        terms[0].aimed.omega if choices.omega_place is Place.END else one,
        cached_polarization(choices, terms) if choices.polar_place is Place.END else one,
        last_layer.aimed.capture if choices.capture_place is Place.END else one)


def first_ray_directions(scene: Scene, kept: Tensor) -> Directions:
    """Directions in which the first kept source of a single pixel sees the crystal as it was before any rotation."""
    if scene.first_directions is None or not bool(kept.any()):
        return scene.directions
    source = int(kept[0].to(torch.uint8).argmax())
    is_first = torch.arange(kept.shape[1], device=kept.device) == source
    maps = torch.where(is_first[:, None, None, None], scene.first_directions.maps, scene.directions.maps)
    shift = torch.where(is_first[:, None, None], scene.first_directions.shift, scene.directions.shift)
    return Directions(maps, shift)
