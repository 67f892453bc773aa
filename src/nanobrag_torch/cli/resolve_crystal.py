"""The crystal of a command line: cell, orientation, size, spindle and mosaic scans (part A §§2.2, 2.6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config import BeamConfig, CrystalConfig, plain, plain3
from ..io.matrix import read_matrix
from .resolver import Resolver, clock_seed, option_of
from .steps import mosaic_scan, phi_scan


def crystal_config(resolver: Resolver, beam: BeamConfig) -> CrystalConfig:
    """The crystal's config; grows the resolver's faults and warnings. Raises `InputError` naming option or file."""
    settings, base = resolver.settings, resolver.base.crystal
    values = resolver.direct("crystal") | _cell(resolver, beam) | _orientation(resolver)
    values |= resolver.custom_vector("spindle_axis", "spindle_axis")
    values["N_cells"] = tuple(settings.get(f"N{axis}", count)
                              for axis, count in zip("abc", base.N_cells, strict=True))
    values["sample_size_mm"] = _sample_size(resolver, beam)
    names = ("phisteps", "osc", "phistep")
    if any(name in settings for name in names):
        kept = (base.phi_steps, base.osc_range_deg, base.phi_step_deg)
        scan = resolver.by_rule("phi_steps", phi_scan, *resolver.scan(names, kept))
        values |= {"phi_steps": scan.count, "osc_range_deg": scan.extent, "phi_step_deg": scan.step}
    if "mosaic_spread" in settings or "mosaic_domains" in settings:
        count, extent, _ = resolver.scan(("mosaic_domains", "mosaic_spread", ""),
                                         (base.mosaic_domains, base.mosaic_spread_deg, None))
        scan = mosaic_scan(count, extent)
        values |= {"mosaic_domains": scan.count, "mosaic_spread_deg": scan.extent}
    return resolver.configure("crystal", values)


def _cell(resolver: Resolver, beam: BeamConfig) -> dict[str, Any]:
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


def _orientation(resolver: Resolver) -> dict[str, Any]:
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


def _sample_size(resolver: Resolver, beam: BeamConfig) -> tuple[float, float, float]:
    """Edges along a, b, c in mm; b and c at most the beam's (part A §2.2)."""
    base = plain3(resolver.base.crystal.sample_size_mm)
    sizes = [resolver.settings.get(f"size_{axis}", kept) for axis, kept in zip("abc", base, strict=True)]
    for index, axis in ((1, "b"), (2, "c")):
        if sizes[index] > plain(beam.beamsize_mm):
            resolver.warnings.append(f"{option_of(resolver.settings, f'size_{axis}')}: the crystal's {axis} edge of "
                                     f"{sizes[index]:g} mm is cut to the beam size, {plain(beam.beamsize_mm):g} mm")
            sizes[index] = plain(beam.beamsize_mm)
    a, b, c = sizes
    return a, b, c
