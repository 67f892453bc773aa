"""Derivatives that keep inputs only: the function is evaluated again when its derivative is asked for.

Memory then grows with inputs and results, not with what lies between. Unlike `torch.utils.checkpoint` this composes
with `torch.func` and with forward mode.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class _Recomputed(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        return function(*inputs)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.function, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        tensors = ctx.saved_tensors
        wanted = [place for place, needed in enumerate(ctx.needs_input_grad[1:]) if needed]

        def of_wanted(*chosen: Tensor) -> Tensor:
            inputs = list(tensors)
            for place, tensor in zip(wanted, chosen, strict=True):
                inputs[place] = tensor
            return ctx.function(*inputs)

        _, pull_back = torch.func.vjp(of_wanted, *(tensors[place] for place in wanted))
        slopes: list[Tensor | None] = [None] * len(tensors)
        for place, slope in zip(wanted, pull_back(gradient), strict=True):
            slopes[place] = slope
        return None, *slopes

    @staticmethod
    def jvp(ctx, _, *tangents: Tensor | None) -> Tensor:
        tensors = ctx.saved_tensors
        filled = tuple(torch.zeros_like(tensor) if tangent is None else tangent
                       for tensor, tangent in zip(tensors, tangents, strict=True))
        return torch.func.jvp(ctx.function, tensors, filled)[1]


def recomputed(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """function(*inputs), forgetting everything in between; without a gradient to come it is just called.

    The function must be pure and its derivative reach nothing but these tensors.
    """
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return _Recomputed.apply(function, *inputs)
    return function(*inputs)
