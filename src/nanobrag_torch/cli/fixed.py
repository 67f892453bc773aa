"""Models of plain numbers, which runs and checks ask for the same things again and again."""

from __future__ import annotations

import functools
import pickle

import torch

from ..config import DetectorConfig
from ..models import Cell, Crystal, Detector, DetectorGeometry
from ..quirks import Quirks

MOST_KEPT = 32


class FixedCrystal(Crystal):
    """A crystal whose cell is reckoned once."""

    @functools.cached_property
    def _cell(self) -> Cell:
        return super().compute_cell_tensors()

    def compute_cell_tensors(self) -> Cell:
        """The oriented cell at phi = 0, the same at every call."""
        return self._cell


class FixedDetector(Detector):
    """A detector whose geometry and header values are reckoned once."""

    @functools.cached_property
    def _geometry(self) -> DetectorGeometry:
        return super().geometry()

    @functools.cached_property
    def _header_values(self) -> dict[str, float | tuple[float, float, float]]:
        return super().header_values()

    def geometry(self) -> DetectorGeometry:
        """The placed detector, the same at every call."""
        return self._geometry

    def header_values(self) -> dict[str, float | tuple[float, float, float]]:
        """What image headers say of the detector, the same at every call."""
        return self._header_values


def fixed_detector(config: DetectorConfig, quirks: Quirks, device: torch.device | str = "cpu") -> FixedDetector:
    """The detector of a configuration without tensors; an equal one asked for lately is the same object."""
    return _unpickled(pickle.dumps((config, quirks)), str(device))


def forget_detectors() -> None:
    """Reckon every detector anew, for whoever has changed how that is done."""
    _unpickled.cache_clear()


@functools.lru_cache(MOST_KEPT)
def _unpickled(described: bytes, device: str) -> FixedDetector:
    config, quirks = pickle.loads(described)
    return FixedDetector(config, quirks=quirks, device=device)
