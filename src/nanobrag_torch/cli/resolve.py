"""Settings to an experiment: precedence, automatic choices, files that supply values (part A §2)."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config import BeamConfig, ConfigError, CrystalConfig, DetectorConfig, NoiseConfig, plain, plain3
from ..conventions import FRAMES, DetectorConvention
from ..errors import InputError
from ..experiment import Experiment, Files
from ..io.matrix import read_matrix
from ..io.sources import read_sources
from ..io.stol import check_stol
from ..quirks import Quirks
from .advice import advice
from .header import header_settings
from .parse import LARGEST_COUNT, Settings
from .steps import Scan, dispersion_scan, divergence_scan, mosaic_scan, phi_scan

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

_DETECTOR_VECTORS = {"fdet_vector": "fdet_vector", "sdet_vector": "sdet_vector", "odet_vector": "odet_vector",
                     "beam_vector": "beam_vector", "twotheta_axis": "twotheta_axis", "pix0_vector": "pix0_vector_m"}
_GENERATED_SOURCES = ("hdivrange", "vdivrange", "hdivstep", "vdivstep", "hdivsteps", "vdivsteps", "dispersion",
                      "dispsteps")
_DEFAULT_SIZE_MM = 102.4


_FIELD_SETTINGS: dict[str, tuple[str, ...]] = {
    "cell_a": ("cell",), "cell_b": ("cell",), "cell_c": ("cell",), "cell_alpha": ("cell",), "cell_beta": ("cell",),
    "cell_gamma": ("cell",), "orientation_matrix": ("mat",), "misset_deg": ("misset",), "osc_range_deg": ("osc",),
    "phi_step_deg": ("phistep",), "phi_steps": ("phisteps", "phistep"), "mosaic_spread_deg": ("mosaic_spread",),
    "N_cells": ("Na", "Nb", "Nc"), "sample_size_mm": ("size_a", "size_b", "size_c"),
    "hdiv_steps": ("hdivsteps", "hdivstep"), "vdiv_steps": ("vdivsteps", "vdivstep"),
    "dispersion_percent": ("dispersion",), "dispersion_steps": ("dispsteps",),
    "polarization_axis": ("polar_vector", "beam_vector"), "size_f_mm": ("size_f",), "size_s_mm": ("size_s",),
    "misset_random_seed": ("misset_seed",),
} | {target: (name,) for table in _DIRECT.values() for name, target in table.items()}
"""Config field to the settings that decide it."""


@dataclass(frozen=True)
class Resolved:
    """An experiment, the settings that it came from, warnings, and faults that the reading of options met."""

    experiment: Experiment
    settings: Settings
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, str]:
        """Option (without its dash) to path of every file that is read, the cache aside."""
        named = {name: self.settings.get(name) for name in ("mat", "sourcefile", "img", "config")}
        files = self.experiment.files
        named |= {"hkl": files.hkl, "mask": files.mask, "stol": files.stol}
        return {name: path for name, path in named.items() if path is not None}

    def option_of(self, fields: str) -> str:
        """The option that the user typed for config fields (parted by commas)."""
        return _option_of(self.settings, fields)

    def refusal(self, error: ConfigError) -> InputError:
        """The error in the user's words."""
        return _refusal(self.settings, error)


def _refusal(settings: Settings, error: ConfigError) -> InputError:
    return InputError(f"{_option_of(settings, error.field)}: expected {error.expected}, got {error.came!r}")


def _option_of(settings: Settings, fields: str) -> str:
    for name in fields.split(", "):
        for setting in _FIELD_SETTINGS.get(name, (name,)):
            if setting in settings.spelling:
                return settings.spelling[setting]
    return f"{settings.get('config')}: {fields}" if "config" in settings else fields


@dataclass
class _Resolver:
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

    def by_rule(self, scan: Callable[..., Scan], *given: Any) -> Scan:
        """A scan by the rule in force, the canonical program's or the corrected one."""
        upstream, corrected = scan(*given, upstream=True), scan(*given, upstream=False)
        if upstream != corrected:
            self.faults.append("step_counts")
        return upstream if self.quirks.step_counts else corrected

    def direct(self, section: str) -> dict[str, Any]:
        return {target: self.settings.get(name) for name, target in _DIRECT[section].items() if name in self.settings}

    def configure(self, section: str, values: dict[str, Any]) -> Any:
        """The base's section with these fields changed; errors name the option that set them."""
        try:
            return dataclasses.replace(getattr(self.base, section), **values)
        except ConfigError as error:
            raise _refusal(self.settings, error) from None


