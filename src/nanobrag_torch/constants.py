"""Exact literals and unit conversions of the program (part B §1)."""

CLASSICAL_ELECTRON_RADIUS_SQUARED_M2 = 7.94079248018965e-30
"""Thomson scattering cross-section r_e² in m²."""

DEFAULT_FLUENCE_PER_M2 = 125932015286227086360700780544.0
"""Photons/m² for which r_e² x fluence is exactly 1 in float64."""

AVOGADRO = 6.02214179e23
DEGREES_PER_RADIAN = 180.0 * 0.31830988618379067154
"""Angles are *divided* by this; multiplying by pi/180 can differ in the last bit."""

ELECTRONVOLT_ANGSTROM = 12398.42
"""E (eV) x wavelength (Angstrom)."""

WATER_AMPLITUDE_ELECTRONS = 2.57
WATER_MOLAR_MASS_G = 18.0
WATER_DENSITY_G_PER_M3 = 1e6
SOURCE_DISTANCE_M = 10.0
DEFAULT_MOSAIC_SEED = 12345678
RANDOM_MISSET_SPREAD_RAD = 90.0
"""Spread of random orientations: meant as degrees by the canonical program, used as radians (part B §4.3)."""

SMALLEST_NORMAL = 2.2250738585072014e-308
"""Stands in for an exactly vanishing beam-to-normal cosine (part B §3.1)."""

PERMITTED_WORDS = {
    "device": (r"cpu|cuda|cuda:\d+|auto", "cpu, cuda, cuda:N or auto"),
    "dtype": ("float64|mixed|float32", "float64, mixed or float32"),
    "compile": ("auto|on|off", "auto, on or off"),
}
"""Pattern and description of what names where, how precisely and how is computed."""
