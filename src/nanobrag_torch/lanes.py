"""A run on the fast kernels: scene and choices folded into their operands, pixels to photons.

Covers flat detectors without resolution cut-off and without factors that multiply the running sum; everything else,
and whatever is asked for in the program's own order of operations, stays with `integrate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from .config import CrystalShape
from .fused import CUBIC_LAYERS, LOG2_E, SLOPES, TINY, Frame
from .kernel import Pass, passes
from .packages import ALONE, Kernels
from .physics.lattice_factor import ROUND_SCALE, SPOT_SIZE
from .physics.structure_factor import BORDER, FEWEST_NODES, within_tricubic_range
from .raster import Raster
from .recompute import differentiated
from .scene import Choices, Place, Scene
from .sums import Sum, direction_sum
from .views import look

FEW = 2
"""Directions that are cheaper one by one, geometry included, than side by side."""
ROUNDING = 1e-6
"""By how much less than this the kernels' Miller indices differ from those of the program's order."""
SAMPLES = {False: 2**23, True: 2**18}
"""Pixels x directions of one call; fewer where an array of that size is made."""
PIXELS = 2**18
"""Most pixels of one call."""
SLOPED = 2**16
"""Most pixels x passes of a call that is differentiated."""
KEPT_BYTES = 128
"""Most that a derivative keeps of a pixel and pass."""


def suits(scene: Scene, choices: Choices, moving: Sequence[int] = ()) -> bool:
    """Whether the fast kernels cover this run and the derivatives that are asked of it, by what the scene's tensors
    require and by its tensors of these places."""
    if scene.scale.device.type != "cpu" or scene.scale.dtype != torch.float64:
        return False
    if choices.running_product or choices.culling or choices.curved:
        return False
    sloped = {id(tensor) for place, tensor in enumerate(scene.tensors) if place in moving or differentiated(tensor)}
    lattice = scene.lattice if choices.shape is CrystalShape.GAUSS else scene.lattice[:2]
    table = () if scene.grid is None else (scene.grid.values,)
    return not sloped or (choices.shape in SLOPES and not choices.interpolate
                          and not any(id(tensor) in sloped for tensor in (*lattice, *table)))


class Lanes:
    """Operands of a run's kernels; pure functions of the scene."""

    def __init__(self, kernels: Kernels, scene: Scene, choices: Choices, raster: Raster) -> None:
        self.kernels, self.scene, self.choices, self.raster = kernels, scene, choices, raster
        self.shape = choices.shape
        self.passes = passes(choices)
        self._frames: dict[Pass, Frame] = {}

    def of(self, scene: Scene) -> Lanes:
        """The same run of another scene."""
        return Lanes(self.kernels, scene, self.choices, self.raster)

    def pixels_per_call(self, sloped: bool) -> int:
        """Pixels of a call: bounded by what stays in the processor's cache."""
        lists = self._own_forms is not None and (self.scene.grid is not None or self.shape not in ALONE)
        if sloped and not lists:
            return max(1, SLOPED // len(self.passes))
        return max(1, min(PIXELS, SAMPLES[lists] // self.directions))

    @property
    def kept_bytes(self) -> int:
        """Memory that a derivative of the image needs unless pixels are evaluated again for it."""
        return len(self.raster) * len(self.passes) * KEPT_BYTES

    @property
    def directions(self) -> int:
        """Number of source x orientation pairs."""
        return self.scene.directions.shift.shape[:2].numel()

    def photons(self, part: slice, interpolate: bool) -> Tensor:
        """Photons (n,) in rendered pixels start..stop."""
        ordinal, first = self._ordinals(part)
        raster = self._raster_at(first)
        interpolate = interpolate and min(self.scene.grid.shape) >= FEWEST_NODES
        total = None
        for step in self.passes:
            total = self._add_pass(total, ordinal, self._summed(step)._replace(raster=raster), interpolate)
        if self.choices.watery:
            total = total + self._water(ordinal, first)
        ends = self._ends(ordinal, first)
        return total if ends is None else total * ends

    def _ordinals(self, part: slice) -> tuple[Tensor, float]:
        if self.raster.chosen is not None:
            return self.raster.chosen[part].to(torch.float64), 0.0
        return self._constants[0][:part.stop - part.start], float(part.start)

    @property
    def _one_by_one(self) -> bool:
        """Whether directions are taken one after the other; only those of sums have derivatives written out."""
        return self.directions <= FEW and self.shape in ALONE and not differentiated(*self.scene.tensors)

    @cached_property
    def _constants(self) -> tuple[Tensor, Tensor, Tensor]:
        """0, 1, 2, …; zeros; ones: as many as a call can have pixels."""
        count = min(PIXELS, len(self.raster))
        return (torch.arange(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64),
                torch.ones(count, dtype=torch.float64))

    def _add_pass(self, total: Tensor | None, ordinal: Tensor, frame: Frame, interpolate: bool) -> Tensor:
        """What one sub-pixel and layer adds to each pixel (n,), scale and factors of its own included."""
        if not self._one_by_one:
            x, y, z, weight = self._view(ordinal, frame)
            own = weight * direction_sum(self.kernels, self.shape, self.operands(x, y, z, interpolate))
            return own if total is None else total + own
        own = self._constants[1][:len(ordinal)] if total is None or self._captures else total
        for maps, form in zip(self.maps, self.forms, strict=True):
            posed = frame._replace(form=form)
            own = self._add_direction(own, ordinal, posed, maps, interpolate)
        if not self._captures:
            return own
        own = own * look(self.kernels, ordinal, frame).capture
        return own if total is None else total + own

    def _add_direction(self, total: Tensor, ordinal: Tensor, frame: Frame, maps: Tensor, interpolate: bool) -> Tensor:
        """What one direction adds to each pixel (n,)."""
        operands = *frame, maps, self.lattice
        if self.scene.grid is not None and not interpolate:
            table = self._squares, self._box
            return self.kernels(f"one tabled {self.shape.value}", ordinal, total, *table, *operands)
        factor = self._constants[2][:len(ordinal)]
        if interpolate:
            x, y, z, *_ = look(self.kernels, ordinal, frame)
            factor = self._factors(x, y, z, maps[:, None])[:, 0]
        return self.kernels(f"one {self.shape.value}", ordinal, total, factor, *operands)

    def _view(self, ordinal: Tensor, frame: Frame) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Unit directions x, y, z and weight of a sum over directions, (n,) each."""
        if not self._captures and not differentiated(*frame):
            return self.kernels("weighted sight", ordinal, *frame[:-1])
        x, y, z, weight, form, capture = look(self.kernels, ordinal, frame)
        if self._own_forms is None:
            weight = weight * form
        return x, y, z, weight * capture if self._captures else weight

    def operands(self, x: Tensor, y: Tensor, z: Tensor, interpolate: bool = False) -> Sum:
        """What is summed over directions at unit directions x, y, z (n,)."""
        operands = Sum(x, y, z, self.maps, self.lattice, self._own_forms)
        if interpolate:
            return operands._replace(factors=self._factors(x, y, z, self.maps.T))
        return operands if self.scene.grid is None else operands._replace(table=self._squares, box=self._box)

    def surroundings(self, part: slice) -> tuple[Tensor, Tensor]:
        """All that photons hold but the sums over directions: x, y, z and weight of every pass's sum (passes, 4, n),
        and what is added to them (n,)."""
        ordinal, first = self._ordinals(part)
        raster, ends = self._raster_at(first), self._ends(ordinal, first)
        ends = torch.ones_like(ordinal) if ends is None else ends
        views = (self._view(ordinal, self._summed(step)._replace(raster=raster)) for step in self.passes)
        added = self._water(ordinal, first) if self.choices.watery else torch.zeros_like(ordinal)
        return torch.stack([torch.stack((x, y, z, weight * ends)) for x, y, z, weight in views]), added * ends

    # --- what multiplies the sums -------------------------------------------------------------------------------

    def _place(self, place: Place, factor: str) -> bool:
        """Whether a factor enters there; with a single evaluation of geometry all places are the same."""
        chosen = getattr(self.choices, f"{factor}_place")
        if len(self.passes) == 1 and chosen is Place.END:
            chosen = Place.TERM
        return chosen is place

    @property
    def _captures(self) -> bool:
        return self.choices.absorbing and self._place(Place.TERM, "capture")

    def _ends(self, ordinal: Tensor, first: float) -> Tensor | None:
        """What multiplies the whole sum of a pixel (part B §3.8), if anything."""
        ends = None
        if self._place(Place.END, "omega") or self._place(Place.END, "polar"):
            frame = self.frame(first, self.passes[0], with_omega=self._place(Place.END, "omega"), with_capture=False)
            if self._place(Place.END, "polar"):
                frame = frame._replace(form=self._polar_forms[:, 0].contiguous())
            _, _, _, omega, polar, _ = look(self.kernels, ordinal, frame)
            ends = omega * polar
        if self.choices.absorbing and self._place(Place.END, "capture"):
            last = next(step for step in self.passes if step.layer == self.choices.layers - 1)
            frame = self.frame(first, last, with_omega=False, with_capture=True)
            capture = look(self.kernels, ordinal, frame).capture
            ends = capture if ends is None else ends * capture
        return ends

    def _water(self, ordinal: Tensor, first: float) -> Tensor:
        """Photons of diffuse scattering before the final factors (part B §8)."""
        if self.choices.quirks.water_scaling:
            return self.scene.scale * self.scene.background * self._factors_of_only_pass(ordinal, first)
        sources = len(self.scene.sources.wavelength)
        mean = self.forms[::self.directions // sources].mean(0)
        diffuse = torch.zeros_like(ordinal)
        for step in self.passes:
            frame = self.frame(first, step, with_omega=self._place(Place.TERM, "omega"), with_capture=self._captures)
            _, _, _, omega, polar, capture = look(self.kernels, ordinal, frame._replace(form=mean))
            diffuse = diffuse + omega * polar * capture
        return self.scene.background * diffuse / self.choices.oversample**2

    def _factors_of_only_pass(self, ordinal: Tensor, first: float) -> Tensor | float:
        """Final factors that a single evaluation has taken into its sum."""
        if len(self.passes) > 1:
            return 1.0
        ends = {factor: getattr(self.choices, f"{factor}_place") is Place.END
                for factor in ("omega", "polar", "capture")}
        frame = self.frame(first, self.passes[0], with_omega=ends["omega"],
                           with_capture=ends["capture"] and self.choices.absorbing)
        form = self._polar_forms[:, 0].contiguous() if ends["polar"] else self._unit_form
        _, _, _, omega, polar, capture = look(self.kernels, ordinal, frame._replace(form=form))
        return omega * polar * capture

    # --- operands -----------------------------------------------------------------------------------------------

    def _raster_at(self, first: float) -> Tensor:
        raster = self.raster
        columns, left, bottom = ((raster.width, 0, 0) if raster.chosen is not None
                                 else (raster.columns, raster.left, raster.bottom))
        return torch.tensor([first, 1.0 / columns, columns, left, bottom], dtype=torch.float64)

    def _summed(self, step: Pass) -> Frame:
        """Frame of a pass with everything that is the same for all pixels in its solid angle; made once."""
        if step not in self._frames:
            frame = self.frame(0.0, step, with_omega=self._place(Place.TERM, "omega"), with_capture=self._captures)
            self._frames[step] = frame._replace(omega=frame.omega * (self.scene.scale * self._peak),
                                                form=self._common_form)
        return self._frames[step]

    def frame(self, first: float, step: Pass, *, with_omega: bool, with_capture: bool) -> Frame:
        """Geometry of one sub-pixel and layer (part B §§3.4 to 3.7); the form is 1."""
        geometry, choices = self.scene.geometry, self.choices
        pixel, zero = geometry.pixel_size, torch.zeros_like(geometry.pixel_size)
        along, up = pixel * geometry.fdet, pixel * geometry.sdet
        origin = (geometry.pix0 + step.layer * geometry.layer_depth * geometry.odet
                  + (step.sub_fast + 0.5) / choices.oversample * along
                  + (step.sub_slow + 0.5) / choices.oversample * up)
        area = torch.stack((zero + 1.0, zero, zero))
        if with_omega and choices.point_pixel:
            area = torch.stack((zero, zero + 1.0, zero))
        elif with_omega:
            area = torch.stack((zero, zero, pixel * pixel * geometry.close_distance))
        passed = -geometry.layer_depth * geometry.attenuation
        sensor = (torch.stack((zero, zero + 1.0, step.layer * passed, (step.layer + 1) * passed)) if with_capture
                  else torch.stack((zero + 1.0, zero, zero, zero)))
        return Frame(self._raster_at(first), torch.stack((along, up, origin)), area, self._unit_form,
                     torch.cat((geometry.odet, sensor)))

    @cached_property
    def _unit_form(self) -> Tensor:
        return torch.tensor([1.0, 0, 0, 0, 0, 0, 0], dtype=torch.float64)

    @cached_property
    def maps(self) -> Tensor:
        """Affine maps (J, 12), sources outer."""
        directions, shift = self.scene.directions, self.scene.directions.shift
        if self.choices.about_beam(shift.dtype):
            shift = shift - (directions.maps * self.scene.geometry.beam).sum(-1)
        return torch.cat((directions.maps, shift[..., None]), dim=-1).reshape(-1, 12)

    @property
    def maps_and_forms(self) -> tuple[Tensor, Tensor]:
        """Maps (J, 12) and forms (J, 7)."""
        return self.maps, self.forms

    @cached_property
    def forms(self) -> Tensor:
        """Weight and polarisation of every direction as quadratic forms (J, 7)."""
        scene, choices = self.scene, self.choices
        sources, orientations = scene.directions.shift.shape[:2]
        forms = self._unit_form[:, None].expand(7, sources)
        if self._place(Place.TERM, "polar"):
            # a single evaluation takes the first ray's polarisation for all
            forms = (self._polar_forms if choices.polar_place is Place.TERM
                     else self._polar_forms[:, :1].expand(7, sources))
        if not choices.quirks.source_weights_ignored:
            forms = forms * scene.sources.weight
        return forms.T.repeat_interleave(orientations, dim=0)

    @property
    def _own_forms(self) -> Tensor | None:
        """Forms (J, 7) where every direction has its own; None where that of the frame is all directions'."""
        listed = self.scene.grid is not None and (self.choices.interpolate or self.shape not in ALONE)
        return self.forms if listed or len(self.scene.sources.wavelength) > 1 else None

    @property
    def _common_form(self) -> Tensor:
        return self.forms[0] if self._own_forms is None else self._unit_form

    @cached_property
    def _polar_forms(self) -> Tensor:
        """½(1 + dᵀQd) of every source, (7, S) (part B §5.5)."""
        Q = self.scene.polar_forms
        if self.choices.unpolarized:
            return self._unit_form[:, None].expand(7, len(Q))
        half = torch.full_like(Q[:, 0, 0], 0.5)
        return torch.stack((half, 0.5 * Q[:, 0, 0], 0.5 * Q[:, 1, 1], 0.5 * Q[:, 2, 2], Q[:, 0, 1], Q[:, 0, 2],
                            Q[:, 1, 2]))

    @cached_property
    def lattice(self) -> Tensor:
        """What the shape transform needs, (12,) in the working dtype: see `fused.SHAPES`."""
        lattice = self.scene.lattice
        cells = lattice.cells * torch.sqrt(lattice.fudge) if self.shape is CrystalShape.ROUND else lattice.cells
        limits = TINY[self.kernels.work] * torch.square(cells)
        steepness = 1.0 / SPOT_SIZE**2 if self.shape is CrystalShape.TOPHAT else -2.0 * LOG2_E / SPOT_SIZE
        form = lattice.radius_form * (steepness * lattice.fudge)
        entries = (*cells, *limits, form[0, 0], form[1, 1], form[2, 2], 2.0 * form[0, 1], 2.0 * form[0, 2],
                   2.0 * form[1, 2])
        return torch.stack(entries).to(self.kernels.work)

    @property
    def _peak(self) -> Tensor:
        """F_cell²·F_latt² at the greatest, without what varies."""
        volume = torch.prod(self.scene.lattice.cells)
        if self.shape is CrystalShape.SQUARE:
            volume = torch.ones_like(volume)
        height = volume * ROUND_SCALE if self.shape is CrystalShape.ROUND else volume
        return torch.square(height if self.scene.grid is not None else height * self.scene.default_F)

    # --- structure factors --------------------------------------------------------------------------------------

    @cached_property
    def _box(self) -> Tensor:
        grid = self.scene.grid
        return torch.tensor([*(low - BORDER for low in grid.low), *grid.shape], dtype=torch.float64)

    @cached_property
    def _squares(self) -> Tensor:
        return torch.square(self.scene.grid.values)

    def _factors(self, x: Tensor, y: Tensor, z: Tensor, maps: Tensor) -> Tensor:
        """F_cell² (n, J) of directions under maps (12, J) by interpolation where the table reaches, else that of the
        nearest node."""
        hkl = self._hkl(x, y, z, maps)
        flat = tuple(index.reshape(-1) for index in hkl)
        total = torch.zeros_like(flat[0])
        for layer in self._layers.unbind(0):
            total = self.kernels("cubic layer", *flat, total, layer, self.scene.grid.values, self._box)
        cubic = torch.square(total).reshape(hkl[0].shape)
        # where the first refusal ends it for good, interpolated pixels are those before, whose indices are all allowed
        if self.choices.quirks.interpolation_latch or not self._near_end(hkl):
            return cubic
        nearest = self.kernels("nearest", x, y, z, maps, self._squares, self._box)
        return torch.where(within_tricubic_range(self.scene.grid, *hkl), cubic, nearest)

    def _hkl(self, x: Tensor, y: Tensor, z: Tensor, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.kernels("indices", x, y, z, maps)

    @cached_property
    def _layers(self) -> Tensor:
        return torch.tensor(CUBIC_LAYERS, dtype=torch.float64)

    def near_refusal(self, part: slice, step: Pass) -> bool:
        """Whether any Miller index of these pixels is within rounding of where the table refuses interpolation, or
        beyond."""
        ordinal, first = self._ordinals(part)
        x, y, z, *_ = look(self.kernels, ordinal, self._summed(step)._replace(raster=self._raster_at(first)))
        return self._near_end(self._hkl(x, y, z, self.maps.T))

    def _near_end(self, hkl: tuple[Tensor, Tensor, Tensor]) -> bool:
        axes = zip(hkl, self.scene.grid.low, self.scene.grid.high, strict=True)
        return any(bool(index.max() > high - 2.0 - ROUNDING) or bool(index.min() < low + 2.0 + ROUNDING)
                   for index, low, high in axes)
