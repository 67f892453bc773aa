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
    """Polarisation factor (P, S) of unit directions (P, 3) for every source's form (S, 3, 3)."""
    bent = torch.tensordot(diffracted, forms, dims=([-1], [1]))
    return 0.5 * (1.0 + (bent * diffracted[:, None, :]).sum(-1))


def _outer(v: Tensor) -> Tensor:
    return v[..., :, None] * v[..., None, :]
