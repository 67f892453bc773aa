"""Derivative images: how every pixel changes with a parameter, many parameters in one pass (forward mode).

The parameters' tangents are carried together through the set-up, then through each chunk of pixels beside its values;
the derivatives of F_latt² by the Miller indices, which cost most, are taken once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .lanes import Lanes
from .rates import moved, rated_chunks

if TYPE_CHECKING:
    from .order import Segment
    from .scene import Scene
    from .simulator import Simulator


def derivative_images(simulator: Simulator, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """The image, (spixels, fpixels) photons per pixel, and its derivative by each field, per unit of the field.

    A field's derivative has the field's own shape before the image's. Raises `ValueError` for a name that is no
    continuous field of crystal, detector or beam, or has no value.
    """
    if isinstance(names, str) or not names:
        raise ValueError(f"derivative_images: expected a list of continuous fields, got {names!r}")
    with torch.inference_mode(False), _replaced(_made_for_inference(simulator)):
        return _derivative_images(simulator, {name: _field(simulator, name) for name in names})


def _derivative_images(simulator: Simulator,
                       fields: dict[str, tuple[nn.Module, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    sizes = [field.numel() for _, field in fields.values()]
    start = torch.cat([field.detach().reshape(-1) for _, field in fields.values()])

    def scene_of(values: Tensor) -> tuple[Tensor, ...]:
        parts = [part.reshape(field.shape) for part, (_, field) in
                 zip(values.split(sizes), fields.values(), strict=True)]
        with _replaced([(model, name.rpartition(".")[2], part)
                        for (name, (model, _)), part in zip(fields.items(), parts, strict=True)]):
            return tuple(simulator.scene().tensors)

    basis = torch.eye(len(start), dtype=start.dtype, device=start.device)
    with torch.no_grad():
        scene = simulator.scene()
        scene = scene.with_tensors(tensor.detach() for tensor in scene.tensors)
        moving = _moving(scene_of, start, basis)
        image, rates = _images(simulator, scene, moving, len(start))
    found = {name: part.reshape(*field.shape, *image.shape)
             for (name, (_, field)), part in zip(fields.items(), rates.split(sizes), strict=True)}
    return image, found


def _field(simulator: Simulator, name: str) -> tuple[nn.Module, Tensor]:
    """The model that has a field, and its value; a name may begin with crystal., detector. or beam."""
    where, _, field = name.rpartition(".")
    for place in ("crystal", "detector", "beam"):
        model = getattr(simulator, place)
        value = {**model._parameters, **model._buffers}.get(field)
        if where in ("", place) and value is not None:
            return model, value
    raise ValueError(f"derivative_images: expected a continuous field that has a value, got {name}")


def _made_for_inference(simulator: Simulator) -> list[tuple[nn.Module, str, Tensor]]:
    """Copies of fields that were made in inference mode, by which no derivative can be taken."""
    return [(model, name, value.clone()) for model in (simulator.crystal, simulator.detector, simulator.beam)
            for name, value in {**model._parameters, **model._buffers}.items()
            if value is not None and value.is_inference()]


@contextmanager
def _replaced(fields: Sequence[tuple[nn.Module, str, Tensor]]) -> Iterator[None]:
    """Other tensors in place of fields, for a while."""
    with ExitStack() as stack:
        for model, name, value in fields:
            store = model._parameters if name in model._parameters else model._buffers
            stack.callback(store.__setitem__, name, store[name])
            store[name] = value
        yield


def _moving(scene_of: Callable[[Tensor], tuple[Tensor, ...]], start: Tensor, basis: Tensor) -> list[Tensor | None]:
    """Tangents (n, ...) of every tensor of the scene; None for those that none of the parameters moves."""
    return [tangent if bool((tangent != 0).any()) else None for tangent in moved(scene_of, (start,), (basis,))]


def _images(simulator: Simulator, scene: Scene, moving: list[Tensor | None], count: int) -> tuple[Tensor, Tensor]:
    """Image and derivatives (n, spixels, fpixels)."""
    raster = simulator.raster
    pixels = torch.zeros(len(raster), dtype=scene.scale.dtype, device=simulator.device)
    rates = torch.zeros(count, len(raster), dtype=pixels.dtype, device=pixels.device)
    places = [place for place, tangent in enumerate(moving) if tangent is not None]
    kernels = simulator.kernels(scene, places) if places else None
    cuts = simulator.segments(scene)
    fast = [] if kernels is None else [segment for segment in cuts if not segment.explicit]
    chunks = _carried(simulator, scene, moving, places, [cut for cut in cuts if cut not in fast])
    if fast:
        chunks = chain(rated_chunks(Lanes(kernels, scene, simulator.choices, raster), moving, fast), chunks)
    for part, value, rate in chunks:
        pixels[part], rates[:, part] = value, rate
    return raster.image(pixels), raster.image(rates)


def _carried(simulator: Simulator, scene: Scene, moving: list[Tensor | None], places: list[int],
             cuts: list[Segment]) -> Iterator[tuple[slice, Tensor, Tensor | float]]:
    """Photons and their rates, chunk by chunk, the tangents of the scene carried beside its values."""
    tensors = scene.tensors
    fixed = tuple(tensors[place] for place in places)
    for part, photons in simulator.chunk_functions(scene, cuts):
        def of_moving(*chosen: Tensor, photons: Callable[[Scene], Tensor] = photons) -> Tensor:
            entries = list(tensors)
            for place, tensor in zip(places, chosen, strict=True):
                entries[place] = tensor
            return photons(scene.with_tensors(entries))

        def both(*directions: Tensor, function: Callable[..., Tensor] = of_moving) -> tuple[Tensor, Tensor]:
            return torch.func.jvp(function, fixed, directions)

        if places:
            yield part, *torch.func.vmap(both, out_dims=(None, 0))(*(moving[place] for place in places))
        else:
            yield part, photons(scene), 0.0
