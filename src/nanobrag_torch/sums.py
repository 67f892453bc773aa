"""The sum over directions with its derivatives written out: inputs are kept, everything else is evaluated again.

With s the derivatives of each term by its Miller indices (P, 3J) and D = (x, y, z, 1), the gradient of the affine maps
is Dᵀ·s and that of the pixel directions s·maps: matrix products. A derivative image is the same read forwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .config import CrystalShape
from .packages import ALONE, Kernels
from .recompute import differentiated
from .views import form_slopes, monomials

PIECE = 2**18
"""Pixels x directions of which derivatives are listed at once: bounded by what stays in the processor's cache."""


class Sum(NamedTuple):
    """Operands of a sum over J directions at P pixels: unit directions x, y, z (P,), maps (J, 12), lattice (12,); forms
    (J, 7), None where all are 1; factors: none, listed (P, J), or the nearest nodes' values in a table, given as in
    `fused.Table`. Sums without forms have no listed factors, and tables for the shapes in `ALONE` only."""

    x: Tensor
    y: Tensor
    z: Tensor
    maps: Tensor
    lattice: Tensor
    forms: Tensor | None = None
    factors: Tensor | None = None
    table: Tensor | None = None
    box: Tensor | None = None

    def at(self, part: slice) -> Sum:
        """The same at some of the pixels."""
        factors = None if self.factors is None else self.factors[part]
        return self._replace(x=self.x[part], y=self.y[part], z=self.z[part], factors=factors)

    def listed(self, kernels: Kernels) -> Tensor | None:
        """The factors (P, J), None where all are 1."""
        if self.table is None:
            return self.factors
        return kernels("nearest", self.x, self.y, self.z, self.maps.T, self.table, self.box)

    @property
    def parts(self) -> Iterator[slice]:
        """Pixels whose derivatives are listed at once."""
        size = max(1, PIECE // len(self.maps))
        return (slice(start, start + size) for start in range(0, len(self.x), size))


def direction_sum(kernels: Kernels, shape: CrystalShape, operands: Sum) -> Tensor:
    """Σ over J of form·F_latt²·factor, (P,), as `fused.many_directions`; differentiable in x, y, z, maps and forms."""
    sloped = differentiated(*(operand for operand in operands if operand is not None))
    return (_DirectionSum.apply if sloped else _DirectionSum.forward)(kernels, shape, *operands)


def direction_rates(kernels: Kernels, shape: CrystalShape, operands: Sum, maps_rates: Tensor,
                    forms_rates: Tensor | None, still: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Derivatives of a sum: by the unit direction (3, P), and along n changes of the maps (n, J, 12) and of the forms
    (n, J, 7), (n, P). At a `still` direction (3,) the changes of the maps move no index."""
    room: list[Tensor] = []
    found = [_piece_rates(_terms(kernels, shape, operands.at(part), room), maps_rates, forms_rates, still)
             for part in operands.parts]
    by_xyz, rates = zip(*found, strict=True)
    return torch.cat(by_xyz, dim=1), torch.cat(rates, dim=1)


class _Terms(NamedTuple):
    """A piece of a sum with the derivatives of its terms: by the forms (p, J) and by h, k and l (p, 3J), in the dtype
    of the lattice."""

    operands: Sum
    by_form: Tensor
    by_hkl: Tensor


class _DirectionSum(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(kernels, shape, *entries):
        operands = Sum(*entries)
        at, (maps, lattice, forms) = operands[:3], operands[3:6]
        if forms is None and operands.table is None:
            return kernels(f"many {shape.value}", *at, maps, lattice)
        if forms is None:
            return kernels(f"many tabled {shape.value}", *at, operands.table, operands.box, maps, lattice)
        forms, factors = forms.to(lattice.dtype), operands.listed(kernels)
        if factors is None and shape in ALONE:
            return kernels(f"many posed {shape.value}", *at, maps, forms, lattice)
        if factors is None:
            factors = torch.ones(len(at[0]), len(maps), dtype=maps.dtype, device=maps.device)
        return kernels(f"many weighted {shape.value}", *at, factors, maps, forms, lattice)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.kernels, ctx.shape, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, gradient):
        operands, wanted = Sum(*ctx.saved_tensors), Sum(*ctx.needs_input_grad[2:])
        levers, turns = _Levers.of(operands, gradient), _blocks(operands.maps[None], 3, operands.lattice)
        by_maps = by_forms = None
        turned, room = [], []
        for part in operands.parts:
            terms = _terms(ctx.kernels, ctx.shape, operands.at(part), room)
            of_maps, of_forms, of_xyz = _piece_gradient(terms, wanted, gradient[part], levers.rows[:, part], turns)
            by_maps, by_forms = _added(by_maps, of_maps), _added(by_forms, of_forms)
            if of_xyz is not None:
                turned.append(of_xyz)
        slopes = torch.cat(turned, dim=1).to(gradient.dtype) * gradient if turned else None
        return (None, None, *(None if slopes is None else slopes[axis] for axis in range(3)),
                None if by_maps is None else levers.maps_gradient(by_maps), None, by_forms, None, None, None)

    @staticmethod
    def jvp(ctx, _, __, x_dot, y_dot, z_dot, maps_dot, lattice_dot, forms_dot, *factors_dot):
        operands = Sum(*ctx.saved_tensors)
        maps_dot = torch.zeros_like(operands.maps) if maps_dot is None else maps_dot
        by_xyz, rates = direction_rates(ctx.kernels, ctx.shape, operands, maps_dot[None],
                                        None if forms_dot is None else forms_dot[None])
        total = rates[0]
        for slope, rate in zip(by_xyz.unbind(0), (x_dot, y_dot, z_dot), strict=True):
            total = total if rate is None else total + slope * rate
        return total


class _Slopes(torch.autograd.Function):
    """The operation behind the derivatives, which sees plain tensors at every level of differentiation; its own
    derivatives are those of the eager function."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kernels, name, *operands):
        return kernels(name, *operands)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        kernels, name, *operands = inputs
        ctx.function = kernels.functions[name]
        ctx.save_for_backward(*operands)
        ctx.save_for_forward(*operands)

    @staticmethod
    def backward(ctx, *gradients):
        return None, None, *torch.func.vjp(ctx.function, *ctx.saved_tensors)[1](gradients)

    @staticmethod
    def jvp(ctx, _, __, *tangents):
        operands = ctx.saved_tensors
        filled = tuple(torch.zeros_like(operand) if tangent is None else tangent
                       for operand, tangent in zip(operands, tangents, strict=True))
        return torch.func.jvp(ctx.function, operands, filled)[1]


class _Levers(NamedTuple):
    """What derivatives by h, k and l are multiplied with for the gradient of the maps: x, y, z and 1 times the gradient
    of the sums, (4, P) in the dtype of the lattice, in units of the greatest. Single precision spans little: the
    product is that of numbers near 1."""

    rows: Tensor
    unit: Tensor

    @classmethod
    def of(cls, operands: Sum, gradient: Tensor) -> _Levers:
        """For the gradient (P,) of the sums."""
        x, y, z, *_ = operands
        rows = torch.stack((x, y, z, torch.ones_like(x))) * gradient
        unit = torch.clamp(rows.abs().amax(), min=torch.finfo(rows.dtype).tiny)
        return cls((rows / unit).to(operands.lattice.dtype), unit)

    def maps_gradient(self, product: Tensor) -> Tensor:
        """Gradient (J, 12) of the maps from the products (4, 3J)."""
        return product.reshape(4, 3, -1).permute(2, 1, 0).reshape(-1, 12) * self.unit


def _added(total: Tensor | None, piece: Tensor | None) -> Tensor | None:
    return piece if total is None else total + piece


def _terms(kernels: Kernels, shape: CrystalShape, piece: Sum, room: list[Tensor]) -> _Terms:
    x, y, z, maps, lattice, forms, *_ = piece
    factors = piece.listed(kernels)
    name, given = f"slopes {shape.value}", (x, y, z, maps.T, lattice)
    if differentiated(*given):
        by_form, by_hkl = _Slopes.apply(kernels, name, *given)
    else:
        by_form, by_hkl = kernels(name, *given, room=room)
    weights = None if forms is None else (monomials(x, y, z).T @ forms.T).to(by_hkl.dtype)
    if factors is not None:
        factors = factors.to(by_form.dtype)
        by_form, weights = by_form * factors, factors if weights is None else weights * factors
    if weights is not None:
        by_hkl = (by_hkl.reshape(len(x), 3, -1) * weights[:, None]).reshape(by_hkl.shape)
    return _Terms(piece, by_form, by_hkl)


def _piece_gradient(terms: _Terms, wanted: Sum, gradient: Tensor, levers: Tensor,
                    turns: Tensor) -> tuple[Tensor | None, ...]:
    """What is wanted of a piece: products (4, 3J) for the gradient of the maps, gradient (J, 7) of the forms,
    derivatives of the sum by the unit direction (3, p)."""
    x, y, z, *_ = terms.operands
    dtype = gradient.dtype
    return ((levers @ terms.by_hkl).to(dtype) if wanted.maps else None,
            (monomials(x, y, z) * gradient @ terms.by_form.to(dtype)).T if wanted.forms else None,
            _by_xyz(terms, (terms.by_hkl @ turns.T).T) if wanted.x or wanted.y or wanted.z else None)


def _piece_rates(terms: _Terms, maps_rates: Tensor, forms_rates: Tensor | None,
                 still: Tensor | None) -> tuple[Tensor, Tensor]:
    """By the unit direction (3, p), and along the changes (n, p)."""
    x, y, z, maps, *_ = terms.operands
    lever = torch.stack((x, y, z, torch.ones_like(x)) if still is None else (x - still[0], y - still[1], z - still[2]))
    rows = torch.cat((_blocks(maps[None], 3, terms.by_hkl), _blocks(maps_rates, len(lever), terms.by_hkl)))
    turned, moved = (rows @ terms.by_hkl.T).to(x.dtype).split((3, len(rows) - 3))
    rates = (moved.reshape(len(lever), -1, len(x)) * lever[:, None]).sum(0)
    if forms_rates is not None:
        posed = forms_rates.transpose(1, 2).flatten(0, 1) @ terms.by_form.to(x.dtype).T
        rates = rates + (posed.reshape(-1, 7, len(x)) * monomials(x, y, z)).sum(1)
    return _by_xyz(terms, turned), rates


def _blocks(maps: Tensor, columns: int, like: Tensor) -> Tensor:
    """The first columns of maps (n, J, 12), as rows (columns·n, 3J) to multiply derivatives by h, k, l with."""
    rows = maps.reshape(len(maps), -1, 3, 4)[..., :columns].permute(3, 0, 2, 1)
    return rows.reshape(columns * len(maps), -1).to(like.dtype)


def _by_xyz(terms: _Terms, turned: Tensor) -> Tensor:
    """Derivatives of the sum by the unit direction, (3, p): of the indices, and of the forms where there are any."""
    x, y, z, _, _, forms, *_ = terms.operands
    if forms is None:
        return turned
    q = terms.by_form.to(x.dtype) @ forms
    return turned + torch.stack(form_slopes(q.T, x, y, z))
