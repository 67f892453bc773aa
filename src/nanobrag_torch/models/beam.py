"""From beam options to sources: divergence, dispersion, source list; polarisation; fluence (part B §5)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config import BeamConfig, ConfigError, plain, plain3
from ..constants import SOURCE_DISTANCE_M
from ..conventions import FRAMES, DetectorConvention, Frame
from ..geometry import cross, rotate_about, unit
from ..quirks import Quirks
from .parameters import ContinuousFields

_FIELDS = (
    "wavelength_A", "dispersion_percent", "hdiv_range_mrad", "hdiv_step_mrad", "vdiv_range_mrad", "vdiv_step_mrad",
    "source_directions", "source_weights", "source_wavelengths_A", "polarization_factor", "polarization_axis",
    "fluence", "flux", "exposure_s", "beamsize_mm", "dmin_A", "water_size_um",
)


class Sources(NamedTuple):
    """S point sources: positions (S, 3) m, unit incident directions (S, 3), wavelengths (S,) m, weights (S,).

    Weights are normalised to a mean of 1.
    """

    position: Tensor
    incident: Tensor
    wavelength: Tensor
    weight: Tensor


class Beam(ContinuousFields):
    """Tensors of a `BeamConfig`; every continuous field of it is an attribute of the same name.

    `frame` supplies the directions that the config leaves to the detector convention.
    """

    lists = ("source_weights", "source_wavelengths_A")

    def __init__(self, config: BeamConfig | None = None, *, frame: Frame | None = None,
                 device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64,
                 quirks: Quirks | None = None) -> None:
        super().__init__(config or BeamConfig(), _FIELDS, dtype=dtype, device=torch.device(device))
        self.quirks = quirks or Quirks.clean()
        self.frame = frame or FRAMES[DetectorConvention.MOSFLM]

    @property
    def wavelength_m(self) -> Tensor:
        return self.wavelength_A / 1e10

    @property
    def fluence_per_m2(self) -> Tensor:
        """Photons/m²: flux·exposure/beamsize² where there is a flux (part A §2.2)."""
        beamsize_m = self.beamsize_mm / 1000.0
        return torch.where(self.flux == 0, self.fluence, self.flux * self.exposure_s / beamsize_m / beamsize_m)

    def polarization_direction(self) -> Tensor:
        """Unit E-vector, (3,)."""
        axis = self.constant(self.frame.polar) if self.polarization_axis is None else self.polarization_axis
        return unit(axis)

    def sources(self, beam_direction: Tensor) -> Sources:
        """All sources in summation order (part B §§5.2, 5.3); beam_direction (3,) is the unit travel direction."""
        if self.config.source_directions is not None:
            return self._listed_sources()
        directions = self._diverging_positions(beam_direction)
        wavelengths = self._dispersed_wavelengths()
        count, colours = directions.shape[0], wavelengths.shape[0]
        position = directions[:, None, :].expand(count, colours, 3).reshape(-1, 3)
        wavelength = wavelengths[None, :].expand(count, colours).reshape(-1)
        return Sources(position, -unit(position), wavelength, torch.ones_like(wavelength))

    def _listed_sources(self) -> Sources:
        position = self.source_directions
        count = position.shape[0]
        central = self.wavelength_m.expand(count)
        wavelength = central
        if self.source_wavelengths_A is not None:
            given = self.source_wavelengths_A / 1e10
            wavelength = torch.where(torch.isnan(given), central, torch.nan_to_num(given))
        weight = torch.ones_like(wavelength) if self.source_weights is None else self.source_weights
        return Sources(position, -unit(position), wavelength, weight / weight.mean())

    def _diverging_positions(self, beam: Tensor) -> Tensor:
        polar = self.polarization_direction()
        vertical = unit(cross(beam, polar))
        horizontal, vertical_offsets = self._offsets("hdiv"), self._offsets("vdiv")
        keep = torch.as_tensor(self.kept_points(), device=beam.device)
        h_index, v_index = keep.unbind(-1)
        start = (-SOURCE_DISTANCE_M * beam).expand(len(h_index), 3)
        tilted = rotate_about(start, polar, vertical_offsets[v_index])
        return rotate_about(tilted, vertical, horizontal[h_index])

    def _offsets(self, direction: str) -> Tensor:
        """Angular offsets of a divergence grid, radians, starting at -range/2."""
        count, extent, step = self._grid(direction)
        return step * self.constant(range(count)) - extent / 2.0

    def _grid(self, direction: str) -> tuple[int, Tensor, Tensor]:
        count: int = getattr(self.config, f"{direction}_steps")
        extent = getattr(self, f"{direction}_range_mrad") / 1000.0
        step = getattr(self, f"{direction}_step_mrad")
        if step is not None:
            return count, extent, step / 1000.0
        if count == 1:
            return 1, torch.zeros_like(extent), torch.zeros_like(extent)
        return count, extent, extent / (count - 1)

    def kept_points(self) -> np.ndarray:
        """(n, 2) grid indices (horizontal outermost) that round divergence leaves (part A §2.11)."""
        (nh, range_h, step_h), (nv, range_v, step_v) = (self.plain_grid(axis) for axis in ("hdiv", "vdiv"))
        h, v = np.meshgrid(np.arange(nh), np.arange(nv), indexing="ij")
        if self.config.round_div and range_h > 0 and range_v > 0:
            h_term = ((step_h * h - range_h / 2) ** 2 - step_h**2 / 4 * (1 - nh % 2)) / range_h**2
            v_term = ((step_v * v - range_v / 2) ** 2 - step_v**2 / 4 * (1 - nv % 2)) / range_v**2
            inside = ~(4.0 * (h_term + v_term) > 1.1)
        else:
            inside = np.ones_like(h, dtype=bool)
        if not inside.any():
            raise ConfigError("hdiv_steps, vdiv_steps", "a divergence grid with a source inside its ellipse", (nh, nv))
        return np.stack((h[inside], v[inside]), axis=-1)

    def plain_grid(self, direction: str) -> tuple[int, float, float]:
        """(count, range, step) of a divergence direction ("hdiv" or "vdiv") as plain radians."""
        count: int = getattr(self.config, f"{direction}_steps")
        extent = plain(self.decisive(f"{direction}_range_mrad")) / 1000.0
        step = self.decisive(f"{direction}_step_mrad")
        if step is not None:
            return count, extent, plain(step) / 1000.0
        return (1, 0.0, 0.0) if count == 1 else (count, extent, extent / (count - 1))

    def _dispersed_wavelengths(self) -> Tensor:
        count = self.config.dispersion_steps
        if count == 1:
            return self.wavelength_m.reshape(1)
        width = self.dispersion_percent / 100.0
        step = width / (count - 1)
        return self.wavelength_m * (1.0 + step * self.constant(range(count)) - width / 2.0)

    def check_axes(self, beam: tuple[float, float, float]) -> None:
        """Raise `ConfigError` where the E-vector lies along the beam (any length), which leaves no vertical.

        It may where nothing depends on it: without polarisation and divergence.
        """
        counts = self.plain_grid("hdiv")[0], self.plain_grid("vdiv")[0]
        if not self.present("polarization_factor") and counts == (1, 1):
            return
        given = self.decisive("polarization_axis")
        axis = self.frame.polar if given is None else plain3(given)
        if np.linalg.norm(np.cross(beam, axis)) < 1e-9 * np.linalg.norm(beam) * np.linalg.norm(axis):
            raise ConfigError("polarization_axis", "a direction that is not parallel to the beam", axis)