def resolve(options: Settings) -> Resolved:
    """The experiment of a parsed command line. Reads `-config`, image headers, matrix and source files.

    Raises `InputError` naming the option or file at fault.
    """
    base, from_config = _base(options)
    quirks = Quirks.clean() if options.get("clean") else base.quirks
    settings, faults = _with_headers(options, quirks)
    resolver = _Resolver(settings, base, quirks, from_config, faults)
    beam = _beam(resolver)
    detector = _detector(resolver)
    beam = _listed_sources(resolver, beam, detector)
    crystal = _crystal(resolver, beam)
    experiment = Experiment(
        crystal, detector, beam, resolver.configure("sampling", resolver.direct("sampling")), _noise(resolver),
        _files(resolver), resolver.configure("computing", resolver.direct("computing")), quirks)
    _check_complete(resolver, experiment)
    return Resolved(experiment, settings, (*resolver.warnings, *advice(experiment, options)),
                    tuple(dict.fromkeys(name for name in faults if getattr(quirks, name))))


def _base(options: Settings) -> tuple[Experiment, bool]:
    if "config" in options:
        return _without_overruled(Experiment.from_yaml(options.get("config")), options), True
    return Experiment(quirks=Quirks.upstream()), False


def _without_overruled(base: Experiment, options: Settings) -> Experiment:
    """A configuration file without what would outweigh an option typed beside it: the option was meant."""
    detector, beam, crystal = {}, {}, {}
    if "distance" in options and "close_distance" not in options:
        detector["close_distance_mm"] = None
    if "fluence" in options and "flux" not in options:
        beam["flux"] = 0.0
    if any(name in options for name in _GENERATED_SOURCES):
        beam |= dict.fromkeys(("source_directions", "source_weights", "source_wavelengths_A"))
    sizes = [0.0 if f"N{axis}" in options else size
             for axis, size in zip("abc", base.crystal.sample_size_mm, strict=True)]
    crystal["sample_size_mm"] = tuple(sizes)
    return dataclasses.replace(base, detector=dataclasses.replace(base.detector, **detector),
                               beam=dataclasses.replace(base.beam, **beam),
                               crystal=dataclasses.replace(base.crystal, **crystal))


def _with_headers(options: Settings, quirks: Quirks) -> tuple[Settings, list[str]]:
    """Options over what image headers say, and the faults met."""
    settings, faults = header_settings(options, quirks)
    if "distance" in options and "close_distance" in settings and "close_distance" not in options:
        faults.append("header_close_distance")
        if not quirks.header_close_distance:
            del settings.values["close_distance"]
    settings.values |= options.values
    settings.spelling |= options.spelling
    if not settings.spelling.get("Ybeam", "").startswith("-mask "):
        faults = [name for name in faults if name != "mask_beam_centre"]
    return settings, faults


def _detector(resolver: _Resolver) -> DetectorConfig:
    settings, base = resolver.settings, resolver.base.detector
    values = resolver.direct("detector")
    convention = DetectorConvention(values.get("detector_convention", base.detector_convention))
    if convention is DetectorConvention.CUSTOM:
        values |= {target: settings.get(name) for name, target in _DETECTOR_VECTORS.items() if name in settings}
        values["detector_pivot"] = resolver.given("pivot", base.detector_pivot)
    else:
        if "convention" in settings:
            values |= dict.fromkeys((*_DETECTOR_VECTORS.values(), "detector_pivot"))
        if "explicit_pivot" in settings:
            values["detector_pivot"] = settings.get("explicit_pivot")
    if "thicksteps" in settings:
        values["detector_thicksteps"] = settings.get("thicksteps") or None
    if "oversample" in settings:
        values["oversample"] = settings.get("oversample") or None
    if "roi" in settings:
        bounds = [None if bound < 0 else bound for bound in settings.get("roi")]
        values |= dict(zip(("roi_xmin", "roi_xmax", "roi_ymin", "roi_ymax"), bounds, strict=True))
    return resolver.configure("detector", values | _pixels(resolver))


def _pixels(resolver: _Resolver) -> dict[str, Any]:
    """Counts and sizes along both axes (part A §2.1): a count fixes the size, else the size rounds to a count."""
    settings, base, values = resolver.settings, resolver.base.detector, {}
    pixel_m = plain(settings.get("pixel", base.pixel_size_mm)) / 1000.0
    for axis in ("f", "s"):
        count, size = settings.get(f"{axis}pixels"), settings.get(f"size_{axis}")
        if count is None and size is None:
            size = getattr(base, f"size_{axis}_mm") if resolver.from_config else _DEFAULT_SIZE_MM
            if size is None or (resolver.from_config and "pixel" not in settings):
                continue
        if count is None:
            pixels = size / 1000.0 / pixel_m
            if not 0.5 < pixels <= LARGEST_COUNT:
                option = _option_of(settings, f"size_{axis}_mm, pixel_size_mm")
                raise InputError(f"{option}: expected a detector of 1 to {LARGEST_COUNT} pixels, got {pixels:g} "
                                 f"({size:g} mm of {pixel_m * 1000:g} mm)")
            count = math.ceil(pixels - 0.5)
            values[f"size_{axis}_mm"] = size
        else:
            values[f"size_{axis}_mm"] = None
        values[f"{axis}pixels"] = count
    return values


