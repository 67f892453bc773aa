"""Functions with removable singularities, exact in value and in derivative at the singular point."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..recompute import differentiated

_SERIES_BELOW = 1e-2
"""|argument| under which the direct quotient loses more digits than the truncated series."""


class _Sincg(torch.autograd.Function):
    """sin(πNf)/sin(πf) with its derivatives by f and N written out; see `sincg`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(f: Tensor, cells: Tensor) -> Tensor:
        # a tiny power of two gives the limit N at f = 0, exactly, and vanishes in any other phase
        tiny = torch.full((), torch.finfo(f.dtype).tiny * 2**26, dtype=f.dtype, device=f.device)
        phase = torch.add(tiny, f, alpha=math.pi)
        # nobody else has these two: written over, they stay in the processor's cache
        return (cells * phase).sin_().div_(phase.sin_())

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        f, cells = ctx.saved_tensors  # only once: under checkpointing they can be unpacked no second time
        by_f, by_cells = _sincg_slopes(f, cells)
        return grad * by_f, _sum_to(grad * by_cells, cells.shape)

    @staticmethod
    def jvp(ctx, f_dot, cells_dot):
        by_f, by_cells = _sincg_slopes(*ctx.saved_tensors)
        return by_f * f_dot + by_cells * cells_dot


def sincg(f: Tensor, cells: Tensor) -> Tensor:
    """Grating factor sin(πNf)/sin(πf) for |f| ≤ ½ (any shape) and cells N ≥ 1; N at f = 0 (part B §7).

    The shape of N is () or broadcasts to that of f.

    Its derivative by f is 0 at f = 0; that by N is πf·cos(πNf)/sin(πf), 1 at f = 0.
    """
    if differentiated(f, cells):
        return _Sincg.apply(f, cells)
    return _Sincg.forward(f, cells)


def sincg_product_squared(phases: Iterable[Tensor], counts: Sequence[int]) -> Tensor:
    """Product (...) of the squared grating factors sin²(Nx)/sin²(x) of whole N at phases x = πh, float64 (...) an axis.

    The phases are asked for in turn and written over: they must be nobody else's, and take no part in a derivative.
    h need not be near 0, for only sin²x and cos²x are needed, which have the period of a node.
    """
    product = None
    for phase, count in zip(phases, counts, strict=True):
        grating = _grating(phase, count)
        product = grating if product is None else product.mul_(grating)
    return product


def _grating(phase: Tensor, count: int) -> Tensor:
    """sin²(Nx)/sin²x by its zeros, new: N²·Π(1 - sin²x/sin²(πk/N))² over k < N/2, times cos²x for even N.

    Each zero costs a tenth of a sine. cos²x next to its own zero is no difference from 1, which would have few digits.
    """
    if count % 2:
        sine2, cosine2 = phase.sin_().square_(), None
    else:
        cosine2 = phase.cos_().square_()
        sine2 = 1.0 - cosine2
    grating = torch.full_like(sine2, count)
    for zero in range(1, (count + 1) // 2):
        grating.addcmul_(grating, sine2, value=-1.0 / math.sin(math.pi * zero / count)**2)
    grating.square_()
    return grating if cosine2 is None else grating.mul_(cosine2)


def _sincg_slopes(f: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    phase = math.pi * f
    near = torch.abs(cells * phase) < _SERIES_BELOW
    safe = torch.where(near, torch.full_like(phase, 0.5), phase)
    sine, cosine = torch.sin(safe), torch.cos(safe)
    sine_n, cosine_n = torch.sin(cells * safe), torch.cos(cells * safe)
    direct = math.pi * (cells * cosine_n * sine - sine_n * cosine) / torch.square(sine)
    n2, x2 = torch.square(cells), torch.square(phase)
    series = -math.pi * cells * (n2 - 1.0) * phase / 3.0 * (1.0 - x2 * (3.0 * n2 - 7.0) / 30.0)
    by_f = torch.where(near, series, direct)
    series_n = 1.0 + x2 / 6.0 - n2 * x2 / 2.0 + torch.square(x2) * (7.0 / 360.0 - n2 / 12.0 + torch.square(n2) / 24.0)
    by_cells = torch.where(near, series_n, safe * cosine_n / sine)
    return by_f, by_cells


def sinc3(squared: Tensor, *, literal: bool = False) -> Tensor:
    """3(sin x/x - cos x)/x² as a function of x² (any shape); 1 at 0: the transform of a sphere (part B §7).

    `literal` keeps the program's own formula, which loses all digits below x of about 1e-5.
    """
    positive = squared > 0
    x = torch.sqrt(torch.where(positive, squared, torch.ones_like(squared)))
    if literal:
        direct = 3.0 * (torch.sin(x) / x - torch.cos(x)) / (x * x)
        return torch.where(positive, direct, torch.ones_like(squared))
    near = squared < 0.25
    x = torch.where(near, torch.ones_like(x), x)
    direct = 3.0 * (torch.sin(x) / x - torch.cos(x)) / torch.square(x)
    s = torch.where(near, squared, torch.zeros_like(squared))
    series = 1.0 - s / 10.0 * (1.0 - s / 28.0 * (1.0 - s / 54.0 * (1.0 - s / 88.0 * (1.0 - s / 130.0 * (
        1.0 - s / 180.0)))))
    return torch.where(near, series, direct)


def _sum_to(gradient: Tensor, shape: torch.Size) -> Tensor:
    return gradient.sum_to_size(shape) if gradient.shape != shape else gradient
