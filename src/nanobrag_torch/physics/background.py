"""Diffuse scattering of water (part B §8)."""

from __future__ import annotations

from torch import Tensor

from ..constants import (
    AVOGADRO,
    CLASSICAL_ELECTRON_RADIUS_SQUARED_M2,
    WATER_AMPLITUDE_ELECTRONS,
    WATER_DENSITY_G_PER_M3,
    WATER_MOLAR_MASS_G,
)


def water_intensity(thickness_m: Tensor, fluence_per_m2: Tensor) -> Tensor:
    """Photons per steradian scattered by a cube of water of this edge: r_e²·fluence·F²·(number of molecules)."""
    amplitude = WATER_AMPLITUDE_ELECTRONS
    molecules = (thickness_m * thickness_m * thickness_m * WATER_DENSITY_G_PER_M3 * AVOGADRO / WATER_MOLAR_MASS_G)
    return amplitude * amplitude * CLASSICAL_ELECTRON_RADIUS_SQUARED_M2 * fluence_per_m2 * molecules
