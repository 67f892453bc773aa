"""Everything that the kernel sums over, as tensors in their final precision; made once a run from the models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .config import BeamConfig, ConfigError, CrystalShape, SamplingConfig, plain, plain3
from .constants import CLASSICAL_ELECTRON_RADIUS_SQUARED_M2
from .models import Beam, Cell, Crystal, Detector, DetectorGeometry, Sources
from .physics.background import water_intensity
from .physics.lattice_factor import Lattice, few, radius_form
from .physics.polarization import polarization_forms
from .physics.structure_factor import FactorGrid
from .quirks import Quirks

FROM_BEAM = (torch.float32,)
"""Dtypes of geometry with too few digits for h = A·d - A·i at small angles: they take h = A·(d - b) - A·(i - b)."""


class Directions(NamedTuple):
    """(h, k, l) = maps·(d - o) + shift for every source x orientation and unit diffracted direction d.

    The origin o is 0, or the beam's direction for the dtypes `FROM_BEAM`, in which d alone would cost digits.
    maps (S, M, 3, 3) and shift (S, M, 3) are dimensionless; M runs over phi steps (outer) and mosaic domains.
    """

    maps: Tensor
    shift: Tensor

    @classmethod
    def fold(cls, vectors: Tensor, sources: Sources, origin: Tensor) -> Directions:
        """Fold lattice vectors (M, 3, 3) m, wavelengths and incident directions into affine maps (part B §6.1)."""
        maps = vectors[None] / sources.wavelength[:, None, None, None]
        return cls(maps, (maps * (origin - sources.incident)[:, None, None, :]).sum(-1))


class Place(Enum):
    """Where a factor enters: each contribution, the running sum after each addition, or the final sum (§§3.8, 8)."""

    TERM = "term"
    RUNNING = "running"
    END = "end"


@dataclass(frozen=True)
class Choices:
    """The branches of a run, fixed before it: none depends on a tensor."""

    shape: CrystalShape
    interpolate: bool
    oversample: int
    layers: int
    steps: int
    absorbing: bool
    curved: bool
    point_pixel: bool
    unpolarized: bool
    culling: bool
    watery: bool
    oversample_thick: bool
    oversample_polar: bool
    oversample_omega: bool
    quirks: Quirks

    @property
    def omega_place(self) -> Place:
        """Where the solid angle enters the sum."""
        return self._place(self.oversample_omega, self.quirks.omega_first_subpixel)

    @property
    def polar_place(self) -> Place:
        """Where the polarisation enters the sum."""
        return self._place(self.oversample_polar, self.quirks.polar_first_ray)

    @property
    def capture_place(self) -> Place:
        """Where the captured fraction enters the sum."""
        return self._place(self.oversample_thick, self.quirks.last_layer_capture)

    @property
    def running_product(self) -> bool:
        """Whether any factor multiplies the running sum."""
        return Place.RUNNING in (self.omega_place, self.polar_place, self.capture_place)

    def about_beam(self, dtype: torch.dtype) -> bool:
        """Whether indices are reckoned from the beam's direction: for the dtypes `FROM_BEAM`, and for the literal
        transform of a sphere, which at the direct beam turns on the digits that A·d - A·i loses (part B §7)."""
        return dtype in FROM_BEAM or (self.shape is CrystalShape.ROUND and self.quirks.sinc3_cancellation)

    def _place(self, oversampled: bool, cached: bool) -> Place:
        if oversampled:
            return Place.RUNNING if self.quirks.running_product else Place.TERM
        return Place.END if cached else Place.TERM


class Scene(NamedTuple):
    """Tensors of a run. scale: r_e²·fluence/steps; background: photons/sr of water before any scaling."""

    geometry: DetectorGeometry
    sources: Sources
    directions: Directions
    first_directions: Directions | None
    polar_forms: Tensor
    lattice: Lattice
    grid: FactorGrid | None
    default_F: Tensor
    scale: Tensor
    background: Tensor
    dmin_m: Tensor
    phi: Tensor

    def to(self, dtype: torch.dtype) -> Scene:
        """The scene in another floating dtype."""
        return _mapped(self, lambda tensor: tensor.to(dtype))

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor of the scene, in a fixed order."""
        collected: list[Tensor] = []
        _mapped(self, lambda tensor: collected.append(tensor) or tensor)
        return collected

    def with_tensors(self, tensors: Iterable[Tensor]) -> Scene:
        """The scene with other tensors, in the order of `tensors`."""
        following = iter(tensors)
        return _mapped(self, lambda _: next(following))