def _beam(resolver: _Resolver) -> BeamConfig:
    settings, base = resolver.settings, resolver.base.beam
    values = resolver.direct("beam")
    values |= _custom_vector(resolver, "polar_vector", "polarization_axis")
    for axis in ("hdiv", "vdiv"):
        names = (f"{axis}steps", f"{axis}range", f"{axis}step")
        if any(name in settings for name in names):
            kept = (getattr(base, f"{axis}_steps"), getattr(base, f"{axis}_range_mrad"),
                    getattr(base, f"{axis}_step_mrad"))
            scan = resolver.by_rule(divergence_scan, *resolver.scan(names, kept))
            values |= {f"{axis}_steps": scan.count, f"{axis}_range_mrad": scan.extent, f"{axis}_step_mrad": scan.step}
    if "dispersion" in settings or "dispsteps" in settings:
        count, extent, _ = resolver.scan(("dispsteps", "dispersion", ""),
                                         (base.dispersion_steps, base.dispersion_percent, None))
        scan = resolver.by_rule(dispersion_scan, count, extent)
        values |= {"dispersion_steps": scan.count, "dispersion_percent": scan.extent}
    return resolver.configure("beam", values)


def _custom_vector(resolver: _Resolver, name: str, target: str) -> dict[str, Any]:
    """A vector of the custom convention; a named convention chosen later has its own."""
    convention = resolver.settings.get("convention")
    if convention == DetectorConvention.CUSTOM:
        return {target: resolver.settings.get(name)} if name in resolver.settings else {}
    return {} if convention is None else {target: None}


def _listed_sources(resolver: _Resolver, beam: BeamConfig, detector: DetectorConfig) -> BeamConfig:
    if "sourcefile" not in resolver.settings:
        return beam
    direction = np.asarray(plain3(detector.beam_vector or FRAMES[detector.detector_convention].beam))
    listed = read_sources(resolver.settings.get("sourcefile"), direction / np.linalg.norm(direction))
    wavelengths = [float(value) for value in listed.wavelengths_m * 1e10]
    return dataclasses.replace(beam, source_directions=listed.positions.tolist(),
                               source_weights=listed.weights.tolist(), source_wavelengths_A=wavelengths)


def _crystal(resolver: _Resolver, beam: BeamConfig) -> CrystalConfig:
    settings, base = resolver.settings, resolver.base.crystal
    values = resolver.direct("crystal") | _cell(resolver, beam) | _orientation(resolver)
    values |= _custom_vector(resolver, "spindle_axis", "spindle_axis")
    values["N_cells"] = tuple(settings.get(f"N{axis}", count)
                              for axis, count in zip("abc", base.N_cells, strict=True))
    values["sample_size_mm"] = _sample_size(resolver, beam)
    names = ("phisteps", "osc", "phistep")
    if any(name in settings for name in names):
        kept = (base.phi_steps, base.osc_range_deg, base.phi_step_deg)
        scan = resolver.by_rule(phi_scan, *resolver.scan(names, kept))
        values |= {"phi_steps": scan.count, "osc_range_deg": scan.extent, "phi_step_deg": scan.step}
    if "mosaic_spread" in settings or "mosaic_domains" in settings:
        count, extent, _ = resolver.scan(("mosaic_domains", "mosaic_spread", ""),
                                         (base.mosaic_domains, base.mosaic_spread_deg, None))
        scan = mosaic_scan(count, extent)
        values |= {"mosaic_domains": scan.count, "mosaic_spread_deg": scan.extent}
    return resolver.configure("crystal", values)


