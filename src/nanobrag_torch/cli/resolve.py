"""Settings to an experiment: precedence, automatic choices, files that supply values (part A §2)."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import BeamConfig, ConfigError, DetectorConfig, NoiseConfig, plain, plain3
from ..conventions import FRAMES, DetectorConvention
from ..errors import InputError
from ..experiment import Experiment, Files
from ..io.sources import read_sources
from ..io.stol import check_stol
from ..quirks import Quirks
from .advice import advice
from .header import header_settings
from .parse import LARGEST_COUNT, Settings
from .resolve_crystal import crystal_config
from .resolver import Resolver, clock_seed, option_of, refusal
from .steps import dispersion_scan, divergence_scan

_DETECTOR_VECTORS = {"fdet_vector": "fdet_vector", "sdet_vector": "sdet_vector", "odet_vector": "odet_vector",
                     "beam_vector": "beam_vector", "twotheta_axis": "twotheta_axis", "pix0_vector": "pix0_vector_m"}
_GENERATED_SOURCES = ("hdivrange", "vdivrange", "hdivstep", "vdivstep", "hdivsteps", "vdivsteps", "dispersion",
                      "dispsteps")
_DEFAULT_SIZE_MM = 102.4


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
        return option_of(self.settings, fields)

    def refusal(self, error: ConfigError) -> InputError:
        """The error in the user's words."""
        return refusal(self.settings, error)


def resolve(options: Settings) -> Resolved:
    """The experiment of a parsed command line. Reads `-config`, image headers, matrix and source files.

    Raises `InputError` naming the option or file at fault.
    """
    base, from_config = _base(options)
    quirks = Quirks.clean() if options.get("clean") else base.quirks
    settings, faults = _with_headers(options, quirks)
    resolver = Resolver(settings, base, quirks, from_config, faults)
    beam = _beam(resolver)
    detector = _detector(resolver)
    beam = _listed_sources(resolver, beam, detector)
    crystal = crystal_config(resolver, beam)
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


def _detector(resolver: Resolver) -> DetectorConfig:
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


def _pixels(resolver: Resolver) -> dict[str, Any]:
    """Counts and sizes along both axes (part A §2.1): a count fixes the size, else the size rounds to a count."""
    settings, base, values = resolver.settings, resolver.base.detector, {}
    pixel_mm = plain(settings.get("pixel", base.pixel_size_mm))
    pixel_m = pixel_mm / 1000.0
    for axis in ("f", "s"):
        count, size = settings.get(f"{axis}pixels"), settings.get(f"size_{axis}")
        if count is None and size is None:
            size = getattr(base, f"size_{axis}_mm") if resolver.from_config else _DEFAULT_SIZE_MM
            if size is None or (resolver.from_config and "pixel" not in settings):
                continue
        if count is None:
            pixels = size / 1000.0 / pixel_m if pixel_m else math.inf
            if not 0.5 < pixels <= LARGEST_COUNT:
                option = option_of(settings, f"size_{axis}_mm, pixel_size_mm")
                raise InputError(f"{option}: expected a detector of 1 to {LARGEST_COUNT} pixels, got {pixels:g} "
                                 f"({size:g} mm of {pixel_mm:g} mm)")
            count = math.ceil(pixels - 0.5)
            values[f"size_{axis}_mm"] = size
        else:
            values[f"size_{axis}_mm"] = None
        values[f"{axis}pixels"] = count
    return values


def _beam(resolver: Resolver) -> BeamConfig:
    settings, base = resolver.settings, resolver.base.beam
    values = resolver.direct("beam")
    values |= resolver.custom_vector("polar_vector", "polarization_axis")
    for axis in ("hdiv", "vdiv"):
        names = (f"{axis}steps", f"{axis}range", f"{axis}step")
        if any(name in settings for name in names):
            kept = (getattr(base, f"{axis}_steps"), getattr(base, f"{axis}_range_mrad"),
                    getattr(base, f"{axis}_step_mrad"))
            scan = resolver.by_rule(f"{axis}_steps", divergence_scan, *resolver.scan(names, kept))
            values |= {f"{axis}_steps": scan.count, f"{axis}_range_mrad": scan.extent, f"{axis}_step_mrad": scan.step}
    if "dispersion" in settings or "dispsteps" in settings:
        count, extent, _ = resolver.scan(("dispsteps", "dispersion", ""),
                                         (base.dispersion_steps, base.dispersion_percent, None))
        scan = resolver.by_rule("dispersion_steps", dispersion_scan, count, extent)
        values |= {"dispersion_steps": scan.count, "dispersion_percent": scan.extent}
    return resolver.configure("beam", values)


def _listed_sources(resolver: Resolver, beam: BeamConfig, detector: DetectorConfig) -> BeamConfig:
    if "sourcefile" not in resolver.settings:
        return beam
    direction = np.asarray(plain3(detector.beam_vector or FRAMES[detector.detector_convention].beam))
    listed = read_sources(resolver.settings.get("sourcefile"), direction / np.linalg.norm(direction))
    wavelengths = [float(value) for value in listed.wavelengths_m * 1e10]
    weights = listed.weights.tolist()
    if resolver.quirks.source_weights_ignored and not any(weights):
        weights = None  # not used, and without a mean to divide them by
    return resolver.changed(beam, {"source_directions": listed.positions.tolist(), "source_weights": weights,
                                   "source_wavelengths_A": wavelengths})


def _noise(resolver: Resolver) -> NoiseConfig:
    values = resolver.direct("noise")
    for name, target in (("scale", "intfile_scale"), ("pgmscale", "pgm_scale")):
        if name in resolver.settings:
            value = resolver.settings.get(name)
            values[target] = value if value > 0 else None
    if "seed" not in resolver.settings and resolver.base.noise.seed is None:
        values["seed"] = clock_seed()
    return resolver.configure("noise", values)


def _files(resolver: Resolver) -> Files:
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


def _check_complete(resolver: Resolver, experiment: Experiment) -> None:
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
