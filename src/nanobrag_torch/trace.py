"""Every intermediate of one pixel, under the names that the C reference prints too.

`trace_pixel` returns nested plain numbers, `trace_lines` the text of ``-trace_pixel``:

    TRACE setup NAME VALUE...                              the experiment
    TRACE subpixel LAYER SUBS SUBF NAME VALUE...           per sensor layer and sub-pixel
    TRACE ray LAYER SUBS SUBF SOURCE NAME VALUE...         per source of those
    TRACE term LAYER SUBS SUBF SOURCE PHI MOS NAME VALUE...  per evaluation
    TRACE value NAME VALUE...                              first evaluation and final pixel

Numbers have 17 significant digits. Units stand in the names; angles in radians; omega in sr.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .config import CrystalShape
from .constants import CLASSICAL_ELECTRON_RADIUS_SQUARED_M2
from .geometry import dot, norm
from .kernel import parallax
from .physics.lattice_factor import lattice_factors, squared_radius
from .scene import Choices, Place, Scene
from .simulator import Simulator
from .terms import (
    PassTerms,
    all_terms,
    cached_polarization,
    cell_factors,
    end_factors,
    first_ray_directions,
    interpolated,
    photons_from_terms,
    running_multiplier,
)
from .trace_setup import setup_values

Numbers = dict[str, Any]

PASS_KEYS = ("thick_tic", "subS", "subF")
RAY_KEYS = (*PASS_KEYS, "source")
TERM_KEYS = (*RAY_KEYS, "phi_tic", "mos_tic")


def trace_pixel(simulator: Simulator, slow: int, fast: int) -> dict[str, Any]:
    """Intermediates of pixel (slow, fast): setup and values (dicts), subpixels, rays and terms (lists of dicts).

    Raises ValueError where the pixel is not rendered.
    """
    with torch.no_grad():
        tracer = _Tracer(simulator, slow, fast)
        return {"setup": setup_values(simulator, tracer.scene), "subpixels": tracer.subpixels(),
                "rays": tracer.rays(), "terms": tracer.evaluations(), "values": tracer.values()}


def trace_lines(trace: dict[str, Any]) -> Iterator[str]:
    """The trace as text, one number or vector a line."""
    for name, value in trace["setup"].items():
        yield f"TRACE setup {name} {_text(value)}"
    for section, keys in (("subpixel", PASS_KEYS), ("ray", RAY_KEYS), ("term", TERM_KEYS)):
        for entry in trace[section + "s"]:
            place = " ".join(str(entry[key]) for key in keys)
            for name, value in entry.items():
                if name not in keys:
                    yield f"TRACE {section} {place} {name} {_text(value)}"
    for name, value in trace["values"].items():
        yield f"TRACE value {name} {_text(value)}"


class _Tracer:
    """Terms of one pixel and the factors in force at each of them."""

    def __init__(self, simulator: Simulator, slow: int, fast: int) -> None:
        self.simulator = simulator
        self.scene: Scene = simulator.scene()
        self.choices: Choices = simulator.choices
        segment = _segment_of(simulator, self.scene, slow, fast)
        as_row = self.scene.scale.new_tensor
        self.terms = all_terms(self.scene, self.choices, as_row([slow]), as_row([fast]), first=segment.first)
        self.allowed = interpolated(self.terms, segment.latched_at) if segment.interpolate else None
        self.first_ray = _first_ray(self.terms) if segment.first else None
        self.photons = photons_from_terms(self.scene, self.choices, self.terms, self.allowed)

    def subpixels(self) -> list[Numbers]:
        return [self._subpixel(entry) for entry in self.terms]

    def rays(self) -> list[Numbers]:
        rays = []
        for entry in self.terms:
            q = self._scattering(entry)
            for source in torch.nonzero(entry.kept[0])[:, 0].tolist():
                incident = self.scene.sources.incident[source]
                rays.append({
                    **_place(entry), "source": source, "incident": incident.tolist(),
                    "lambda_m": self.scene.sources.wavelength[source].item(), "scattering_per_m": q[source].tolist(),
                    "stol_per_m": 0.5 * norm(q[source]).item(), "polar": self._polar_in_force(entry, source),
                    "cos2theta": dot(incident, entry.aimed.diffracted[0]).item()})
        return rays

    def evaluations(self) -> list[Numbers]:
        evaluations, intensity = [], self._background()
        for number, entry in enumerate(self.terms):
            table = self._pass_table(number, entry)
            multiplier = running_multiplier(self.choices, entry)[0]
            for index in torch.nonzero(entry.evaluated[0])[:, 0].tolist():
                term = {name: column[index].tolist() for name, column in table.items()}
                source = term["source"]
                intensity += term["I_term"]
                term["I_after_add"] = intensity
                intensity *= multiplier[source].item()
                evaluations.append({**_place(entry), **term})
        self.intensity = intensity
        return evaluations

    def values(self) -> Numbers:
        """First evaluated sub-pixel, ray and term, and what enters the final product."""
        first = {}
        for section in (self.subpixels(), self.rays(), self.evaluations()):
            first |= {name: value for name, value in (section or [{}])[0].items() if name not in TERM_KEYS}
        omega, polar, capture = self._factors_used()
        photons = self.photons[0].item()
        return first | {
            "I_sum": self.intensity, "I_bg": self._background(), "steps": self.choices.steps,
            "r_e_sqr_m2": CLASSICAL_ELECTRON_RADIUS_SQUARED_M2,
            "fluence_ph_m2": self.simulator.beam.fluence_per_m2.item(),
            "capture_fraction_used": capture, "polar_used": polar, "omega_used_sr": omega, "intensity_f64": photons,
            "intensity_f32": torch.tensor(photons, dtype=torch.float64).float().item()}

    def _factors_used(self) -> tuple[float, float, float]:
        """Solid angle, polarisation and capture in force at the end: cached ones, or those of the last ray."""
        choices, ends, last = self.choices, end_factors(self.choices, self.terms), self.terms[-1]
        omega = ends.omega if choices.omega_place is Place.END else last.aimed.omega
        polar = ends.polar if choices.polar_place is Place.END else last.polar[:, -1]
        capture = ends.capture if choices.capture_place is Place.END else last.aimed.capture
        return omega.item(), polar.item(), capture.item()

    def _subpixel(self, entry: PassTerms) -> Numbers:
        aimed = entry.aimed
        layer_first = next(other for other in self.terms if other.step.layer == entry.step.layer)
        omega = self.terms[0] if self.choices.omega_place is Place.END else entry
        capture = layer_first if self.choices.capture_place is Place.END else entry
        return {**_place(entry), "Fdet_m": aimed.fast_m.item(), "Sdet_m": aimed.slow_m.item(),
                "Odet_m": (entry.step.layer * self.scene.geometry.layer_depth).item(),
                "pixel_pos_m": aimed.position[0].tolist(), "diffracted": aimed.diffracted[0].tolist(),
                "airpath_m": aimed.airpath.item(), "omega_pixel_sr": omega.aimed.omega.item(),
                "capture_fraction": capture.aimed.capture.item(),
                "parallax": parallax(self.scene, self.choices, aimed.diffracted).item(),
                "obliquity": (self.scene.geometry.close_distance / aimed.airpath).item()}

    def _scattering(self, entry: PassTerms) -> Tensor:
        sources = self.scene.sources
        return (entry.aimed.diffracted - sources.incident) / sources.wavelength[:, None]

    def _polar_in_force(self, entry: PassTerms, source: int) -> float:
        if self.choices.polar_place is Place.END:
            return cached_polarization(self.choices, self.terms).item()
        return entry.polar[0, source].item()

    def _background(self) -> float:
        return self.scene.background.item() if self.choices.quirks.water_scaling else 0.0

    def _pass_table(self, number: int, entry: PassTerms) -> dict[str, Tensor]:
        """Columns over the evaluations of one pass."""
        scene, choices = self.scene, self.choices
        directions = first_ray_directions(scene, entry.kept) if number == self.first_ray else scene.directions
        sources, orientations = directions.shift.shape[:2]
        vectors = (directions.maps * scene.sources.wavelength[:, None, None, None] * 1e10).flatten(0, 1)
        count, domains = len(scene.phi), orientations // len(scene.phi)
        index = torch.arange(sources * orientations)
        h, k, l = (axis[0] for axis in entry.indices.hkl)  # noqa: E741
        h0, k0, l0 = (axis[0] for axis in entry.indices.nodes)
        allowed = None if self.allowed is None else self.allowed[number]
        factor = cell_factors(scene, entry, allowed)[0]
        latt = entry.latt[0]
        table = {
            "source": index // orientations, "phi_tic": index // domains % count, "mos_tic": index % domains,
            "phi_rad": scene.phi[index // domains % count], "a_A": vectors[:, 0], "b_A": vectors[:, 1],
            "c_A": vectors[:, 2], "h": h, "k": k, "l": l, "h0": h0.long(), "k0": k0.long(), "l0": l0.long()}
        if choices.shape is CrystalShape.SQUARE:
            signed = _signed_gratings(entry, scene)
            table |= dict(zip(("F_latt_a", "F_latt_b", "F_latt_c"), signed, strict=True))
            latt = signed[0] * signed[1] * signed[2]
        else:
            table |= _radius(choices, scene, entry)
        flags = torch.zeros_like(index) if allowed is None else allowed[0].long()
        return table | {"F_latt": latt, "F_cell": factor, "I_term": torch.square(factor * latt), "interpolate": flags}


def _signed_gratings(entry: PassTerms, scene: Scene) -> list[Tensor]:
    """sin(πNh)/sin(πh) with the sign that the reduction to the nearest node leaves out."""
    reduced = lattice_factors(entry.indices.offsets, scene.lattice.cells)
    return [grating[0] * torch.where((node[0] * (cells - 1)) % 2 == 0, 1.0, -1.0)
            for grating, node, cells in zip(reduced, entry.indices.nodes, scene.lattice.cells, strict=True)]


def _radius(choices: Choices, scene: Scene, entry: PassTerms) -> Numbers:
    """Squared distances from the node: in reciprocal space, and in the round shape's own measure (part B §7)."""
    f = entry.indices.offsets[:, 0]
    radii = {"rad_star_sqr": squared_radius(f, scene.lattice.radius_form)}
    if choices.shape is CrystalShape.ROUND:
        radii["hrad_sqr"] = squared_radius(f, torch.diag(torch.square(scene.lattice.cells)))
    return radii


def _segment_of(simulator: Simulator, scene: Scene, slow: int, fast: int):
    index = simulator.rendered_pixels()
    position = torch.nonzero(index == slow * simulator.detector.config.fpixels + fast)
    if not len(position):
        raise ValueError(f"pixel (slow {slow}, fast {fast}) is not rendered")
    segments = simulator.segments(scene)
    return next(segment for segment in segments if segment.start <= int(position) < segment.stop)


def _first_ray(terms: list[PassTerms]) -> int | None:
    return next((number for number, entry in enumerate(terms) if bool(entry.kept.any())), None)


def _place(entry: PassTerms) -> Numbers:
    return dict(zip(PASS_KEYS, (entry.step.layer, entry.step.sub_slow, entry.step.sub_fast), strict=True))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_text(entry) for entry in value)
    return format(value, ".17g") if isinstance(value, float) else str(value)