def _cell(resolver: _Resolver, beam: BeamConfig) -> dict[str, Any]:
    settings, values = resolver.settings, {}
    if "cell" in settings:
        names = ("cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma")
        defaults = (None, None, None, 90.0, 90.0, 90.0)
        given = (*settings.get("cell"), *(0.0,) * 6)[:6]
        if min(given[1:]) < 0:
            resolver.warnings.append(f"-cell: {min(given[1:]):g} is not above 0; the default takes its place")
        values |= {name: value if value > 0 or name == "cell_a" else default
                   for name, value, default in zip(names, given, defaults, strict=True)}
        if "mat" not in settings:
            values["orientation_matrix"] = None
    if "mat" in settings:
        matrix = read_matrix(settings.get("mat"))
        values |= {"orientation_matrix": matrix.tolist(), "matrix_wavelength_A": beam.wavelength_A}
        if np.linalg.det(matrix) < 0:
            resolver.warnings.append(f"{settings.get('mat')}: the matrix is left-handed")
        if "cell" not in settings:
            values |= {"cell_a": None, "cell_b": None, "cell_c": None} | dict.fromkeys(
                ("cell_alpha", "cell_beta", "cell_gamma"), 90.0)
    elif resolver.base.crystal.orientation_matrix is not None and "wavelength" in settings:
        values["matrix_wavelength_A"] = beam.wavelength_A
    return values


def _orientation(resolver: _Resolver) -> dict[str, Any]:
    misset, seed = resolver.settings.get("misset"), resolver.settings.get("misset_seed")
    if misset is None:
        drawn = resolver.base.crystal.misset_random_seed is not None
        return {"misset_random_seed": seed} if drawn and seed is not None else {}
    if misset != ("random",):
        return {"misset_deg": misset, "misset_random_seed": None}
    if seed is None and "seed" in resolver.settings:
        resolver.faults.append("clock_orientation")
        seed = None if resolver.quirks.clock_orientation else resolver.settings.get("seed")
    seed = seed or clock_seed()
    resolver.warnings.append(f"random orientation of seed {seed}; -misset_seed {seed} repeats it")
    return {"misset_random_seed": seed}


def _sample_size(resolver: _Resolver, beam: BeamConfig) -> tuple[float, float, float]:
    """Edges along a, b, c in mm; b and c at most the beam's (part A §2.2)."""
    base = plain3(resolver.base.crystal.sample_size_mm)
    sizes = [resolver.settings.get(f"size_{axis}", kept) for axis, kept in zip("abc", base, strict=True)]
    for index, axis in ((1, "b"), (2, "c")):
        if sizes[index] > plain(beam.beamsize_mm):
            resolver.warnings.append(f"{_option_of(resolver.settings, f'size_{axis}')}: the crystal's {axis} edge of "
                                     f"{sizes[index]:g} mm is cut to the beam size, {plain(beam.beamsize_mm):g} mm")
            sizes[index] = plain(beam.beamsize_mm)
    a, b, c = sizes
    return a, b, c


def _noise(resolver: _Resolver) -> NoiseConfig:
    values = resolver.direct("noise")
    for name, target in (("scale", "intfile_scale"), ("pgmscale", "pgm_scale")):
        if name in resolver.settings:
            value = resolver.settings.get(name)
            values[target] = value if value > 0 else None
    if "seed" not in resolver.settings and resolver.base.noise.seed is None:
        values["seed"] = clock_seed()
    return resolver.configure("noise", values)


def _files(resolver: _Resolver) -> Files:
    settings, base = resolver.settings, resolver.base.files
    values = resolver.direct("files")
    if "dump" in settings:
        values |= {"dump": settings.get("dump"), "dump_asked": True}
    for switch, default in (("pgm", "image.pgm"), ("noise", "noiseimage.img")):
        name = f"{switch}file"
        if settings.get(switch) is False:
            values[name] = None
        elif name in settings or switch in settings:
            values[name] = settings.get(name, getattr(base, name) or default)
    if values.get("stol"):
        check_stol(values["stol"])
    return dataclasses.replace(base, **values)


def _check_complete(resolver: _Resolver, experiment: Experiment) -> None:
    """Refuse a run that could not scatter (part A §2.5)."""
    if not (resolver.from_config or "cell" in resolver.settings or "mat" in resolver.settings):
        raise InputError("-cell, -mat: expected a unit cell or an orientation matrix, got neither")
    crystal, files = experiment.crystal, experiment.files
    if files.hkl is None and plain(crystal.default_F) == 0 and not cache_to_read(experiment):
        raise InputError("-hkl, -default_F: expected structure factors, got neither a list nor a default")


def cache_to_read(experiment: Experiment) -> bool:
    """Whether structure factors come from the cache: no list given, and one is there (or was asked for)."""
    if experiment.files.hkl is not None:
        return False
    if experiment.files.dump_asked:
        return True
    return experiment.quirks.silent_cache and os.path.exists(experiment.files.dump)


def clock_seed() -> int:
    """A seed from the clock, as the canonical program takes it."""
    return int(time.time()) % (2**31 - 1) or 1

