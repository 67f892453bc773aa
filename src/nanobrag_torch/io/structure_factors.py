"""The table of structure factors that reflection lists and caches hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StructureFactorTable:
    """Structure factors of every index in the box that a file spans.

    Attributes:
        values: (H, K, L) float64, F in electrons; without the padding planes that the cache file has.
        h_min, k_min, l_min: indices of ``values[0, 0, 0]``.
        source: path of the file.
        reflections: number of reflections listed; H * K * L when read from a cache.
        warnings: what the reader passed over, one line each.
    """

    values: np.ndarray
    h_min: int
    k_min: int
    l_min: int
    source: str
    reflections: int
    warnings: tuple[str, ...] = ()

    @property
    def h_max(self) -> int:
        """Largest h of the box."""
        return self.h_min + self.values.shape[0] - 1

    @property
    def k_max(self) -> int:
        """Largest k of the box."""
        return self.k_min + self.values.shape[1] - 1

    @property
    def l_max(self) -> int:
        """Largest l of the box."""
        return self.l_min + self.values.shape[2] - 1
