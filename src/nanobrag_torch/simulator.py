"""A run: models to scene, scene cut into bounded chunks, chunks to an image."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap

import torch
from torch import Tensor

from .config import BeamConfig, ConfigError, CrystalConfig, DetectorConfig, SamplingConfig
from .constants import PERMITTED_WORDS
from .derivatives import derivative_images
from .fingerprint import Fingerprint
from .integrate import Block, Cut, photons
from .kernel import TILE_ELEMENTS
from .kernel_cache import SERVING, missing
from .lanes import Lanes, suits
from .models import Beam, Crystal, Detector
from .order import Segment, segments
from .packages import Kernels, at_hand
from .quirks import Quirks
from .raster import Raster, filled, gathered
from .recompute import differentiated, recomputed
from .scene import Choices, Scene, build_scene, choose
from .statistics import ImageStatistics, image_statistics
from .terms import all_terms, interpolated, photons_from_terms
from .threads import Mapping, keep_freed_memory, observed, side_by_side

DTYPES = {
    "float64": (torch.float64, torch.float64),
    "mixed": (torch.float64, torch.float32),
    "float32": (torch.float32, torch.float32),
}
"""Name to (dtype of geometry and indices, dtype of what follows the reduction of the indices)."""

WORTH_COMPILING = 10**9
"""Evaluations from which a run waits for the compiler."""
CHUNK_ELEMENTS = 2**16
"""Pixels x directions of a chunk with derivatives, where memory allows."""
FORWARD_ELEMENTS = 2**18
"""The same without: the sum over directions cuts such a chunk once more."""
FORWARD_PIXELS = 2**16
"""Pixels of a chunk without derivatives, at most."""
FORWARD_CHUNKS = 16
"""Chunks without derivatives, at least, unless they were smaller than `WORTH_CUTTING`."""
WORTH_CUTTING = 2**15
"""Pixels x directions from which an image is cut into chunks at all."""
BYTES_PER_ELEMENT = 4096
"""Upper bound on what one pixel x direction keeps alive, tricubic interpolation under differentiation included."""
FORWARD_BYTES_PER_ELEMENT = {False: 256, True: 512}
"""The same without derivatives, by whether it is interpolated."""
KEPT_SHARE = 4
"""Part of the budget, as its divisor, up to which all that a derivative with compiled kernels needs is kept."""

Progress = Callable[[int, int], None]
ChunkFunction = Callable[[Scene], Tensor]


@dataclass(frozen=True)
class RunSummary:
    """What a run decided: sub-pixels per edge, number of evaluations per pixel, interpolation, and the raster index
    of the rendered pixel at which interpolation switched itself off; whether compiled kernels did it."""

    oversample: int
    steps: int
    sources: int
    interpolated: bool
    interpolation_stopped_at: int | None
    compiled: bool


class Simulator:
    """Simulates the image of a crystal on a detector.

    crystal, detector, beam
        Models or their configs; `beam_config` is another name for the latter. Several simulators may share a model:
        each sees it in its own detector's convention and with its own faults, and so do the attributes of these names,
        whose fields are the model's.
    device, dtype
        Where and how precisely pixels are computed: "float64", "mixed" (geometry and Miller indices in float64, the
        rest in float32) or "float32", with compiled kernels the image of "mixed", rounded; `torch.float64` and
        `torch.float32` are understood. Set-up is always float64.
    compile
        "auto": with compiled kernels if they are on disk, or if the run is long enough to wait for a compiler; "on":
        always, made first where they are missing; "off": never. By default what $NANOBRAG_COMPILE says, else "auto".
    quirks
        Faults of the canonical program to reproduce; none by default.
    """

    def __init__(self, crystal: Crystal | CrystalConfig, detector: Detector | DetectorConfig,
                 beam: Beam | BeamConfig | None = None, *, beam_config: BeamConfig | None = None,
                 sampling: SamplingConfig | None = None, device: torch.device | str | None = None,
                 dtype: str | torch.dtype = "float64", quirks: Quirks | None = None,
                 compile: str | None = None) -> None:
        self.quirks = quirks or Quirks.clean()
        self.sampling = sampling or SamplingConfig()
        name = str(dtype).removeprefix("torch.")
        if name not in DTYPES:
            raise ConfigError("dtype", PERMITTED_WORDS["dtype"][1], name)
        self.precision, (self.geometry_dtype, self.work_dtype) = name, DTYPES[name]
        self.compile = compile or os.environ.get("NANOBRAG_COMPILE") or "auto"
        permitted, wanted = PERMITTED_WORDS["compile"]
        if not re.fullmatch(permitted, self.compile):
            raise ConfigError("compile" if compile else "NANOBRAG_COMPILE", wanted, self.compile)
        device = torch.device(device or _device_of(crystal, detector))
        detector = detector if isinstance(detector, Detector) else Detector(detector, device=device)
        crystal = crystal if isinstance(crystal, Crystal) else Crystal(crystal, device=device)
        beam = beam or beam_config or BeamConfig()
        beam = beam if isinstance(beam, Beam) else Beam(beam, device=device)
        self.crystal, self.detector, self.beam = (
            model.seen(detector.frame, self.quirks) for model in (crystal, detector, beam))
        for model in (self.crystal, self.detector, self.beam):
            model.to(device)
        self.device = device
        keep_freed_memory()
        self.beam.check_axes(self.detector.plain_beam_vector)
        self.summary: RunSummary | None = None
        self._last: tuple[Fingerprint, Scene] | None = None
        self._lanes: Lanes | None = None
        self._memory: torch.UntypedStorage | None = None

    def __getstate__(self) -> dict[str, object]:
        """What a copy in another process needs; libraries and what is kept for the next image stay."""
        kept = {name: value for name, value in vars(self).items() if name != "_mixed"}
        return kept | {"_last": None, "_lanes": None, "_memory": None}

    @cached_property
    def choices(self) -> Choices:
        """Branches and automatic choices of the last scene; before it, those of the models as they are."""
        return choose(self.crystal, self.detector, self.beam, self.sampling, self.quirks)

    @cached_property
    def _mixed(self) -> Simulator | None:
        """The same in mixed precision, whose compiled kernels serve single precision as well."""
        if self.precision == SERVING[self.precision] or self.device.type != "cpu":
            return None
        return Simulator(self.crystal, self.detector, self.beam, sampling=self.sampling, device=self.device,
                         dtype=SERVING[self.precision], quirks=self.quirks, compile=self.compile)

    def scene(self) -> Scene:
        """Tensors of this experiment, in the precision of the geometry; those of the last time if nothing changed."""
        found = Fingerprint.of((self.crystal, self.detector, self.beam))
        if self._last is None or found is None or not found.same(self._last[0]):
            self.choices = choose(self.crystal, self.detector, self.beam, self.sampling, self.quirks)
            scene = build_scene(self.crystal, self.detector, self.beam, self.choices, self.geometry_dtype)
            self._last = None if found is None else (found.kept(), scene)
            return scene
        return self._last[1]

    def run(self, progress: Progress | None = None) -> Tensor:
        """The image in photons per pixel, (spixels, fpixels); 0 outside the region of interest and the mask.

        `progress(done, total)` is called after every chunk of pixels.
        """
        with _not_autocast(self.device):
            return self._run(progress)

    def _run(self, progress: Progress | None) -> Tensor:
        if self.compile != "off" and self._mixed is not None and self._mixed.kernels(self._mixed.scene()) is not None:
            image = self._mixed.run(progress)
            self.summary, self.choices = self._mixed.summary, self._mixed.choices
            return image.to(self.geometry_dtype)
        scene, raster = self.scene(), self.raster
        lanes = self._operands(scene)
        cuts = self.segments(scene, lanes)
        self.summary = self._summarise(scene, cuts, lanes)
        parts = ((segment, part) for segment in cuts for part in self._parts(scene, segment, lanes))
        gathering = self.device.type != "cpu" or (not self._remembers(scene) and differentiated(*scene.tensors))
        with nullcontext(starmap) if lanes or gathering else self._spread(scene) as mapping:
            chunks = self._chunks(scene, parts, lanes, mapping, progress)
            pixels = gathered(scene.scale, chunks) if gathering else filled(self._empty(), chunks)
            return raster.image(pixels)

    def _operands(self, scene: Scene) -> Lanes | None:
        """Operands of the compiled kernels, if these do the run; those of the last time for the same scene."""
        if self._lanes is not None and self._lanes.scene is scene and self.compile != "off":
            return self._lanes
        kernels = self.kernels(scene)
        lanes = None if kernels is None else Lanes(kernels, scene, self.choices, self.raster)
        self._lanes = lanes if self._remembers(scene) else None
        return lanes

    def _remembers(self, scene: Scene) -> bool:
        """Whether a scene may serve again; by none of its tensors are derivatives taken."""
        return self._last is not None and self._last[1] is scene

    def _chunks(self, scene: Scene, parts: Iterable[tuple[Segment, slice]], lanes: Lanes | None, mapping: Mapping,
                progress: Progress | None) -> Iterator[tuple[slice, Tensor]]:
        """Photons of one chunk of pixels after the other."""
        def chunk(segment: Segment, part: slice) -> tuple[slice, Tensor]:
            return part, self._photons(scene, segment, part, lanes)

        for part, values in mapping(chunk, parts):
            yield part, values
            if progress is not None:
                progress(part.stop, len(self.raster))

    def _spread(self, scene: Scene) -> AbstractContextManager[Mapping]:
        """How the processor's threads share chunks without derivatives, as many at once as fit into memory."""
        if observed():
            return nullcontext(starmap)
        pixels = self._pixels_per_chunk(scene)
        held = pixels + min(pixels * self._directions, TILE_ELEMENTS)
        each = FORWARD_BYTES_PER_ELEMENT[scene.grid is not None and self.choices.interpolate]
        fitting = self.sampling.memory_budget_bytes // (held * each)
        chunks = -(-len(self.raster) // pixels)
        return side_by_side(max(1, min(torch.get_num_threads(), chunks, fitting)))

    def _empty(self) -> Tensor:
        """Room for the pixels: that of the last image where nobody holds it any more, for touching fresh memory costs
        as much as computing a cheap pixel."""
        room = torch.empty(0, dtype=self.geometry_dtype, device=self.device)
        if self._memory is None or torch._C._storage_Use_Count(self._memory._cdata) > 1:
            self._memory = room.new_empty(len(self.raster)).untyped_storage()
        return room.set_(self._memory, 0, (len(self.raster),))

    def compute_statistics(self, image: Tensor) -> ImageStatistics:
        """Maximum, mean, rms and rmsd of an image over its rendered pixels (part A §4.7)."""
        rendered = torch.zeros(image.numel(), dtype=torch.bool)
        rendered[self.raster.indices().cpu()] = True
        region = self.detector.config.region
        return image_statistics(image.detach().cpu().float().numpy(), rendered.reshape(region.shape).numpy(),
                                region, rmsd_includes_masked=self.quirks.rmsd_counts_masked)

    @cached_property
    def raster(self) -> Raster:
        """The pixels inside region and mask."""
        return Raster.of(self.detector.config, self.device)

    def rendered_pixels(self) -> Tensor:
        """Raster indices (slow·fpixels + fast) of the pixels inside region and mask, (N,) ascending."""
        return self.raster.indices()

    def segments(self, scene: Scene, lanes: Lanes | None = None) -> list[Segment]:
        """Pieces of the raster on either side of an order-dependent fault."""
        return segments(scene, self.choices, self.raster, max(1, self._elements // self._directions),
                        None if lanes is None else lanes.near_refusal)

    def kernels(self, scene: Scene, moving: Sequence[int] = ()) -> Kernels | None:
        """The compiled kernels, if they are wanted, are at hand and cover this run and its derivatives: those that the
        scene's tensors require, and by its tensors of these places."""
        if self.compile == "off" or not suits(scene, self.choices, moving):
            return None
        return at_hand(self.precision, must=self.compile == "on", worth=self._worth_compiling)

    @property
    def awaits_compiler(self) -> bool:
        """Whether a run will have its kernels compiled before anything else."""
        if self.compile == "off":
            return False
        if self._mixed is not None:
            return self._mixed.awaits_compiler
        suited = suits(self.scene(), self.choices)
        return suited and (self.compile == "on" or self._worth_compiling) and bool(missing((self.precision,)))

    @property
    def _worth_compiling(self) -> bool:
        return len(self.raster) * self._evaluations >= WORTH_COMPILING

    def derivative_image(self, name: str) -> Tensor:
        """Derivative of the image by one continuous field, such as "cell_a": photons per pixel and unit of the field,
        the field's own shape before the image's."""
        return self.derivative_images([name])[1][name]

    def derivative_images(self, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The image and its derivatives by several fields in one pass; see `derivatives.derivative_images`."""
        for model in (self.crystal, self.detector, self.beam):
            model.follow()
        with _not_autocast(self.device):
            return derivative_images(self, names)

    def chunk_functions(self, scene: Scene, cuts: Iterable[Segment]) -> Iterator[tuple[slice, ChunkFunction]]:
        """Pieces of some segments with the function that takes a scene to their photons, for derivatives by the
        scene's tensors, without compiled kernels."""
        for segment in cuts:
            for part in self._parts(scene, segment, None, sloped=True):
                yield part, self._chunk(segment, part, None)

    def _photons(self, scene: Scene, segment: Segment, part: slice, lanes: Lanes | None) -> Tensor:
        if lanes is not None and not segment.explicit and (self._kept(lanes) or not _needs_gradient(scene)):
            return lanes.photons(part, segment.interpolate)
        chunk = self._chunk(segment, part, lanes, recompute_blocks=self._blocks_recomputed(scene))
        if not _needs_gradient(scene):
            return chunk(scene)
        return recomputed(lambda *tensors: chunk(scene.with_tensors(tensors)), *scene.tensors)

    def _chunk(self, segment: Segment, part: slice, lanes: Lanes | None, *,
               recompute_blocks: bool = False) -> ChunkFunction:
        """Photons of some pixels as a function of the scene."""
        choices, raster = self.choices, self.raster
        if lanes is not None and not segment.explicit:
            return lambda scene: Lanes(lanes.kernels, scene, choices, raster).photons(part, segment.interpolate)
        if segment.explicit or choices.running_product:
            slow, fast = raster.coordinates(part, self.geometry_dtype)

            def explicit(scene: Scene) -> Tensor:
                terms = all_terms(scene, choices, slow, fast, first=segment.first)
                allowed = interpolated(terms, segment.latched_at) if segment.interpolate else None
                return photons_from_terms(scene, choices, terms, allowed)

            return explicit

        grid = raster.grid(part, self.geometry_dtype)

        def reduced(scene: Scene) -> Tensor:
            cut = Cut(segment.interpolate, self.work_dtype, list(self._blocks(scene)), recompute_blocks)
            return photons(scene, choices, *grid, cut)

        return reduced

    @property
    def _elements(self) -> int:
        """Pixels x directions computed at once."""
        return max(1, min(CHUNK_ELEMENTS, self.sampling.memory_budget_bytes // BYTES_PER_ELEMENT))

    @property
    def _kept_elements(self) -> int:
        """Pixels x evaluations that one chunk may keep alive for its derivative."""
        return max(self._elements, self.sampling.memory_budget_bytes // BYTES_PER_ELEMENT)

    @property
    def _directions(self) -> int:
        """Source x orientation pairs of one sub-pixel."""
        return self.choices.steps // self.choices.oversample**2

    @property
    def _evaluations(self) -> int:
        """Evaluations of one pixel: directions, sub-pixels and layers."""
        return self.choices.steps * self.choices.layers

    def _pixels_per_chunk(self, scene: Scene, sloped: bool = False) -> int:
        if self.choices.running_product:
            return max(1, self._elements // self._evaluations)
        if sloped or _needs_gradient(scene):
            return max(1, min(self._elements // self._directions, self._kept_elements // self._evaluations))
        elements = min(FORWARD_ELEMENTS, self.sampling.memory_budget_bytes // BYTES_PER_ELEMENT)
        even = max(-(-len(self.raster) // FORWARD_CHUNKS), WORTH_CUTTING // self._directions)
        return max(1, min(elements // self._directions, FORWARD_PIXELS, even))

    def _kept(self, lanes: Lanes) -> bool:
        """Whether memory allows to keep what a derivative needs of every pixel."""
        return lanes.kept_bytes <= self.sampling.memory_budget_bytes // KEPT_SHARE

    def _blocks_recomputed(self, scene: Scene) -> bool:
        """Whether the derivative of even a single pixel would keep too much alive."""
        return _needs_gradient(scene) and self._evaluations > self._kept_elements

    def _parts(self, scene: Scene, segment: Segment, lanes: Lanes | None, *,
               sloped: bool = False) -> Iterator[slice]:
        sloped = sloped or _needs_gradient(scene)
        size = self.raster.whole_rows(self._pixels_per_chunk(scene, sloped))
        if lanes is not None and not segment.explicit:
            size = lanes.pixels_per_call(sloped)
        for start in range(segment.start, segment.stop, size):
            yield slice(start, min(start + size, segment.stop))

    def _blocks(self, scene: Scene) -> Iterator[Block]:
        """Cut sources x orientations so that a single pixel stays inside the budget."""
        sources, orientations = scene.directions.shift.shape[:2]
        wide = min(orientations, self._elements)
        tall = max(1, self._elements // orientations)
        for first in range(0, sources, tall):
            for begin in range(0, orientations, wide):
                yield (slice(first, min(first + tall, sources)), slice(begin, min(begin + wide, orientations)))

    def _summarise(self, scene: Scene, cuts: list[Segment], lanes: Lanes | None) -> RunSummary:
        latched = next((cut.start for cut in cuts if cut.latched_at is not None), None)
        stopped = None if latched is None else int(self.raster.indices(slice(latched, latched + 1)))
        return RunSummary(self.choices.oversample, self.choices.steps, len(scene.sources.wavelength),
                          self.choices.interpolate, stopped, lanes is not None)


def simulate(crystal: Crystal | CrystalConfig, detector: Detector | DetectorConfig,
             beam: Beam | BeamConfig | None = None, **options) -> Tensor:
    """The image of a crystal, (spixels, fpixels) photons per pixel; options as for `Simulator`."""
    return Simulator(crystal, detector, beam, **options).run()


def _not_autocast(device: torch.device) -> AbstractContextManager[object]:
    """The precision that was asked for, where a network around the simulation computes in a lower one."""
    if device.type in ("cpu", "cuda") and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _device_of(*models: object) -> torch.device:
    return next((model.device for model in models if isinstance(model, torch.nn.Module)), torch.device("cpu"))


def _needs_gradient(scene: Scene) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in scene.tensors)
