"""Where the canonical program's order-dependent faults change state along the raster (part B §§4.7, 6.3).

In clean physics a run is one segment. Otherwise up to two pixels are singled out, the first evaluated one (phi
carry-over) and the one at which interpolation switches itself off, and the rest is cut around them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch

from .config import CrystalShape, plain
from .geometry import dot
from .kernel import Pass, aim, kept_rays, miller_indices, passes
from .physics.structure_factor import within_tricubic_range
from .raster import Raster
from .scene import Choices, Scene
from .terms import all_terms, first_refusal, pass_terms

NEAR = 0.1
"""Distance from the beam, in pixels, from which a round crystal's literal transform has all its digits."""


class Segment(NamedTuple):
    """Rendered pixels start..stop (raster order) evaluated alike.

    `first`: the single pixel with the run's first evaluation. `latched_at`: the single pixel in which interpolation
    stops at this evaluation. `alone`: a pixel whose last digits matter.
    """

    start: int
    stop: int
    interpolate: bool
    first: bool = False
    latched_at: int | None = None
    alone: bool = False

    @property
    def explicit(self) -> bool:
        """Whether the pixel needs its terms in order."""
        return self.first or self.alone or self.latched_at is not None


NearRefusal = Callable[[slice, Pass], bool]
"""Whether any index of some pixels, in a pass, lies where the table may refuse."""


def segments(scene: Scene, choices: Choices, raster: Raster, chunk: int,
             near_refusal: NearRefusal | None = None) -> list[Segment]:
    """Cut the rendered pixels where an order-dependent fault changes state; chunk bounds the search's memory.

    near_refusal: a cheaper way to ask where it is worth looking for the latch.

    The pixel of the direct beam stands alone where a round crystal's transform is literal and the beam meets a point at
    which it is evaluated: whether h is 0 or 1e-17 there decides between N³ and nothing (part B §7).
    """
    count = len(raster)
    first = _first_evaluated(scene, choices, raster, chunk) if scene.first_directions is not None else None
    latch, evaluation = _latch(scene, choices, raster, chunk, first, near_refusal)
    literal = choices.shape is CrystalShape.ROUND and choices.quirks.sinc3_cancellation
    spot = _beam_spot(scene) if literal else None
    beam = raster.position(*spot) if spot is not None and _evaluated_near(spot, choices) else None
    singled = sorted({pixel for pixel in (first, latch, beam) if pixel is not None})
    cut, start = [], 0
    for pixel in singled:
        before = choices.interpolate and (latch is None or start <= latch)
        cut.append(Segment(start, pixel, before))
        cut.append(Segment(pixel, pixel + 1, choices.interpolate and (latch is None or pixel <= latch),
                           pixel == first, evaluation if pixel == latch else None, pixel == beam))
        start = pixel + 1
    cut.append(Segment(start, count, choices.interpolate and (latch is None or start <= latch)))
    return [segment for segment in cut if segment.stop > segment.start]


def _chunks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _beam_spot(scene: Scene) -> tuple[float, float]:
    """Fast and slow coordinate, in pixels, at which the direct beam meets the detector's plane."""
    geometry = scene.geometry
    reach = dot(geometry.pix0, geometry.odet) / dot(geometry.beam, geometry.odet)
    spot = (reach * geometry.beam - geometry.pix0) / geometry.pixel_size
    return plain(dot(spot, geometry.fdet)), plain(dot(spot, geometry.sdet))


def _evaluated_near(spot: tuple[float, float], choices: Choices) -> bool:
    """Whether a sub-pixel's centre lies so near that the literal transform loses digits there; deeper layers of a
    sensor may meet the beam elsewhere."""
    count = choices.oversample
    return choices.layers > 1 or all(abs(place * count % 1.0 - 0.5) < NEAR * count for place in spot)


def _first_evaluated(scene: Scene, choices: Choices, raster: Raster, chunk: int) -> int | None:
    """Index of the first pixel with a ray that dmin does not remove."""
    if not choices.culling:
        return 0 if len(raster) else None
    for part in _chunks(len(raster), chunk):
        slow, fast = raster.coordinates(part, scene.scale.dtype)
        kept = torch.zeros_like(slow, dtype=torch.bool)
        for step in passes(choices):
            kept = kept | kept_rays(scene, aim(scene, choices, slow, fast, step).diffracted).any(-1)
        if bool(kept.any()):
            return part.start + int(kept.to(torch.uint8).argmax())
    return None


def _latch(scene: Scene, choices: Choices, raster: Raster, chunk: int, first: int | None,
           near_refusal: NearRefusal | None) -> tuple[int | None, int | None]:
    """(pixel, evaluation) of the first refused interpolation, in raster order."""
    if not (choices.interpolate and choices.quirks.interpolation_latch):
        return None, None
    near_refusal = near_refusal or partial(_beyond_table, scene, choices, raster)
    for part in _chunks(len(raster), chunk):
        candidates: set[int] = set()
        steps = [step for step in passes(choices) if near_refusal(part, step)]
        if steps:
            where = raster.coordinates(part, scene.scale.dtype)
            refused = torch.stack([pass_terms(scene, choices, *where, step).refused.any(-1) for step in steps]).any(0)
            candidates = {part.start + int(index) for index in torch.nonzero(refused)[:2]}
        if first is not None and part.start <= first < part.stop:
            candidates.add(first)
        for pixel in sorted(candidates):
            one = raster.coordinates(slice(pixel, pixel + 1), scene.scale.dtype)
            evaluation = first_refusal(all_terms(scene, choices, *one, first=pixel == first))
            if evaluation is not None:
                return pixel, evaluation
    return None, None


def _beyond_table(scene: Scene, choices: Choices, raster: Raster, part: slice, step: Pass) -> bool:
    """Whether any index of these pixels lies where the table refuses; cheaper than asking what is evaluated."""
    slow, fast = raster.coordinates(part, scene.scale.dtype)
    hkl = miller_indices(aim(scene, choices, slow, fast, step).bearing, scene.directions, slow.dtype).hkl
    return not bool(within_tricubic_range(scene.grid, *hkl).all())
