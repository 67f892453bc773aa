"""The sum over one chunk of pixels, reduced as it goes: every evaluation is used once and never stored."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .kernel import Aim, aim, kept_rays, last_summed, passes, polarization_factors, ray_sums
from .recompute import recomputed
from .scene import Choices, Place, Scene

Block = tuple[slice, slice]


class EndFactors(NamedTuple):
    """Factors (P,) applied once to a pixel's sum, () ones where they entered it already (part B §3.8)."""

    omega: Tensor
    polar: Tensor
    capture: Tensor

    @property
    def product(self) -> Tensor:
        return self.capture * self.polar * self.omega


class Cut(NamedTuple):
    """How a chunk's sum is taken: interpolated or not, dtype of what follows the indices, pieces of the (source,
    orientation) plane, and whether each piece of each pass is a differentiation of its own."""

    interpolate: bool
    work: torch.dtype
    blocks: list[Block]
    recompute_blocks: bool = False


def photons(scene: Scene, choices: Choices, slow: Tensor, fast: Tensor, cut: Cut) -> Tensor:
    """Photons in each of P pixels, (P,), by numbers as `aim` takes them."""
    total = diffuse = None
    only_first = choices.polar_place is not Place.TERM and not choices.culling
    polarized = scene._replace(polar_forms=scene.polar_forms[:1]) if only_first else scene
    ends = _EndFactorCollector(scene, choices)
    for step in passes(choices):
        aimed = aim(scene, choices, slow, fast, step)
        kept = kept_rays(scene, aimed.diffracted) if choices.culling else None
        polar = polarization_factors(polarized, choices, aimed.diffracted)
        ends.see(step, aimed, polar, kept)
        weights = ray_weights(scene, choices, polar)
        factor = pass_factor(choices, aimed)
        total = _plus(total, factor * _reflected(scene, choices, aimed, cut, weights, kept))
        if not choices.quirks.water_scaling:
            diffuse = _plus(diffuse, factor * weights.mean(-1))
    return combine(scene, choices, total, diffuse, ends.factors())


def ray_weights(scene: Scene, choices: Choices, polar: Tensor) -> Tensor:
    """Weight of each source's contributions, (P, S) or (1, S); its polarisation factors (P, S) may enter it."""
    weights = scene.sources.weight[None]
    if choices.quirks.source_weights_ignored:
        weights = torch.ones_like(weights)
    return weights * polar if choices.polar_place is Place.TERM else weights


def pass_factor(choices: Choices, aimed: Aim) -> Tensor:
    """Factor (P,), or () if it is 1, common to all contributions of a sub-pixel and layer."""
    factor = aimed.omega if choices.omega_place is Place.TERM else aimed.omega.new_ones(())
    return factor * aimed.capture if choices.absorbing and choices.capture_place is Place.TERM else factor


def combine(scene: Scene, choices: Choices, total: Tensor, diffuse: Tensor | None, ends: EndFactors) -> Tensor:
    """Photons from the sums of reflected and of diffuse contributions (part B §8); the fault `water_scaling` needs
    no diffuse ones."""
    if choices.quirks.water_scaling:
        return scene.scale * (scene.background + total) * ends.product
    water = scene.background * diffuse / choices.oversample**2
    return (scene.scale * total + water) * ends.product


def _reflected(scene: Scene, choices: Choices, aimed: Aim, cut: Cut, weights: Tensor, kept: Tensor | None) -> Tensor:
    total = None
    for block in cut.blocks:
        sums = _block_sums(scene, choices, aimed.bearing, cut, block)
        contribution = weights[:, block[0]] * sums
        if kept is not None:
            contribution = torch.where(kept[:, block[0]], contribution, torch.zeros_like(contribution))
        total = _plus(total, last_summed(contribution))
    return total


def _plus(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total + term


def _block_sums(scene: Scene, choices: Choices, bearing: Tensor, cut: Cut, block: Block) -> Tensor:
    def sums(bearing: Tensor, *tensors: Tensor) -> Tensor:
        return ray_sums(scene.with_tensors(tensors), choices, bearing, cut.interpolate, cut.work, block)

    if cut.recompute_blocks:
        return recomputed(sums, bearing, *scene.tensors)
    return ray_sums(scene, choices, bearing, cut.interpolate, cut.work, block)


class _EndFactorCollector:
    """Remembers the values that the program caches: first solid angle, first kept ray's polarisation, and the
    captured fraction of the last layer's first sub-pixel."""

    def __init__(self, scene: Scene, choices: Choices) -> None:
        self.choices = choices
        self.omega = self.polar = self.capture = self.seen = None

    def see(self, step, aimed: Aim, polar: Tensor, kept: Tensor | None) -> None:
        if self.omega is None:
            self.omega = aimed.omega
        if step.sub_slow == step.sub_fast == 0:
            self.capture = aimed.capture
        self._see_polarization(polar, kept)

    def _see_polarization(self, polar: Tensor, kept: Tensor | None) -> None:
        if kept is None or self.choices.unpolarized:
            self.polar = polar[:, 0] if self.polar is None else self.polar
            return
        any_kept = kept.any(-1)
        first = torch.gather(polar, 1, kept.to(torch.uint8).argmax(-1, keepdim=True))[:, 0]
        first = torch.where(any_kept, first, torch.zeros_like(first))
        self.polar = first if self.seen is None else torch.where(self.seen, self.polar, first)
        self.seen = any_kept if self.seen is None else self.seen | any_kept

    def factors(self) -> EndFactors:
        one = self.omega.new_ones(())
        return EndFactors(
            self.omega if self.choices.omega_place is Place.END else one,
            self.polar if self.choices.polar_place is Place.END else one,
            self.capture if self.choices.capture_place is Place.END else one)
