"""The sum over directions with its derivatives written out: inputs are kept, everything else is evaluated again.

With s the derivatives of each term by its Miller indices (P, J) and D = (x, y, z, 1), the gradient of the affine maps
is Dᵀ·s and that of the pixel directions s·maps: matrix products. A derivative image is the same read forwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .config import CrystalShape
from .packages import Kernels


def direction_sum(kernels: Kernels, shape: CrystalShape, x: Tensor, y: Tensor, z: Tensor, factors: Tensor | None,
                  maps: Tensor, forms: Tensor, lattice: Tensor) -> Tensor:
    """Σ over J of form·F_latt²·factor, (P,), as `fused.many_directions`; differentiable in x, y, z, maps and forms."""
    if factors is None:
        return _DirectionSum.apply(kernels, shape, x, y, z, maps, forms, lattice)
    return _DirectionSum.apply(kernels, shape, x, y, z, maps, forms, lattice, factors)


def _monomials(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """(P, 7): what a quadratic form's coefficients multiply."""
    return torch.stack((torch.ones_like(x), x * x, y * y, z * z, x * y, x * z, y * z), dim=1)


class _DirectionSum(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(kernels, shape, x, y, z, maps, forms, lattice, *factors):
        if factors:
            return kernels(f"many weighted {shape.value}", x, y, z, *factors, maps, forms, lattice)
        return kernels(f"many {shape.value}", x, y, z, maps, forms, lattice)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.kernels, ctx.shape, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, gradient):
        x, y, z, maps, forms, lattice, *factors = ctx.saved_tensors
        intensity, *by_hkl = _slopes(ctx, x, y, z, maps, forms, lattice, *factors)
        ones = torch.stack((x, y, z, torch.ones_like(x)), dim=1)
        weighted = (ones * gradient[:, None]).T
        by_maps = torch.cat([weighted @ by_index for by_index in by_hkl]).T if ctx.needs_input_grad[5] else None
        by_forms = intensity.T @ (_monomials(x, y, z) * gradient[:, None]) if ctx.needs_input_grad[6] else None
        turned = sum(by_index @ maps[:, 4 * axis:4 * axis + 3] for axis, by_index in enumerate(by_hkl))
        by_xyz = (gradient * (turned[:, place] + slope)
                  for place, slope in enumerate(_form_slopes(intensity @ forms, x, y, z)))
        return None, None, *by_xyz, by_maps, by_forms, None, *(None for _ in factors)

    @staticmethod
    def jvp(ctx, _, __, x_dot, y_dot, z_dot, maps_dot, forms_dot, lattice_dot, *factors_dot):
        x, y, z, maps, forms, lattice, *factors = ctx.saved_tensors
        intensity, *by_hkl = _slopes(ctx, x, y, z, maps, forms, lattice, *factors)
        total = torch.zeros_like(x)
        for axis, by_index in enumerate(by_hkl):
            if maps_dot is not None:
                moved = by_index @ maps_dot[:, 4 * axis:4 * axis + 4]
                total = total + moved[:, 0] * x + moved[:, 1] * y + moved[:, 2] * z + moved[:, 3]
            turned = by_index @ maps[:, 4 * axis:4 * axis + 3]
            for place, rate in enumerate((x_dot, y_dot, z_dot)):
                total = total if rate is None else total + turned[:, place] * rate
        return total + _form_rate(x, y, z, forms, intensity, (x_dot, y_dot, z_dot), forms_dot)


def _form_slopes(q, x, y, z):
    """Derivatives by x, y and z of quadratic forms with coefficients q (P, 7)."""
    return (2.0 * q[:, 1] * x + q[:, 4] * y + q[:, 5] * z, 2.0 * q[:, 2] * y + q[:, 4] * x + q[:, 6] * z,
            2.0 * q[:, 3] * z + q[:, 5] * x + q[:, 6] * y)


def _form_rate(x, y, z, forms, intensity, rates, forms_dot):
    total = torch.zeros_like(x)
    for slope, rate in zip(_form_slopes(intensity @ forms, x, y, z), rates, strict=True):
        total = total if rate is None else total + slope * rate
    if forms_dot is not None:
        total = total + ((intensity @ forms_dot) * _monomials(x, y, z)).sum(1)
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


def _slopes(ctx, x, y, z, maps, forms, lattice, *factors):
    """Intensity and derivatives by h, k, l, (P, J) in float64."""
    found = _Slopes.apply(ctx.kernels, f"slopes {ctx.shape.value}", x, y, z, maps.T, forms.T, lattice)
    found = tuple(slope.to(x.dtype) for slope in found)
    return tuple(slope * factors[0] for slope in found) if factors else found
