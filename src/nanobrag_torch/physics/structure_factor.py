"""Structure factors from a table: nearest node and tricubic interpolation (part B §6)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

FEWEST_NODES = 4
"""Nodes along an axis, border included, that interpolation reads; a shorter list is never interpolated."""
BORDER = 1
"""Cells of default_F around the listed box, so that clamped indices read it without a branch."""


class FactorGrid(NamedTuple):
    """Structure factors (electrons) with a border: values (H+2, K+2, L+2) flattened; `low` the box's lowest indices."""

    values: Tensor
    low: tuple[int, int, int]
    shape: tuple[int, int, int]

    @classmethod
    def bordered(cls, factors: Tensor, low: tuple[int, int, int], default_F: Tensor) -> FactorGrid:
        """Surround a box (H, K, L) by one layer of default_F."""
        H, K, L = factors.shape
        shape = (H + 2 * BORDER, K + 2 * BORDER, L + 2 * BORDER)
        inside = torch.nn.functional.pad(torch.ones_like(factors), [BORDER] * 6)
        padded = torch.nn.functional.pad(factors, [BORDER] * 6) + (1.0 - inside) * default_F
        return cls(padded.reshape(-1), low, shape)

    @property
    def high(self) -> tuple[int, int, int]:
        """Highest listed indices."""
        h, k, l = (low + size - 2 * BORDER - 1 for low, size in zip(self.low, self.shape, strict=True))  # noqa: E741
        return h, k, l


def nearest_factor(grid: FactorGrid, h0: Tensor, k0: Tensor, l0: Tensor) -> Tensor:
    """F at whole indices (any shape, float dtype), default_F outside the box (part B §6.2)."""
    index = _clamped(grid, 0, h0)
    index = index * grid.shape[1] + _clamped(grid, 1, k0)
    index = index * grid.shape[2] + _clamped(grid, 2, l0)
    return grid.values[index]


def within_tricubic_range(grid: FactorGrid, h: Tensor, k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """True where the program interpolates: two nodes away from both ends on every axis (part B §6.3)."""
    inside = torch.ones_like(h, dtype=torch.bool)
    for x, low, high in zip((h, k, l), grid.low, grid.high, strict=True):
        refused = (x - low + 3.0 > high - low + 1.0) | (x - 2.0 < low)
        inside = inside & ~refused
    return inside


def tricubic_factor(grid: FactorGrid, h: Tensor, k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """F by 4-point Lagrange interpolation along l, then k, then h; meaningless outside the tricubic range."""
    h_node, h_weight = _cubic_nodes(grid, 0, h)
    k_node, k_weight = _cubic_nodes(grid, 1, k)
    l_node, l_weight = _cubic_nodes(grid, 2, l)
    total = torch.zeros_like(h)
    for i in range(4):
        plane = torch.zeros_like(h)
        for j in range(4):
            row = ((h_node + i) * grid.shape[1] + k_node + j) * grid.shape[2] + l_node
            line = torch.zeros_like(h)
            for m in range(4):
                line = line + l_weight[m] * grid.values[row + m]
            plane = plane + k_weight[j] * line
        total = total + h_weight[i] * plane
    return total


def lagrange_weights(t: Tensor) -> list[Tensor]:
    """Weights of the nodes at -1, 0, 1 and 2 for a cubic through them, at t (...) from 0 to 1 (part B §6.3)."""
    before, after, beyond = t + 1.0, t - 1.0, t - 2.0
    return [t * after * beyond / -6.0, before * after * beyond / 2.0, before * t * beyond / -2.0,
            before * t * after / 6.0]


def _clamped(grid: FactorGrid, axis: int, nearest: Tensor) -> Tensor:
    offset = nearest - (grid.low[axis] - BORDER)
    return torch.clamp(offset, 0, grid.shape[axis] - 1).to(torch.int64)


def _cubic_nodes(grid: FactorGrid, axis: int, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Grid index of the first of four nodes, and their Lagrange weights; clamped so that reading stays in bounds."""
    floor = torch.floor(x)
    weights = lagrange_weights(x - floor)
    first = torch.clamp(floor - 1.0 - (grid.low[axis] - BORDER), 0, max(grid.shape[axis] - 4, 0))
    return first.to(torch.int64), weights
