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

        chosen = tuple(tensors[place] for place in wanted)
        if _once(gradient, *tensors):
            found = _pulled_back(of_wanted, chosen, gradient)
        else:
            found = torch.func.vjp(of_wanted, *chosen)[1](gradient)
        slopes: list[Tensor | None] = [None] * len(tensors)
        for place, slope in zip(wanted, found, strict=True):
            slopes[place] = slope
        return None, *slopes

    @staticmethod
    def jvp(ctx, _, *tangents: Tensor | None) -> Tensor:
        tensors = ctx.saved_tensors
        filled = tuple(torch.zeros_like(tensor) if tangent is None else tangent
                       for tensor, tangent in zip(tensors, tangents, strict=True))
        return torch.func.jvp(ctx.function, tensors, filled)[1]


def _once(*tensors: Tensor) -> bool:
    """Whether the derivative itself is not to be differentiated: then compiled kernels can take it."""
    return not torch.is_grad_enabled() and not any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors))


def _pulled_back(function: Callable[..., Tensor], chosen: tuple[Tensor, ...], gradient: Tensor) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        inputs = tuple(tensor.detach().requires_grad_() for tensor in chosen)
        result = function(*inputs)
    if not result.requires_grad:
        return tuple(map(torch.zeros_like, inputs))
    found = torch.autograd.grad(result, inputs, gradient, allow_unused=True)
    return tuple(torch.zeros_like(tensor) if slope is None else slope
                 for tensor, slope in zip(inputs, found, strict=True))


def differentiated(*tensors: Tensor) -> bool:
    """Whether a derivative, forward or backward, is or may be taken through any of them."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return True
    if any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors)):
        return True
    forward_ad = torch.autograd.forward_ad
    return forward_ad._current_level >= 0 and any(
        forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


def recomputed(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """function(*inputs), forgetting everything in between; without a gradient to come it is just called.

    The function must be pure and its derivative reach nothing but these tensors.
    """
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return _Recomputed.apply(function, *inputs)
    return function(*inputs)
