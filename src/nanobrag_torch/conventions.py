"""The six detector conventions as one table (part B §2.1).

Lab-frame axes, before any detector rotation. ``beam`` is the direction of photon travel; ``polar`` the E-vector;
``pivot`` the rotation centre that the convention imposes, or None where the options decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Vector = tuple[float, float, float]


class DetectorConvention(StrEnum):
    ADXV = "adxv"
    MOSFLM = "mosflm"
    DENZO = "denzo"
    XDS = "xds"
    DIALS = "dials"
    CUSTOM = "custom"


class DetectorPivot(StrEnum):
    """What stays fixed when the detector turns: the direct-beam spot or the sample."""

    BEAM = "beam"
    SAMPLE = "sample"


@dataclass(frozen=True)
class Frame:
    """Lab axes of a convention; all entries are Cartesian lab vectors (x, y, z)."""

    beam: Vector
    fdet: Vector
    sdet: Vector
    odet: Vector
    twotheta: Vector
    polar: Vector
    spindle: Vector
    pivot: DetectorPivot | None


_X: Vector = (1.0, 0.0, 0.0)
_Y: Vector = (0.0, 1.0, 0.0)
_Z: Vector = (0.0, 0.0, 1.0)
_MINUS_X: Vector = (-1.0, 0.0, 0.0)
_MINUS_Y: Vector = (0.0, -1.0, 0.0)
_MINUS_Z: Vector = (0.0, 0.0, -1.0)
_BEAM, _SAMPLE = DetectorPivot.BEAM, DetectorPivot.SAMPLE

FRAMES: dict[DetectorConvention, Frame] = {
    #                                 beam  fast slow      normal two-theta  polar spindle pivot
    DetectorConvention.ADXV: Frame(_Z, _X, _MINUS_Y, _Z, _MINUS_X, _X, _X, _BEAM),
    DetectorConvention.MOSFLM: Frame(_X, _Z, _MINUS_Y, _X, _MINUS_Z, _Z, _Z, _BEAM),
    DetectorConvention.DENZO: Frame(_X, _Z, _MINUS_Y, _X, _MINUS_Z, _Z, _Z, _BEAM),
    DetectorConvention.XDS: Frame(_Z, _X, _Y, _Z, _X, _X, _X, _SAMPLE),
    DetectorConvention.DIALS: Frame(_Z, _X, _Y, _Z, _Y, _Y, _Y, _SAMPLE),
    DetectorConvention.CUSTOM: Frame(_X, _Z, _MINUS_Y, _X, _Y, _Z, _Z, None),
}
