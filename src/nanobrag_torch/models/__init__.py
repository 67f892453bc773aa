"""Configs to tensors: `Crystal`, `Detector` and `Beam` are torch modules."""

from .beam import Beam, Sources
from .crystal import Cell, Crystal
from .detector import Detector, DetectorGeometry

__all__ = ["Beam", "Cell", "Crystal", "Detector", "DetectorGeometry", "Sources"]
