"""Rotations and unit vectors, in float64 or whatever dtype comes in; all batched over leading dimensions."""

from __future__ import annotations

import torch
from torch import Tensor

from .constants import DEGREES_PER_RADIAN
from .recompute import differentiated


def radians(degrees: Tensor) -> Tensor:
    """Degrees to radians by division, as the canonical program does (part B §1)."""
    return degrees / DEGREES_PER_RADIAN


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Inner product over the last dimension, added in ascending order."""
    (ux, uy, uz), (vx, vy, vz) = u.unbind(-1), v.unbind(-1)
    return ux * vx + uy * vy + uz * vz


def cross(u: Tensor, v: Tensor) -> Tensor:
    """Right-handed vector product over the last dimension; u and v broadcast.

    Every product is rounded before the difference is formed, as in the canonical program; `torch.linalg.cross` fuses
    the two where the processor can.
    """
    (ux, uy, uz), (vx, vy, vz) = u.unbind(-1), v.unbind(-1)
    return torch.stack((uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx), dim=-1)


def norm(v: Tensor) -> Tensor:
    """Length over the last dimension; the derivative at the zero vector is 0."""
    squared = dot(v, v)
    if not differentiated(squared):
        return torch.sqrt(squared)
    positive = squared > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, squared, torch.ones_like(squared))), squared)


def root(x: Tensor) -> Tensor:
    """Square root of positive x (...), correctly rounded as that of the C library.

    The Cholesky factor of a 1 × 1 matrix; `torch.sqrt` is off in the last digit for one number in 70, which is too much
    where a crystal of whole cells is divided by its cell edge.
    """
    return torch.linalg.cholesky_ex(x[..., None, None]).L[..., 0, 0]


def unit(v: Tensor) -> Tensor:
    """v/|v|; the zero vector stays zero, with finite derivatives."""
    squared = dot(v, v)[..., None]
    return v / torch.sqrt(torch.where(squared > 0, squared, torch.ones_like(squared)))


def cosine_and_sine(angle: Tensor) -> tuple[Tensor, Tensor]:
    """Of angles (...) in radians, by the mathematical library of the system, as the canonical program has them.

    `torch.cos` and `torch.sin` work on many numbers at once and differ in the last digit for one angle in 500.
    """
    turned = torch.polar(torch.ones_like(angle), angle)
    return turned.real, turned.imag


def rotate_about(v: Tensor, axis: Tensor, angle: Tensor) -> Tensor:
    """Rodrigues rotation of v (..., 3) about axis (..., 3) by angle (...) in radians, right-handed.

    Applied literally even where the axis is not of unit length (part B, notation).
    """
    cosine, sine = (part[..., None] for part in cosine_and_sine(angle))
    along = dot(axis, v)[..., None] * (1.0 - cosine)
    return axis * along + v * cosine + cross(axis, v) * sine


def rotate_xyz(v: Tensor, angles: Tensor) -> Tensor:
    """v (..., 3) turned about lab x, then y, then z by angles (3,) in radians (part B §§3.2, 4.3)."""
    (cx, cy, cz), (sx, sy, sz) = cosine_and_sine(angles)
    x, y, z = v.unbind(-1)
    y, z = cx * y - sx * z, sx * y + cx * z
    x, z = cy * x + sy * z, -sy * x + cy * z
    x, y = cz * x - sz * y, sz * x + cz * y
    return torch.stack((x, y, z), dim=-1)
