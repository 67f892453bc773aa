"""What settings say, over what a configuration file or the defaults had: the tools of `resolve`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..config import ConfigError, plain
from ..conventions import DetectorConvention
from ..errors import InputError
from ..experiment import Experiment
from ..quirks import Quirks
from .parse import Settings
from .steps import Scan

_DIRECT: dict[str, dict[str, str]] = {
    "crystal": {"default_F": "default_F", "fudge": "fudge", "shape": "shape", "phi": "phi_start_deg",
                "mosaic_seed": "mosaic_seed"},
    "detector": {"pixel": "pixel_size_mm", "distance": "distance_mm", "close_distance": "close_distance_mm",
                 "Xbeam": "beam_x_mm", "Ybeam": "beam_y_mm", "Xclose": "close_x_mm", "Yclose": "close_y_mm",
                 "ORGX": "orgx_px", "ORGY": "orgy_px", "rotx": "detector_rotx_deg", "roty": "detector_roty_deg",
                 "rotz": "detector_rotz_deg", "twotheta": "detector_twotheta_deg", "curved": "curved",
                 "point_pixel": "point_pixel", "detector_thick": "detector_thick_um",
                 "detector_abs": "detector_abs_um", "convention": "detector_convention"},
    "beam": {"wavelength": "wavelength_A", "polar": "polarization_factor", "nopolar": "nopolar", "fluence": "fluence",
             "flux": "flux", "exposure": "exposure_s", "beamsize": "beamsize_mm", "dmin": "dmin_A",
             "water": "water_size_um", "round_div": "round_div"},
    "sampling": {"oversample_thick": "oversample_thick", "oversample_polar": "oversample_polar",
                 "oversample_omega": "oversample_omega", "interpolate": "interpolate"},
    "noise": {"seed": "seed", "adc": "adc_offset"},
    "files": {"hkl": "hkl", "mask": "mask", "stol": "stol", "floatfile": "floatfile", "intfile": "intfile",
              "pngfile": "pngfile"},
    "computing": {"device": "device", "dtype": "dtype", "threads": "threads", "compile": "compile"},
}
"""Config section to {setting: field} for everything that is taken as typed."""

_FIELD_SETTINGS: dict[str, tuple[str, ...]] = {
    "cell_a": ("cell",), "cell_b": ("cell",), "cell_c": ("cell",), "cell_alpha": ("cell",), "cell_beta": ("cell",),
    "cell_gamma": ("cell",), "orientation_matrix": ("mat",), "misset_deg": ("misset",), "osc_range_deg": ("osc",),
    "phi_step_deg": ("phistep",), "phi_steps": ("phisteps", "phistep"), "mosaic_spread_deg": ("mosaic_spread",),
    "N_cells": ("Na", "Nb", "Nc"), "sample_size_mm": ("size_a", "size_b", "size_c"),
    "hdiv_steps": ("hdivsteps", "hdivstep"), "vdiv_steps": ("vdivsteps", "vdivstep"),
    "dispersion_percent": ("dispersion",), "dispersion_steps": ("dispsteps",),
    "polarization_axis": ("polar_vector", "beam_vector"), "size_f_mm": ("size_f",), "size_s_mm": ("size_s",),
    "misset_random_seed": ("misset_seed",), "source_directions": ("sourcefile",), "source_weights": ("sourcefile",),
    "source_wavelengths_A": ("sourcefile",), "pix0_vector_m": ("pix0_vector",),
} | {target: (name,) for table in _DIRECT.values() for name, target in table.items()}
"""Config field to the settings that decide it."""


@dataclass
class Resolver:
    """Settings over the base that they change.

    quirks
        Faults in force.
    from_config
        Whether the base is a configuration file's.
    faults, warnings
        Names of faults that the reading of options met, and warnings; both grow as settings are read.
    """

    settings: Settings
    base: Experiment
    quirks: Quirks
    from_config: bool
    faults: list[str]
    warnings: list[str] = field(default_factory=list)

    def given(self, name: str, kept: Any = None) -> Any:
        """A setting, else what a configuration file had, else None."""
        return self.settings.get(name, kept if self.from_config else None)

    def scan(self, names: tuple[str, str, str], kept: tuple[int, Any, Any]) -> tuple[Any, Any, Any]:
        """Count, range and step as given, else those of the configuration file, which belong together.

        A new count shares the file's range out anew; a new range or step makes a new count where there is a step.
        """
        count, extent, step = (None, None, None)
        if self.from_config and (kept[0] > 1 or plain(kept[1]) > 0):
            count, extent, step = kept
            if names[0] in self.settings:
                step = None
            elif names[2] in self.settings or step is not None:
                count = None
        given = zip(names, (count, extent, step), strict=True)
        return tuple(self.settings.get(name, value) for name, value in given)

    def by_rule(self, counts: str, scan: Callable[..., Scan], *given: Any) -> Scan:
        """A scan by the rule in force, the canonical program's or the corrected one; counts: the field of its steps."""
        try:
            upstream, corrected = scan(*given, upstream=True), scan(*given, upstream=False)
        except ConfigError as error:
            raise refusal(self.settings, ConfigError(counts, error.expected, error.came)) from None
        if upstream != corrected:
            self.faults.append("step_counts")
        return upstream if self.quirks.step_counts else corrected

    def direct(self, section: str) -> dict[str, Any]:
        """Fields of a section that are taken as typed."""
        return {target: self.settings.get(name) for name, target in _DIRECT[section].items() if name in self.settings}

    def configure(self, section: str, values: dict[str, Any]) -> Any:
        """The base's section with these fields changed; errors name the option that set them."""
        return self.changed(getattr(self.base, section), values)

    def changed(self, config: Any, values: dict[str, Any]) -> Any:
        """A section with these fields changed; errors name the option that set them."""
        try:
            return dataclasses.replace(config, **values)
        except ConfigError as error:
            raise refusal(self.settings, error) from None

    def custom_vector(self, name: str, target: str) -> dict[str, Any]:
        """A vector of the custom convention; a named convention chosen later has its own."""
        convention = self.settings.get("convention")
        if convention == DetectorConvention.CUSTOM:
            return {target: self.settings.get(name)} if name in self.settings else {}
        return {} if convention is None else {target: None}


def refusal(settings: Settings, error: ConfigError) -> InputError:
    """An error of a config, with the option that set the field in place of the field."""
    return InputError(f"{option_of(settings, error.field)}: expected {error.expected}, got {error.came!r}")


def option_of(settings: Settings, fields: str) -> str:
    """The option that the user typed for config fields (parted by commas), else where a configuration file has them."""
    for name in fields.split(", "):
        for setting in _FIELD_SETTINGS.get(name, (name,)):
            if setting in settings.spelling:
                return settings.spelling[setting]
    return f"{settings.get('config')}: {fields}" if "config" in settings else fields


def clock_seed() -> int:
    """A seed from the clock, as the canonical program takes it."""
    return int(time.time()) % (2**31 - 1) or 1
