"""Rotations and unit vectors, in float64 or whatever dtype comes in; all batched over leading dimensions."""

from __future__ import annotations

import torch
from torch import Tensor

from .constants import DEGREES_PER_RADIAN


def radians(degrees: Tensor) -> Tensor:
    """Degrees to radians by division, as the canonical program does (part B §1)."""
    return degrees / DEGREES_PER_RADIAN


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Inner product over the last dimension, added in ascending order."""
    return u[..., 0] * v[..., 0] + u[..., 1] * v[..., 1] + u[..., 2] * v[..., 2]


def cross(u: Tensor, v: Tensor) -> Tensor:
    """Right-handed vector product over the last dimension; u and v broadcast."""
    u, v = torch.broadcast_tensors(u, v)
    return torch.linalg.cross(u, v)


def norm(v: Tensor) -> Tensor:
    """Length over the last dimension; the derivative at the zero vector is 0."""
    squared = dot(v, v)
    positive = squared > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, squared, torch.ones_like(squared))), squared)


def unit(v: Tensor) -> Tensor:
    """v/|v|; the zero vector stays zero, with finite derivatives."""
    squared = dot(v, v)[..., None]
    return v / torch.sqrt(torch.where(squared > 0, squared, torch.ones_like(squared)))


def rotate_about(v: Tensor, axis: Tensor, angle: Tensor) -> Tensor:
    """Rodrigues rotation of v (..., 3) about axis (..., 3) by angle (...) in radians, right-handed.

    Applied literally even where the axis is not of unit length (part B, notation).
    """
    cosine, sine = torch.cos(angle)[..., None], torch.sin(angle)[..., None]
    along = dot(axis, v)[..., None] * (1.0 - cosine)
    return v * cosine + cross(axis, v) * sine + axis * along


def rotate_xyz(v: Tensor, angles: Tensor) -> Tensor:
    """v (..., 3) turned about lab x, then y, then z by angles (3,) in radians (part B §§3.2, 4.3)."""
    (cx, cy, cz), (sx, sy, sz) = torch.cos(angles), torch.sin(angles)
    x, y, z = v.unbind(-1)
    y, z = cx * y - sx * z, sx * y + cx * z
    x, z = cy * x + sy * z, -sy * x + cy * z
    x, y = cz * x - sz * y, sz * x + cz * y
    return torch.stack((x, y, z), dim=-1)
