"""Derivative images on the fast kernels: derivatives by the Miller indices are listed once for all parameters.

Photons are Σ weight·S(x, y, z, maps, forms) + added. What surrounds the sums S is carried forward only for the
parameters that move it; those of the crystal, mostly all, move only the maps, whose rates are matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .lanes import Lanes
from .order import Segment
from .scene import Scene
from .sums import direction_rates, direction_sum


def moved(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor],
          tangents: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Rates (n, ...) of a function's results as its inputs move along n tangents (n, ...) each.

    The pull-back of cotangents is linear in them, so that its own pull-back takes tangents forward. Small tensors go
    that way three times as fast as in forward mode, which returns to Python for many an operation.
    """
    with torch.enable_grad():
        starts = [entry.clone().requires_grad_() for entry in inputs]
        results = function(*starts)
        reached = [result for result in results if result.requires_grad]
        cotangents = [torch.ones_like(result, requires_grad=True) for result in reached]
        pulled = (torch.autograd.grad(reached, starts, cotangents, create_graph=True, allow_unused=True)
                  if reached else [None] * len(starts))
    linear = [(back, tangent) for back, tangent in zip(pulled, tangents, strict=True) if back is not None]
    if not linear:
        return tuple(result.new_zeros(len(tangents[0]), *result.shape) for result in results)
    found = iter(torch.autograd.grad([back for back, _ in linear], cotangents, [tangent for _, tangent in linear],
                                     is_grads_batched=True, allow_unused=True, materialize_grads=True))
    return tuple(next(found) if result.requires_grad else result.new_zeros(len(tangents[0]), *result.shape)
                 for result in results)


class Moving(NamedTuple):
    """A scene and how n parameters move it: tangents (n, ...) of its tensors in their order, None for what stays."""

    scene: Scene
    tangents: Sequence[Tensor | None]

    def rates(self, function: Callable[[Scene], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Rates (n, ...) of a function's results."""
        entries = self.scene.tensors
        places = [place for place, tangent in enumerate(self.tangents) if tangent is not None]

        def of_moving(*chosen: Tensor) -> tuple[Tensor, ...]:
            at = dict(zip(places, chosen, strict=True))
            return function(self.scene.with_tensors(at.get(place, entry) for place, entry in enumerate(entries)))

        return moved(of_moving, [entries[place] for place in places], [self.tangents[place] for place in places])

    def around_sums(self) -> tuple[Moving, Tensor]:
        """How what surrounds the sums is moved, and the numbers (m,) of the parameters that move it."""
        scene = self.scene
        around = {id(tensor) for tensor in (*scene.geometry, scene.sources.weight, scene.polar_forms, scene.default_F,
                                            scene.scale, scene.background)}
        tangents = [tangent if id(tensor) in around else None
                    for tensor, tangent in zip(scene.tensors, self.tangents, strict=True)]
        moving = [(tangent != 0).reshape(len(tangent), -1).any(1) for tangent in tangents if tangent is not None]
        movers = torch.stack(moving).any(0).nonzero()[:, 0] if moving else torch.zeros(0, dtype=torch.int64)
        return Moving(scene, [None if tangent is None else tangent[movers] for tangent in tangents]), movers

    @property
    def still(self) -> Tensor | None:
        """The direction (3,) in which every index stays 0: that of the only ray, if none of the parameters moves it."""
        incident = self.scene.sources.incident
        turned = any(entry is incident and tangent is not None
                     for entry, tangent in zip(self.scene.tensors, self.tangents, strict=True))
        return None if turned or len(incident) > 1 else incident[0]


class _Rates(NamedTuple):
    """Rates of a run's operands: maps (n, J, 12), forms (n, J, 7), the direction that stays `still`; and of what
    surrounds the sums of a chunk, those of the m parameters of these numbers: views (m, passes, 4, p), added (m, p)."""

    maps: Tensor
    forms: Tensor
    still: Tensor | None
    movers: Tensor
    views: Tensor
    added: Tensor


def rated_chunks(lanes: Lanes, tangents: Sequence[Tensor | None],
                 segments: Sequence[Segment]) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Photons (p,) and their rates (n, p) of one chunk of pixels after the other, as n parameters move the scene."""
    moving = Moving(lanes.scene, tangents)
    around, movers = moving.around_sums()
    maps, forms = moving.rates(lambda scene: lanes.of(scene).maps_and_forms)
    size = lanes.pixels_per_call(sloped=True)
    for part in (slice(start, min(start + size, segment.stop)) for segment in segments
                 for start in range(segment.start, segment.stop, size)):
        views, added = lanes.surroundings(part)
        if len(movers):
            around_rates = around.rates(lambda scene, part=part: lanes.of(scene).surroundings(part))
        else:
            around_rates = views.new_zeros(0, *views.shape), added.new_zeros(0, *added.shape)
        yield part, *_rated(lanes, views, added, _Rates(maps, forms, moving.still, movers, *around_rates))


def _rated(lanes: Lanes, views: Tensor, added: Tensor, rates: _Rates) -> tuple[Tensor, Tensor]:
    """Photons (p,) and their rates (n, p)."""
    total = added
    found = added.new_zeros(len(rates.maps), len(added)).index_add(0, rates.movers, rates.added)
    for step, (x, y, z, weight) in enumerate(views.unbind(0)):
        operands = lanes.operands(x, y, z)
        value = direction_sum(lanes.kernels, lanes.shape, operands)
        by_xyz, along = direction_rates(lanes.kernels, lanes.shape, operands, rates.maps,
                                        None if operands.forms is None else rates.forms, rates.still)
        x_rate, y_rate, z_rate, weight_rate = rates.views[:, step].unbind(1)
        by_x, by_y, by_z = by_xyz.unbind(0)
        turned = by_x * x_rate + by_y * y_rate + by_z * z_rate
        total = total + weight * value
        found = (found + weight * along).index_add(0, rates.movers, weight * turned + weight_rate * value)
    return total, found
