"""The printed account of a run, on standard output (part A §4.8)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .. import __version__
from ..config import plain
from ..experiment import Experiment
from ..simulator import Simulator
from ..statistics import ImageStatistics
from ..trace_setup import setup_values


def setup_lines(experiment: Experiment, simulator: Simulator) -> Iterator[str]:
    """What will be simulated, after every automatic choice."""
    setup = setup_values(simulator, simulator.scene())
    detector, choices = experiment.detector, simulator.choices
    yield f"nanoBragg (nanobrag-torch {__version__}) on {simulator.device}, {experiment.computing.dtype}"
    yield f"{detector.detector_convention} convention selected."
    spot = "sample" if setup["pivot"] == "SAMPLE" else "direct beam spot"
    yield f"pivoting detector around {spot}"
    yield from _cell_lines(setup)
    yield (f"crystal is {_edges_um(setup)} microns, {setup['Na']:g} x {setup['Nb']:g} x {setup['Nc']:g} cells, "
           f"{choices.shape} shape")
    if detector.oversample is None:
        yield f"auto-selected {choices.oversample}-fold oversampling"
    yield f"{'tricubic interpolation' if choices.interpolate else 'nearest reflection'} for structure factors"
    sources = setup["sources_unit_xyz_weight_lambda_m"]
    yield f"created a total of {len(sources)} sources:"
    for x, y, z, weight, wavelength in sources[:_SOURCES_SHOWN]:
        yield f"{x:g} {y:g} {z:g}   {weight:g} {wavelength:g}"
    if len(sources) > _SOURCES_SHOWN:
        yield f"... and {len(sources) - _SOURCES_SHOWN} more"
    yield f"created a total of {simulator.crystal.domains} mosaic domains"
    yield from _summary_lines(experiment, setup, choices.steps)


def result_lines(simulator: Simulator, statistics: ImageStatistics) -> Iterator[str]:
    """Maximum and moments of the image."""
    choices, pixel_m = simulator.choices, plain(simulator.detector.pixel_size_m)
    yield f"solid angle subtended by detector = {_solid_angle(simulator):g} steradian"
    sub = pixel_m / choices.oversample
    last = choices.oversample - 1
    at = [sub * ((index or 0) * choices.oversample + last) + sub / 2 for index in (
        statistics.max_fast, statistics.max_slow)]
    yield f"max_I = {statistics.max_I:g}  at {at[0]:g} {at[1]:g}"
    yield f"mean= {statistics.mean:g} rms= {statistics.rms:g} rmsd= {statistics.rmsd:g}"


_SOURCES_SHOWN = 20


def _cell_lines(setup: dict) -> Iterator[str]:
    lengths = [math.dist((0, 0, 0), setup[f"{axis}_A"]) for axis in "abc"]
    stars = [math.dist((0, 0, 0), setup[f"{axis}_star_invA"]) for axis in "abc"]
    angles = [math.degrees(setup[f"{name}_rad"]) for name in ("alpha", "beta", "gamma")]
    star_angles = [math.degrees(setup[f"{name}_star_rad"]) for name in ("alpha", "beta", "gamma")]
    yield "Unit Cell: " + " ".join(f"{value:g}" for value in (*lengths, *angles))
    yield "Recp Cell: " + " ".join(f"{value:g}" for value in (*stars, *star_angles))
    yield f"volume = {setup['V_cell_A3']:g} A^3"
    for title, suffix in (("real-space cell vectors (Angstrom):", "_A"),
                          ("reciprocal-space cell vectors (Angstrom^-1):", "_star_invA")):
        yield title
        for row, name in enumerate("XYZ"):
            yield f"{name}: " + " ".join(f"{setup[axis + suffix][row]:11.8f}" for axis in "abc")


def _edges_um(setup: dict) -> str:
    edges = [setup[f"N{axis}"] * math.dist((0, 0, 0), setup[f"{axis}_A"]) * 1e-4 for axis in "abc"]
    return " x ".join(f"{edge:g}" for edge in edges)


def _summary_lines(experiment: Experiment, setup: dict, steps: int) -> Iterator[str]:
    beam = experiment.beam
    yield f"  wave={setup['lambda0_m']:g} meters +/- {100 * setup['dispersion']:g}% in {setup['dispsteps']} steps"
    yield f"  Kahn polarization factor: {plain(beam.polarization_factor):g}" + (" (not used)" if beam.nopolar else "")
    yield f"  incident fluence: {setup['fluence_ph_m2']:g} photons/m^2"
    yield (f"  distance={setup['distance_m']:g} detsize={setup['detsize_f_m']:g}x{setup['detsize_s_m']:g}  "
           f"pixel={setup['pixel_size_m']:g} meters ({setup['fpixels']}x{setup['spixels']} pixels)")
    yield (f"  Xbeam={setup['Xbeam_m']:g} Ybeam={setup['Ybeam_m']:g} Fbeam={setup['Fbeam_m']:g} "
           f"Sbeam={setup['Sbeam_m']:g} Xclose={setup['Xclose_m']:g} Yclose={setup['Yclose_m']:g}")
    if setup["detector_thick_m"] > 0:
        yield (f"  sensor {1e6 * setup['detector_thick_m']:g} um in {setup['detector_thicksteps']} layers, "
               f"attenuation {setup['detector_mu_per_m']:g} /m")
    for name in ("fdet_vector", "sdet_vector", "odet_vector", "beam_vector", "polar_vector", "spindle_vector",
                 "pix0_vector_m", "dials_origin_mm"):
        yield f"  {name}: " + " ".join(f"{value:g}" for value in setup[name])
    xmin, xmax, ymin, ymax = experiment.detector.roi
    yield f"  roi: {xmin} < x < {xmax} && {ymin} < y < {ymax}"
    yield (f"  phi {math.degrees(setup['phi0_rad']):g} + {math.degrees(setup['osc_rad']):g} degrees in "
           f"{setup['phisteps']} steps, {steps} evaluations per pixel")


def _solid_angle(simulator: Simulator) -> float:
    """Solid angle of all rendered pixels together, at their centres."""
    return simulator.detector.get_solid_angle().reshape(-1)[simulator.rendered_pixels()].sum().item()