def build_scene(crystal: Crystal, detector: Detector, beam: Beam, choices: Choices, dtype: torch.dtype) -> Scene:
    """Tensors of the experiment in a dtype, made in that of the models."""
    geometry, cell = detector.geometry(), crystal.compute_cell_tensors()
    sources = beam.sources(detector.beam_direction())
    cells = crystal.cell_counts()
    origin = geometry.beam if choices.about_beam(dtype) else torch.zeros_like(geometry.beam)
    directions, first = _directions(crystal, cell, sources, origin)
    fluence = beam.fluence_per_m2
    form = radius_form(cells, cell.reciprocal_axes, by_volume=choices.quirks.spot_width_by_volume)
    return Scene(
        geometry, sources, directions, first,
        polarization_forms(sources.incident, beam.polarization_direction(), beam.polarization_factor),
        Lattice(cells, crystal.fudge, form, few(cells)), crystal.factor_grid(), crystal.default_F,
        CLASSICAL_ELECTRON_RADIUS_SQUARED_M2 * fluence / choices.steps,
        water_intensity(beam.water_size_um / 1e6, fluence), beam.dmin_A * 1e-10, crystal.phi_angles(),
    ).to(dtype)


def choose(crystal: Crystal, detector: Detector, beam: Beam, sampling: SamplingConfig, quirks: Quirks) -> Choices:
    """The branches for the models as they are now, automatic choices that need geometry too (part A §§2.8, 2.10)."""
    oversample = detector.config.oversample or recommended_oversample(crystal, detector, beam)
    steps = source_count(beam) * crystal.domains * crystal.config.phi_steps * oversample**2
    config: BeamConfig = beam.config
    return Choices(
        shape=crystal.config.shape, interpolate=_interpolate(crystal, sampling, quirks), oversample=oversample,
        layers=detector.layers, steps=steps,
        absorbing=detector.present("detector_thick_um") or _zeroing(sampling, quirks),
        curved=detector.config.curved, point_pixel=detector.config.point_pixel,
        unpolarized=config.nopolar and not (sampling.oversample_polar and quirks.nopolar_defeated),
        culling=beam.present("dmin_A"), watery=beam.present("water_size_um"),
        oversample_thick=sampling.oversample_thick, oversample_polar=sampling.oversample_polar,
        oversample_omega=sampling.oversample_omega, quirks=quirks)


def source_count(beam: Beam) -> int:
    """Number of sources, without making them."""
    if beam.config.source_directions is not None:
        return len(beam.config.source_directions)
    return len(beam.kept_points()) * beam.config.dispersion_steps


MOST_SUBPIXELS = 2**31 - 1
"""Sub-pixels per edge beyond which a quantity is taken for a mistake."""


def recommended_oversample(crystal: Crystal, detector: Detector, beam: Beam) -> int:
    """⌈3·W/(λ·distance/pixel)⌉, at least 1, with W the largest crystal edge (part B §4.6).

    Raises:
        ConfigError: there is no such number, or none of use; names what is furthest from the usual.
    """
    edges, geometry = crystal.edge_lengths_m(), detector.geometry()
    widths = edges * crystal.cell_counts()
    reciprocal_pixel = beam.wavelength_m * torch.abs(geometry.distance) / geometry.pixel_size
    ratio = plain(3.0 * widths.max() / reciprocal_pixel)
    if not ratio <= MOST_SUBPIXELS:
        quantities = (
            ("orientation_matrix, cell_a", "a unit cell", edges.max(), 1e-8),
            ("sample_size_mm, N_cells", "a crystal", widths.max(), 1e-6),
            ("wavelength_A", "a wavelength", beam.wavelength_m, 1e-10),
            ("pixel_size_mm", "a pixel edge", geometry.pixel_size, 1e-4),
            ("pix0_vector_m, distance_mm", "a detector away from the crystal,", geometry.distance, 0.1))
        fields, what, value, _ = max(quantities, key=lambda entry: _strangeness(plain(entry[2]), entry[3]))
        raise ConfigError(fields, f"{what} for which at most {MOST_SUBPIXELS} sub-pixels per edge are enough (metres)",
                          plain(value))
    return max(1, math.ceil(ratio))


def _strangeness(value: float, usual: float) -> float:
    """Powers of e between a value and the usual one; none at all are infinitely many."""
    return abs(math.log(abs(value)) - math.log(usual)) if math.isfinite(value) and value else math.inf


def _zeroing(sampling: SamplingConfig, quirks: Quirks) -> bool:
    """-oversample_thick takes the captured fraction of a sensor without thickness too: none (part B §3.8)."""
    return sampling.oversample_thick and quirks.running_product


def _interpolate(crystal: Crystal, sampling: SamplingConfig, quirks: Quirks) -> bool:
    if crystal.factors is None:
        return False
    if sampling.interpolate is not None:
        return sampling.interpolate
    sized = any(size > 0 for size in plain3(crystal.config.sample_size_mm))
    counts = crystal.cell_counts() if sized and not quirks.interpolation_before_size else crystal.decisive("N_cells")
    return any(count <= 2 for count in plain3(counts))


def _directions(crystal: Crystal, cell: Cell, sources: Sources, origin: Tensor) -> tuple[Directions, Directions | None]:
    """Directions of every ray, and those of the run's very first ray where they differ."""
    vectors = crystal.get_rotated_real_vectors(cell=cell)
    used, used_first = crystal.phi_carryover()
    directions = Directions.fold(vectors[used].flatten(0, 1), sources, origin)
    if used == used_first:
        return directions, None
    return directions, Directions.fold(vectors[used_first].flatten(0, 1), sources, origin)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested named tuples with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(entry, change) for entry in value))
    return value
