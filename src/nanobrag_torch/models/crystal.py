"""From cell or matrix to oriented lattice vectors: misset, phi, mosaic domains; structure factors (part B §4)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..checks import check_factors
from ..config import CrystalConfig, plain, plain3
from ..constants import DEGREES_PER_RADIAN
from ..conventions import FRAMES, DetectorConvention, Frame
from ..deviates import mosaic_axes, random_misset
from ..geometry import cosine_and_sine, cross, dot, radians, root, rotate_about, rotate_xyz, unit
from ..physics.structure_factor import FactorGrid, nearest_factor
from ..quirks import Quirks
from ..recompute import differentiated
from .parameters import ContinuousFields

_FIELDS = (
    "cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma", "orientation_matrix", "matrix_wavelength_A",
    "misset_deg", "phi_start_deg", "osc_range_deg", "phi_step_deg", "spindle_axis", "mosaic_spread_deg", "N_cells",
    "default_F", "fudge",
)


class Cell(NamedTuple):
    """Oriented unit cell: direct vectors (3,) Å, reciprocal vectors (3,) 1/Å, volume Å³ (part B §4.4)."""

    a: Tensor
    b: Tensor
    c: Tensor
    a_star: Tensor
    b_star: Tensor
    c_star: Tensor
    V: Tensor

    @property
    def axes(self) -> Tensor:
        """(3, 3) Å, one direct vector a row."""
        return torch.stack((self.a, self.b, self.c))

    @property
    def reciprocal_axes(self) -> Tensor:
        """(3, 3) 1/Å, one reciprocal vector a row."""
        return torch.stack((self.a_star, self.b_star, self.c_star))


class FactorTable(Protocol):
    """A box of structure factors: values (H, K, L) in electrons from the lowest indices on."""

    values: np.ndarray | Tensor
    h_min: int
    k_min: int
    l_min: int


class Crystal(ContinuousFields):
    """Tensors of a `CrystalConfig`; every continuous field of it is an attribute of the same name.

    `structure_factors` takes the place of the config's `hkl_file`; its `values` may be a tensor with gradient.
    `frame` supplies the spindle axis that the config leaves to the detector convention.
    """

    def __init__(self, config: CrystalConfig | None = None, *, structure_factors: FactorTable | None = None,
                 frame: Frame | None = None, device: torch.device | str = "cpu",
                 dtype: torch.dtype = torch.float64, quirks: Quirks | None = None) -> None:
        config = config or CrystalConfig()
        super().__init__(config, _FIELDS, dtype=dtype, device=torch.device(device))
        self.quirks = quirks or Quirks.clean()
        self.frame = frame or FRAMES[DetectorConvention.MOSFLM]
        self.lowest = [0, 0, 0]
        self.register_buffer("factors", None)
        if structure_factors is not None:
            self.set_structure_factors(structure_factors)
        elif config.hkl_file is not None:
            self.load_hkl(config.hkl_file)

    def load_hkl(self, path: str) -> None:
        """Read structure factors from a list of h k l F (part A §3.1)."""
        from ..io.hkl import read_hkl

        self.set_structure_factors(read_hkl(path, plain(self.config.default_F)))

    def set_structure_factors(self, table: FactorTable) -> None:
        """Take a box of structure factors, NumPy's as a copy; indices outside it have `default_F`.

        Raises `ConfigError` where it is no box of finite real numbers.
        """
        check_factors(table)
        self.lowest[:] = table.h_min, table.k_min, table.l_min  # in place: one list for whatever `seen` gives
        device = self.device
        self._keep("factors", table.values)
        self.to(device)

    @property
    def facts(self) -> tuple[object, ...]:
        """What besides the fields a scene is made of."""
        return *super().facts, *self.lowest

    def factor_grid(self) -> FactorGrid | None:
        """The box with a border of default_F, ready for look-up; None without a list."""
        if self.factors is None:
            return None
        h, k, l = self.lowest  # noqa: E741
        return FactorGrid.bordered(self.factors, (h, k, l), self.default_F)

    def get_structure_factor(self, h: Tensor, k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
        """Structure factor (electrons) at the node nearest to fractional indices of any shape (part B §6.2)."""
        grid = self.factor_grid()
        if grid is None:
            return self.default_F.expand(torch.broadcast_shapes(h.shape, k.shape, l.shape))
        return nearest_factor(grid, *(torch.ceil(index - 0.5) for index in (h, k, l)))

    def compute_cell_tensors(self) -> Cell:
        """The cell in its orientation at phi = 0, missetting included (part B §§4.1 to 4.4)."""
        reciprocal = self._default_reciprocal_axes() if self.orientation_matrix is None else (
            self.orientation_matrix.T * (self.constant(1e-10) / (self.matrix_wavelength_A / 1e10)))
        reciprocal = rotate_xyz(reciprocal, self.misset_angles())
        a_star, b_star, c_star = reciprocal.unbind(0)
        products = torch.stack((cross(b_star, c_star), cross(c_star, a_star), cross(a_star, b_star)))
        reciprocal_volume = dot(a_star, products[0])
        if self.cell_a is not None:
            volume = self._cell_volume()
            products = products * (self.edges() / volume / root(dot(products, products)))[:, None]
            reciprocal_volume = 1.0 / volume
        volume = 1.0 / reciprocal_volume
        a, b, c = (volume * products).unbind(0)
        return Cell(a, b, c, reciprocal_volume * cross(b, c), reciprocal_volume * cross(c, a),
                    reciprocal_volume * cross(a, b), volume)

    def edges(self) -> Tensor:
        """Cell edges a, b, c as given, (3,) Å."""
        b = self.cell_a if self.cell_b is None else self.cell_b
        c = self.cell_a if self.cell_c is None else self.cell_c
        return torch.stack((self.cell_a, b, c))

    def misset_angles(self) -> Tensor:
        """Rotations about lab x, y, z, (3,) radians, given or drawn (part B §4.3)."""
        if self.config.misset_random_seed is not None:
            return self.constant(random_misset(self.config.misset_random_seed))
        return radians(self.misset_deg)

    def cell_counts(self) -> Tensor:
        """Na, Nb, Nc as (3,); those of a sample size are rounded up to whole cells (part B §4.6)."""
        sizes = plain3(self.config.sample_size_mm)
        if not any(size > 0 for size in sizes):
            return torch.clamp(self.N_cells, min=1.0)
        sizes_m = self.constant(sizes) / 1000.0
        counts = torch.where(sizes_m > 0, torch.ceil(sizes_m / self.edge_lengths_m()), self.N_cells)
        return torch.clamp(counts, min=1.0)

    def edge_lengths_m(self) -> Tensor:
        """|a|, |b|, |c| of the oriented cell, (3,) metres, with the last digit of the canonical program."""
        axes_m = self.compute_cell_tensors().axes * 1e-10
        return root(dot(axes_m, axes_m))

    def spindle_direction(self) -> Tensor:
        """Unit rotation axis, (3,)."""
        return unit(self.constant(self.frame.spindle) if self.spindle_axis is None else self.spindle_axis)

    def phi_angles(self) -> Tensor:
        """Spindle angle at the start of each step, (phi_steps,) radians (part B §4.7)."""
        steps = self.config.phi_steps
        step = radians(self.osc_range_deg) / steps if self.phi_step_deg is None else radians(self.phi_step_deg)
        return radians(self.phi_start_deg) + step * self.constant(range(steps))

    def plain_phi_angles(self) -> list[float]:
        """Spindle angles as plain radians, for decisions, by the arithmetic of `phi_angles`."""
        steps, given = self.config.phi_steps, self.decisive("phi_step_deg")
        step = (plain(self.decisive("osc_range_deg")) / DEGREES_PER_RADIAN / steps if given is None
                else plain(given) / DEGREES_PER_RADIAN)
        return [plain(self.decisive("phi_start_deg")) / DEGREES_PER_RADIAN + step * index for index in range(steps)]

    def phi_carryover(self) -> tuple[list[int], list[int]]:
        """Per phi step, the step whose orientation is used: by every ray, and by the very first ray of a run.

        In clean physics every step uses its own. With the fault, a step at exactly 0 repeats the step evaluated
        before it, the first step the last one; only the first ray starts from the unrotated crystal (part B §4.7).
        """
        own = list(range(self.config.phi_steps))
        moved = [angle != 0.0 for angle in self.plain_phi_angles()] if self.quirks.phi_carryover else [True]
        if all(moved) or not any(moved):
            return own, own
        last = max(step for step in own if moved[step])
        return _carried(moved, last), _carried(moved, 0)

    def domain_rotations(self, vectors: Tensor) -> Tensor:
        """Lattice vectors (..., 3) in every mosaic domain, (domains, ..., 3); the first is not turned (§4.5)."""
        if self.domains == 1 and not differentiated(self.mosaic_spread_deg):
            return vectors[None]
        axes, factor = mosaic_axes(self.domains, self.config.mosaic_seed)
        axes, factor = self.constant(axes), self.constant(factor)
        spread = radians(self.mosaic_spread_deg)
        if self.quirks.single_precision_mosaic:
            angle = (spread.float() * factor.float()).to(self.dtype)
        else:
            angle = spread * factor
        angle = angle * self.constant([0.0] + [1.0] * (len(factor) - 1))
        shape = (-1, *[1] * (vectors.ndim - 1))
        turned = rotate_about(vectors[None], axes.reshape(*shape, 3), angle.reshape(shape))
        return torch.cat((vectors[None], turned[1:]))

    @property
    def domains(self) -> int:
        """Number of mosaic domains, also while a spread that may yet be refined is 0."""
        return self.config.mosaic_domains

    def get_rotated_real_vectors(self, config: CrystalConfig | None = None, *, cell: Cell | None = None) -> Tensor:
        """Direct lattice vectors in every orientation: (phi_steps, domains, 3 vectors, 3 components), metres.

        U·R(spindle, phi)·a: the mosaic rotation follows the spindle's (part B §4.7). Every step uses its own angle.
        cell: that of `compute_cell_tensors`, where it is at hand.
        """
        if config is not None and config is not self.config:
            return Crystal(config, frame=self.frame, device=self.device, dtype=self.dtype,
                           quirks=self.quirks).get_rotated_real_vectors()
        vectors = (cell or self.compute_cell_tensors()).axes * 1e-10
        turned = rotate_about(vectors, self.spindle_direction(), self.phi_angles()[:, None])
        return self.domain_rotations(turned).transpose(0, 1)

    a = property(lambda self: self.compute_cell_tensors().a, doc="(3,) Å.")
    b = property(lambda self: self.compute_cell_tensors().b, doc="(3,) Å.")
    c = property(lambda self: self.compute_cell_tensors().c, doc="(3,) Å.")
    a_star = property(lambda self: self.compute_cell_tensors().a_star, doc="(3,) 1/Å.")
    b_star = property(lambda self: self.compute_cell_tensors().b_star, doc="(3,) 1/Å.")
    c_star = property(lambda self: self.compute_cell_tensors().c_star, doc="(3,) 1/Å.")
    V = property(lambda self: self.compute_cell_tensors().V, doc="Cell volume, Å³.")

    def _cell_volume(self) -> Tensor:
        """V = 2abc·√|sin σ sin(σ-α) sin(σ-β) sin(σ-γ)|, σ the half-sum of the angles (part B §4.1)."""
        alpha, beta, gamma = radians(torch.stack((self.cell_alpha, self.cell_beta, self.cell_gamma)))
        half = 0.5 * (alpha + beta + gamma)
        _, sines = cosine_and_sine(torch.stack((half, half - alpha, half - beta, half - gamma)))
        skew = sines[0] * sines[1] * sines[2] * sines[3]
        a, b, c = self.edges()
        return 2.0 * a * b * c * root(torch.abs(skew))

    def _default_reciprocal_axes(self) -> Tensor:
        """a*, b*, c* in the canonical orientation: a* along x, b* in the xy plane; (3, 3) 1/Å (part B §4.1)."""
        a, b, c = self.edges()
        angles = radians(torch.stack((self.cell_alpha, self.cell_beta, self.cell_gamma)))
        (cos_al, cos_be, cos_ga), (sin_al, sin_be, sin_ga) = cosine_and_sine(angles)
        volume = self._cell_volume()
        inverse = 1.0 / volume
        a_star, b_star, c_star = b * c * sin_al * inverse, c * a * sin_be * inverse, a * b * sin_ga * inverse
        sin_ga_star = torch.clamp(c * inverse / a_star / b_star, -1.0, 1.0)
        cos_al_star = (cos_be * cos_ga - cos_al) / (sin_be * sin_ga)
        cos_be_star = (cos_ga * cos_al - cos_be) / (sin_ga * sin_al)
        cos_ga_star = (cos_al * cos_be - cos_ga) / (sin_al * sin_be)
        if self.quirks.triclinic_cell_axes:
            height = c_star * volume / (a * b * c * sin_ga_star)
        else:
            height = inverse / (a_star * b_star * sin_ga_star)
        zero = torch.zeros_like(a_star)
        return torch.stack((
            torch.stack((a_star, zero, zero)),
            torch.stack((b_star * cos_ga_star, b_star * sin_ga_star, zero)),
            torch.stack((c_star * cos_be_star,
                         c_star * (cos_al_star - cos_be_star * cos_ga_star) / sin_ga_star, height)),
        ))


def _carried(moved: list[bool], previous: int) -> list[int]:
    used = []
    for step, turns in enumerate(moved):
        previous = step if turns else previous
        used.append(previous)
    return used
