"""Polarisation factor as a quadratic form in the diffracted direction (part B §5.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import cross, unit


def polarization_forms(incident: Tensor, axis: Tensor, kahn: Tensor) -> Tensor:
    """Forms Q (S, 3, 3) with polarisation = ½(1 + dᵀQd) for unit incident directions (S, 3) and E-vector (3,).

    ½(1 + cos²2θ - κ cos 2ψ sin²2θ) in Kahn's notation; since (B, E, incident) is orthonormal,
    cos 2ψ sin²2θ = (d·E)² - (d·B)², which has no singularity at 2θ = 0.
    """
    B = unit(cross(axis.expand_as(incident), incident))
    E = unit(cross(incident, B))
    return _outer(incident) - kahn * (_outer(E) - _outer(B))


def polarization(diffracted: Tensor, forms: Tensor) -> Tensor:
    """Polarisation factor (P, S) of unit directions (P, 3) for every source's symmetric form (S, 3, 3)."""
    x, y, z = diffracted.T
    xx, yy, zz = 0.5 * torch.diagonal(forms, dim1=-2, dim2=-1).T[..., None]
    xy, xz, yz = forms[:, 0, 1, None], forms[:, 0, 2, None], forms[:, 1, 2, None]
    return (0.5 + x * (xx * x + xy * y + xz * z) + y * (yy * y + yz * z) + zz * z * z).T


def _outer(v: Tensor) -> Tensor:
    return v[..., :, None] * v[..., None, :]
