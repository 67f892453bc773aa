"""An independent reckoning of a few pixels: plain loops in NumPy float64, clean physics only.

Written from the physics and not from the package: positions, directions, scattering vectors and sums as a textbook
has them. Vectors are lab vectors; lengths in metres unless a name says otherwise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

R_E_SQUARED = 7.94079248018965e-30
FLUENCE = 125932015286227086360700780544.0


def rotation(axis, degrees: float) -> np.ndarray:
    """Right-handed rotation matrix about an axis."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return np.eye(3) + math.sin(angle) * K + (1 - math.cos(angle)) * K @ K


def direct_axes(a, b, c, alpha, beta, gamma, misset=(0, 0, 0)) -> np.ndarray:
    """Rows a, b, c (Å): a* along x, b* in the xy plane, then rotations about lab x, y, z."""
    ca, cb, cg = (math.cos(math.radians(angle)) for angle in (alpha, beta, gamma))
    ab, ac, bc = a * b * cg, a * c * cb, b * c * ca
    metric = np.array([[a * a, ab, ac], [ab, b * b, bc], [ac, bc, c * c]])
    upper = np.linalg.cholesky(np.linalg.inv(metric)).T  # columns a*, b*, c* in the wanted orientation
    direct = np.linalg.inv(upper)
    turn = rotation((0, 0, 1), misset[2]) @ rotation((0, 1, 0), misset[1]) @ rotation((1, 0, 0), misset[0])
    return direct @ turn.T


