"""Warnings about options that do less than they seem to."""

from __future__ import annotations

from collections.abc import Iterator

from ..config import plain
from ..conventions import FRAMES, DetectorConvention, DetectorPivot
from ..experiment import Experiment
from .parse import Settings


def advice(experiment: Experiment, options: Settings) -> Iterator[str]:
    """What the user should hear about the options typed, one line each."""
    yield from _centre(experiment, options)
    detector, beam = experiment.detector, experiment.beam
    if "roi" in options and _beyond(detector.roi_xmax, detector.fpixels) | _beyond(detector.roi_ymax, detector.spixels):
        xmin, xmax, ymin, ymax = detector.roi
        yield f"-roi: reaches beyond the detector; rendered is {xmin} {xmax} {ymin} {ymax}"
    if "polar" in options and not 0 <= plain(beam.polarization_factor) <= 1:
        yield f"-polar: a factor of {plain(beam.polarization_factor):g} is outside of 0 to 1"
    if options.get("mosaic_domains", 1) > 1 and experiment.crystal.mosaic_domains == 1:
        yield "-mosaic_domains: one domain only, for want of a mosaic spread"
    if "stol" in options:
        yield (f"{options.spelling['stol']} {experiment.files.stol}: read, but amorphous scattering has no effect on "
               "the image")


def _centre(experiment: Experiment, options: Settings) -> Iterator[str]:
    """Centres in terms that the convention does not use for the pixels (part A §7 Q5)."""
    convention = experiment.detector.detector_convention
    if convention is DetectorConvention.CUSTOM:
        return
    idle = ["Xclose", "Yclose"]
    idle += ["Xbeam", "Ybeam"] if FRAMES[convention].pivot is DetectorPivot.SAMPLE else ["ORGX", "ORGY"]
    for name in idle:
        if name in options:
            yield f"-{name}: moves no pixel in the {convention} convention"


def _beyond(bound: int | None, count: int) -> bool:
    return bound is not None and bound >= count
