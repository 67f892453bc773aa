"""Where pixels look, `fused.look`, with its derivatives by the frame written out.

With d the unit direction, 1/R the inverse distance, q = ṗ/R and s = d·q for a change ṗ of the position: ḋ = q - d·s and
Ṙ/R = s; the gradient is the same read backwards.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .fused import Frame, places
from .packages import Kernels
from .recompute import differentiated


class View(NamedTuple):
    """Unit directions, solid angle, value of the form and captured fraction of n pixels, (n,) each."""

    x: Tensor
    y: Tensor
    z: Tensor
    omega: Tensor
    form: Tensor
    capture: Tensor


def look(kernels: Kernels, ordinal: Tensor, frame: Frame) -> View:
    """Where pixels of these numbers (n,) look; differentiable in axes, omega, form and sensor of the frame."""
    if differentiated(*frame):
        return View(*_Look.apply(kernels, ordinal, *frame))
    return View(*kernels("look", ordinal, *frame))


def monomials(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """(7, n): what a quadratic form's coefficients multiply."""
    return torch.stack((torch.ones_like(x), x * x, y * y, z * z, x * y, x * z, y * z))


def form_slopes(form: Tensor, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of a quadratic form's value by x, y and z; form (7, ...) broadcasts against them."""
    return (2.0 * form[1] * x + form[4] * y + form[5] * z, 2.0 * form[2] * y + form[4] * x + form[6] * z,
            2.0 * form[3] * z + form[5] * x + form[6] * y)


class _Look(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(kernels, ordinal, *frame):
        return kernels("look", ordinal, *frame)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, *gradients):
        ordinal, *entries = ctx.saved_tensors
        frame, view = Frame(*entries), View(*gradients)
        slopes = _Slopes.of(ordinal, frame)
        d, by_facing = slopes.d, view.capture * slopes.by_facing
        by_d = (torch.stack(view[:3]) + view.form * torch.stack(form_slopes(frame.form, *d))
                + by_facing * frame.sensor[:3, None])
        by_position = slopes.inverse * (by_d + d * (view.omega * slopes.by_stretch - (d * by_d).sum(0)))
        sensor = torch.cat((d @ by_facing, slopes.by_sensor @ view.capture))
        return (None, None, None, slopes.places @ by_position.T, slopes.by_omega @ view.omega,
                monomials(*d) @ view.form, sensor)

    @staticmethod
    def jvp(ctx, _, __, raster_dot, *rates):
        ordinal, *entries = ctx.saved_tensors
        frame = Frame(*entries)
        axes, omega, form, sensor = (torch.zeros_like(own) if rate is None else rate
                                     for own, rate in zip(entries[1:], rates, strict=True))
        slopes = _Slopes.of(ordinal, frame)
        d = slopes.d
        q = (axes.T @ slopes.places) * slopes.inverse
        stretch = (d * q).sum(0)
        turned = q - d * stretch
        facing = frame.sensor[:3] @ turned + sensor[:3] @ d
        by_form = torch.stack(form_slopes(frame.form, *d))
        return (*turned.unbind(0), omega @ slopes.by_omega + slopes.by_stretch * stretch,
                form @ monomials(*d) + (by_form * turned).sum(0),
                sensor[3:] @ slopes.by_sensor + slopes.by_facing * facing)


class _Slopes(NamedTuple):
    """What the derivatives of a view are made of. places (3, n): fast and slow pixel number, 1; d (3, n); inverse (n,):
    1/R; derivatives of the solid angle by its coefficients (3, n) and by Ṙ/R (n,); of the captured fraction by its
    coefficients (4, n) and by d·normal (n,)."""

    places: Tensor
    d: Tensor
    inverse: Tensor
    by_omega: Tensor
    by_stretch: Tensor
    by_sensor: Tensor
    by_facing: Tensor

    @classmethod
    def of(cls, ordinal: Tensor, frame: Frame) -> _Slopes:
        """At pixels of these numbers (n,)."""
        fast, slow = places(ordinal, frame.raster)
        where = torch.stack((fast, slow, torch.ones_like(fast)))
        position = frame.axes.T @ where
        inverse = torch.rsqrt(torch.square(position).sum(0))
        d, squared = position * inverse, inverse * inverse
        _, c1, c2 = frame.omega
        c, e1, e2 = frame.sensor[4:]
        slant = 1.0 / (frame.sensor[:3] @ d)
        first, second = torch.exp(e1 * slant), torch.exp(e2 * slant)
        return cls(where, d, inverse, torch.stack((torch.ones_like(inverse), squared, squared * inverse)),
                   -squared * (2.0 * c1 + 3.0 * c2 * inverse),
                   torch.stack((torch.ones_like(slant), first - second, c * first * slant, -c * second * slant)),
                   -c * (e1 * first - e2 * second) * slant * slant)
