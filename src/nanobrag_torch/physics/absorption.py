"""Fraction of photons that a sensor layer captures (part B §3.7)."""

from __future__ import annotations

import torch
from torch import Tensor


def capture_fraction(layer: int, depth_m: Tensor, attenuation_per_m: Tensor, parallax: Tensor) -> Tensor:
    """exp(-t·Δz·µ/ρ) - exp(-(t+1)·Δz·µ/ρ) for layer t, with ρ = d·o the cosine to the normal, of any shape."""
    entering = torch.exp(-layer * depth_m * attenuation_per_m / parallax)
    leaving = torch.exp(-(layer + 1) * depth_m * attenuation_per_m / parallax)
    return entering - leaving