def two_domains(spread_degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """No rotation, and that of the second draw of the default seed: deviates 4 to 6 of its stream (part B §4.5)."""
    r1, r2, r3 = (2 * u - 1 for u in (0.535101592540741, 0.9822314381599426, 0.6930161118507385))
    axis = (math.sqrt(1 - r2**2) * math.sin(math.pi * r1), math.sqrt(1 - r2**2) * math.cos(math.pi * r1), r2)
    fraction = np.float32(np.float32(1 - r3**2) ** float(np.float32(1 / 3)))
    return np.eye(3), rotation(axis, spread_degrees * float(fraction))


def nearest(x: float) -> int:
    return math.ceil(x - 0.5)


def grating(h: float, n: int) -> float:
    f = h - nearest(h)
    return n if f == 0 else math.sin(math.pi * n * f) / math.sin(math.pi * f)


def square(f, counts, fudge) -> float:
    return math.prod(grating(x, n) for x, n in zip(f, counts, strict=True))


def gauss(f, counts, fudge) -> float:
    radius = sum(((x - nearest(x)) * n) ** 2 for x, n in zip(f, counts, strict=True))
    return math.prod(counts) * math.exp(-radius / 0.63 * fudge)


def tophat(f, counts, fudge) -> float:
    radius = sum(((x - nearest(x)) * n) ** 2 for x, n in zip(f, counts, strict=True))
    return math.prod(counts) * (radius * fudge < 0.63**2)


def round_crystal(f, counts, fudge) -> float:
    x = math.pi * math.sqrt(sum(((x - nearest(x)) * n) ** 2 for x, n in zip(f, counts, strict=True)) * fudge)
    if x < 0.1:
        sphere = 1 - x**2 / 10 + x**4 / 280 - x**6 / 15120
    else:
        sphere = 3 * (math.sin(x) / x - math.cos(x)) / x**2
    return math.prod(counts) * 0.723601254558268 * sphere


@dataclass
class Reckoning:
    """One experiment; the defaults are the package's MOSFLM detector before any rotation."""

    axes_A: np.ndarray
    counts: tuple[int, int, int] = (4, 4, 4)
    shape: Callable[..., float] = square
    fudge: float = 1.0
    F: Callable[[float, float, float], float] = lambda h, k, l: 80.0  # noqa: E731, E741
    pixel: float = 2e-3
    distance: float = 0.08
    fdet: np.ndarray = field(default_factory=lambda: np.array([0.0, 0, 1]))
    sdet: np.ndarray = field(default_factory=lambda: np.array([0.0, -1, 0]))
    odet: np.ndarray = field(default_factory=lambda: np.array([1.0, 0, 0]))
    beam: np.ndarray = field(default_factory=lambda: np.array([1.0, 0, 0]))
    pix0: np.ndarray | None = None
    spindle: tuple = (0, 0, 1)
    polar_axis: tuple = (0, 0, 1)
    kahn: float = 0.0
    polarized: bool = True
    phis_deg: tuple = (0.0,)
    domains: tuple = (np.eye(3),)
    sources: tuple = (((-1.0, 0, 0), 1.1, 1.0),)
    oversample: int = 1
    layers: int = 1
    thickness: float = 0.0
    depth: float = math.inf
    curved_about: tuple | None = None
    water_um: float = 0.0
    fluence: float = FLUENCE

    def photons(self, slow: int, fast: int) -> float:
        """Photons in a pixel: every contribution with its own factors."""
        reflected = diffuse = 0.0
        K, weights = self.oversample, [weight for _, _, weight in self.sources]
        for layer, i_s, i_f in itertools.product(range(self.layers), range(K), range(K)):
            position = self._position(slow, fast, layer, i_s, i_f)
            R = np.linalg.norm(position)
            d = position / R
            omega = self.pixel**2 / R**2 * self._obliquity(R)
            capture = self._capture(layer, 1.0 if self.curved_about is not None else d @ self.odet)
            for (towards, wavelength_A, weight) in self.sources:
                incident = -np.asarray(towards, float) / np.linalg.norm(towards)
                factor = weight / np.mean(weights) * self._polarization(incident, d) * omega * capture
                diffuse += factor
                q = (d - incident) / (wavelength_A * 1e-10)
                reflected += factor * self._orientations(q)
        steps = len(self.sources) * len(self.phis_deg) * len(self.domains) * K * K
        return R_E_SQUARED * self.fluence * reflected / steps + self._water() * diffuse / (len(self.sources) * K * K)

    def _orientations(self, q: np.ndarray) -> float:
        total = 0.0
        for phi, domain in itertools.product(self.phis_deg, self.domains):
            turned = self.axes_A @ (domain @ rotation(self.spindle, phi)).T * 1e-10
            h, k, l = turned @ q  # noqa: E741
            total += (self.F(h, k, l) * self.shape((h, k, l), self.counts, self.fudge)) ** 2
        return total

    def _corner(self) -> np.ndarray:
        """Outer corner of pixel (0, 0): by default that of a 24 x 24 MOSFLM detector, beam at size/2 + 1 pixel."""
        if self.pix0 is not None:
            return np.asarray(self.pix0, float)
        centre = 24 * self.pixel / 2 + self.pixel
        return self.distance * self.beam - centre * self.fdet - centre * self.sdet

    def _position(self, slow, fast, layer, i_s, i_f) -> np.ndarray:
        u = (fast + (i_f + 0.5) / self.oversample) * self.pixel
        v = (slow + (i_s + 0.5) / self.oversample) * self.pixel
        depth = layer * self.thickness / self.layers
        if self.curved_about is not None:
            du, dv = u - self.curved_about[0], v - self.curved_about[1]
            towards_slow = rotation(np.cross(self.beam, self.sdet), math.degrees(dv / self.distance))
            towards_fast = rotation(np.cross(self.beam, self.fdet), math.degrees(du / self.distance))
            return towards_fast @ towards_slow @ ((self.distance + depth) * self.beam)
        return self._corner() + u * self.fdet + v * self.sdet + depth * self.odet

    def _obliquity(self, R: float) -> float:
        """Cosine between the ray and the pixel's normal; a bent detector faces the crystal everywhere."""
        return 1.0 if self.curved_about is not None else float(self._corner() @ self.odet) / R

    def _capture(self, layer: int, parallax: float) -> float:
        if self.thickness == 0:
            return 1.0
        step = self.thickness / self.layers / self.depth / parallax
        return math.exp(-layer * step) - math.exp(-(layer + 1) * step)

    def _polarization(self, incident: np.ndarray, d: np.ndarray) -> float:
        if not self.polarized:
            return 1.0
        B = np.cross(self.polar_axis, incident)
        B /= np.linalg.norm(B)
        E = np.cross(incident, B)
        cos2 = (incident @ d) ** 2
        psi = -math.atan2(d @ B, d @ E)
        return 0.5 * (1 + cos2 - self.kahn * math.cos(2 * psi) * (1 - cos2))

    def _water(self) -> float:
        molecules = (self.water_um * 1e-6) ** 3 * 1e6 * 6.02214179e23 / 18
        return R_E_SQUARED * self.fluence * 2.57**2 * molecules
