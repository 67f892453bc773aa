"""From the image to the files of a run (part A §4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..config import Real, plain
from ..constants import DEGREES_PER_RADIAN
from ..experiment import Experiment
from ..io.floatfile import write_float_image
from ..io.pgm import write_pgm
from ..io.png import write_png
from ..io.smv import SmvHeader, write_smv
from ..noise import grey_scale, integer_image, integer_scale, noise_image, pgm_image
from ..statistics import ImageStatistics

if TYPE_CHECKING:
    from ..simulator import Simulator


def write_outputs(experiment: Experiment, header: SmvHeader, image: np.ndarray,
                  statistics: ImageStatistics) -> Iterator[str]:
    """Write every file asked for, yielding what to print; header of `smv_header`, image (slow, fast) float32.

    Raises `InputError` where a file cannot be written.
    """
    files, noise = experiment.files, experiment.noise
    region = experiment.detector.region
    scale = noise.intfile_scale or integer_scale(statistics.max_I)
    if files.floatfile is not None:
        yield f"writing {files.floatfile} as {image.shape[1]} x {image.shape[0]} 4-byte floats"
        write_float_image(files.floatfile, image)
    if files.intfile is not None:
        yield f"writing {files.intfile}, intfile_scale = {scale:g}"
        write_smv(files.intfile, header, integer_image(image, region, scale, noise.adc_offset))
    if files.pgmfile is not None:
        grey = noise.pgm_scale or grey_scale(statistics.rmsd, scale)
        yield f"writing {files.pgmfile}, pgm_scale = {grey:g}"
        write_pgm(files.pgmfile, pgm_image(image, region, grey), grey)
    if files.noisefile is not None:
        counts = noise_image(image, region, noise.seed, noise.adc_offset,
                             clip_negative=not experiment.quirks.noise_wraparound)
        yield f"seed: {noise.seed}"
        yield f"writing {files.noisefile}"
        yield f"{counts.photons:.0f} photons on noise image ({counts.overloads} overloads)"
        write_smv(files.noisefile, header, counts.counts)
    if files.pngfile is not None:
        yield f"writing {files.pngfile}"
        write_png(files.pngfile, image)


def smv_header(experiment: Experiment, simulator: Simulator) -> SmvHeader:
    """Header of the integer and noise images."""
    value, crystal = simulator.detector.header_values(), experiment.crystal

    def pair(x: str, y: str) -> tuple[float, float]:
        return value[x], value[y]

    return SmvHeader(
        fast_pixels=experiment.detector.fpixels, slow_pixels=experiment.detector.spixels,
        pixel_mm=value["pixel_size_mm"], distance_mm=value["distance_mm"],
        wavelength_A=plain(experiment.beam.wavelength_A) / 1e10 * 1e10,
        beam_center_mm=pair("beam_center_x_mm", "beam_center_y_mm"),
        adxv_center_mm=pair("adxv_center_x_mm", "adxv_center_y_mm"),
        mosflm_center_mm=pair("mosflm_center_x_mm", "mosflm_center_y_mm"),
        denzo_center_mm=pair("denzo_x_beam_mm", "denzo_y_beam_mm"), dials_origin_mm=value["dials_origin_mm"],
        xds_org_px=pair("xds_orgx_px", "xds_orgy_px"), close_distance_mm=value["close_distance_mm"],
        phi_deg=_through_radians(crystal.phi_start_deg), osc_deg=_through_radians(crystal.osc_range_deg),
        twotheta_deg=_through_radians(value["twotheta_deg"]), adc_offset=experiment.noise.adc_offset,
        corrected=not experiment.quirks.header_values)


def _through_radians(degrees: Real) -> float:
    """An angle as the canonical program prints it: converted to radians and back, which can change its last digit."""
    return plain(degrees) / DEGREES_PER_RADIAN * DEGREES_PER_RADIAN
