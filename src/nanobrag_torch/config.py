"""What is simulated, as plain validated values in the units that users type.

Every class is frozen and checks itself on construction. A field annotated `Real` takes a number or a torch
tensor of shape () or (1,), with or without gradient; `Reals3` takes three numbers or a tensor of shape (3,). Nothing
here imports torch, so that the command line can parse and print an experiment without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from .checks import (
    ConfigError,
    Real,
    Reals3,
    check_axis,
    check_cell,
    check_count,
    check_finite,
    check_matrix,
    check_member,
    check_not_negative,
    check_numbers,
    check_positive,
    check_seed,
    check_sources,
    check_whole,
    plain,
    plain3,
)
from .constants import DEFAULT_FLUENCE_PER_M2, DEFAULT_MOSAIC_SEED
from .conventions import DetectorConvention, DetectorPivot

__all__ = [
    "BeamConfig", "ConfigError", "CrystalConfig", "CrystalShape", "DetectorConfig", "DetectorConvention",
    "DetectorPivot", "NoiseConfig", "Real", "Reals3", "SamplingConfig", "plain", "plain3",
]


class CrystalShape(StrEnum):
    SQUARE = "square"
    ROUND = "round"
    GAUSS = "gauss"
    TOPHAT = "tophat"


@dataclass(frozen=True)
class CrystalConfig:
    """Unit cell, orientation, sampling of rotation and mosaicity, and size of the crystal.

    Lengths in Å, angles in degrees, crystal size in mm.

    cell_a … cell_gamma
        Edges; a missing b or c equals a. `cell_a=None` takes the cell from `orientation_matrix`.
    orientation_matrix
        (3, 3), rows x, y, z of the lab; columns a*, b*, c*, times the wavelength `matrix_wavelength_A`
        (dimensionless MOSFLM form). With a cell given too, directions come from the matrix and lengths from the cell.
    misset_deg, misset_random_seed
        Rotations about lab x, then y, then z; or a random orientation drawn from a seed ≥ 1.
    phi_start_deg, osc_range_deg, phi_steps, phi_step_deg
        Step i stands at start + i·step, with step = range/steps unless given.
    spindle_axis
        Lab vector; None takes that of the detector convention.
    mosaic_spread_deg, mosaic_domains, mosaic_seed
        Largest domain rotation and number of domains; the first domain is not rotated.
    N_cells, sample_size_mm
        Cells along a, b, c; a positive size along an axis overrides its count by ⌈size/|axis|⌉.
    default_F, hkl_file
        Structure factor (electrons) outside the list, and the list.
    shape, fudge
        Shape transform, and the factor on its squared radius (round, gauss, tophat).
    """

    cell_a: Real | None = 100.0
    cell_b: Real | None = None
    cell_c: Real | None = None
    cell_alpha: Real = 90.0
    cell_beta: Real = 90.0
    cell_gamma: Real = 90.0
    orientation_matrix: Any = None
    matrix_wavelength_A: Real = 1.0
    misset_deg: Reals3 = (0.0, 0.0, 0.0)
    misset_random_seed: int | None = None
    phi_start_deg: Real = 0.0
    osc_range_deg: Real = 0.0
    phi_steps: int = 1
    phi_step_deg: Real | None = None
    spindle_axis: Reals3 | None = None
    mosaic_spread_deg: Real = 0.0
    mosaic_domains: int = 1
    mosaic_seed: int = DEFAULT_MOSAIC_SEED
    N_cells: Reals3 = (1, 1, 1)
    sample_size_mm: Reals3 = (0.0, 0.0, 0.0)
    default_F: Real = 0.0
    hkl_file: str | None = None
    shape: CrystalShape = CrystalShape.SQUARE
    fudge: Real = 1.0

    def __post_init__(self) -> None:
        check_numbers(self)
        check_member(self, "shape", CrystalShape)
        if self.cell_a is None and self.orientation_matrix is None:
            raise ConfigError("cell_a", "a cell edge or an orientation matrix", None)
        if self.cell_a is not None:
            check_cell(self.cell_edges, self.cell_angles)
        if self.orientation_matrix is not None:
            check_matrix(self.orientation_matrix)
        check_finite(self, "misset_deg", "phi_start_deg", "osc_range_deg", "phi_step_deg", "spindle_axis",
                      "default_F")
        check_positive(self, "matrix_wavelength_A")
        check_not_negative(self, "mosaic_spread_deg", "sample_size_mm", "N_cells", "fudge")
        check_count(self, "phi_steps", "mosaic_domains")
        check_seed(self, "mosaic_seed", "misset_random_seed")
        check_axis(self, "spindle_axis")

    @property
    def cell_edges(self) -> tuple[Real, Real, Real]:
        """a, b, c in Å with the missing ones filled in."""
        b = self.cell_a if self.cell_b is None else self.cell_b
        c = self.cell_a if self.cell_c is None else self.cell_c
        return self.cell_a, b, c

    @property
    def cell_angles(self) -> tuple[Real, Real, Real]:
        """α, β, γ in degrees."""
        return self.cell_alpha, self.cell_beta, self.cell_gamma


@dataclass(frozen=True)
class DetectorConfig:
    """Position, orientation, pixels and sensor of the detector.

    Lengths in mm, angles in degrees, sensor depths in µm.

    size_f_mm, size_s_mm
        Only where they differ from pixels × pixel size (beam-centre defaults use them).
    close_distance_mm
        Sample to detector plane along the normal; overrides `distance_mm`, the distance along the beam.
    beam_x_mm, beam_y_mm, close_x_mm, close_y_mm, orgx_px, orgy_px
        Beam centre or near point, in the sense of the convention (part B §2.4).
    beam_center_f, beam_center_s
        The same for every convention: mm from the outer corner of the first pixel, along fast and slow, to the
        point that the pivot holds (beam spot, or near point for the sample pivot).
    detector_rotx_deg … detector_twotheta_deg
        Rotations about lab x, y, z, then about `twotheta_axis`.
    fdet_vector … beam_vector
        Lab vectors of a CUSTOM detector; None takes the convention's.
    pix0_vector_m
        Lab position (m) of the outer corner of the first pixel, final.
    detector_thick_um, detector_thicksteps, detector_abs_um
        Sensor thickness, number of layers (None: two), attenuation depth (None: the thickness; inf: no absorption).
    oversample
        Sub-pixels per pixel edge; None chooses by crystal size for every image (part B §4.6).
    roi_xmin … roi_ymax
        Rendered region, pixels, both ends inclusive; x is fast, y is slow.
    mask_array
        (spixels, fpixels) bool, False = not rendered.
    """

    distance_mm: Real = 100.0
    close_distance_mm: Real | None = None
    pixel_size_mm: Real = 0.1
    spixels: int = 1024
    fpixels: int = 1024
    size_s_mm: Real | None = None
    size_f_mm: Real | None = None
    beam_x_mm: Real | None = None
    beam_y_mm: Real | None = None
    close_x_mm: Real | None = None
    close_y_mm: Real | None = None
    orgx_px: Real | None = None
    orgy_px: Real | None = None
    beam_center_f: Real | None = None
    beam_center_s: Real | None = None
    detector_rotx_deg: Real = 0.0
    detector_roty_deg: Real = 0.0
    detector_rotz_deg: Real = 0.0
    detector_twotheta_deg: Real = 0.0
    twotheta_axis: Reals3 | None = None
    detector_convention: DetectorConvention = DetectorConvention.MOSFLM
    detector_pivot: DetectorPivot | None = None
    fdet_vector: Reals3 | None = None
    sdet_vector: Reals3 | None = None
    odet_vector: Reals3 | None = None
    beam_vector: Reals3 | None = None
    pix0_vector_m: Reals3 | None = None
    curved: bool = False
    point_pixel: bool = False
    detector_thick_um: Real = 0.0
    detector_thicksteps: int | None = None
    detector_abs_um: Real | None = None
    oversample: int | None = None
    roi_xmin: int | None = None
    roi_xmax: int | None = None
    roi_ymin: int | None = None
    roi_ymax: int | None = None
    mask_array: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_numbers(self)
        check_member(self, "detector_convention", DetectorConvention)
        check_member(self, "detector_pivot", DetectorPivot)
        check_positive(self, "distance_mm", "close_distance_mm", "pixel_size_mm", "size_s_mm", "size_f_mm")
        check_finite(self, "beam_x_mm", "beam_y_mm", "close_x_mm", "close_y_mm", "orgx_px", "orgy_px",
                      "beam_center_f", "beam_center_s", "detector_rotx_deg", "detector_roty_deg",
                      "detector_rotz_deg", "detector_twotheta_deg", "odet_vector", "pix0_vector_m")
        check_not_negative(self, "detector_thick_um")
        check_count(self, "spixels", "fpixels", "detector_thicksteps", "oversample")
        check_whole(self, "roi_xmin", "roi_xmax", "roi_ymin", "roi_ymax")
        check_axis(self, "twotheta_axis", "fdet_vector", "sdet_vector", "beam_vector")
        if self.detector_abs_um is not None and not plain(self.detector_abs_um) > 0:
            raise ConfigError("detector_abs_um", "an attenuation depth above 0 (or inf)", plain(self.detector_abs_um))
        self._check_frame()
        self._check_region()

    def _check_frame(self) -> None:
        if self.detector_convention is not DetectorConvention.CUSTOM:
            for name in ("fdet_vector", "sdet_vector", "odet_vector", "beam_vector", "pix0_vector_m"):
                if getattr(self, name) is not None:
                    raise ConfigError(name, "the CUSTOM convention where a vector is given",
                                      str(self.detector_convention))
        for axis in ("f", "s"):
            given = getattr(self, f"beam_center_{axis}") is not None
            others = ("beam_x_mm", "beam_y_mm", "close_x_mm", "close_y_mm", "orgx_px", "orgy_px")
            if given and any(getattr(self, name) is not None for name in others):
                raise ConfigError(f"beam_center_{axis}", "no other beam-centre field beside it",
                                  [name for name in others if getattr(self, name) is not None])

    def _check_region(self) -> None:
        xmin, xmax, ymin, ymax = self.roi
        if xmin > xmax or ymin > ymax:
            raise ConfigError("roi", "bounds in ascending order that meet the detector", (xmin, xmax, ymin, ymax))
        if self.mask_array is not None and np.shape(self.mask_array) != (self.spixels, self.fpixels):
            raise ConfigError("mask_array", f"shape {(self.spixels, self.fpixels)}", np.shape(self.mask_array))

    @property
    def roi(self) -> tuple[int, int, int, int]:
        """(xmin, xmax, ymin, ymax) clipped to the detector, both ends inclusive."""
        def lower(bound: int | None) -> int:
            return 0 if bound is None or bound < 0 else bound

        def upper(bound: int | None, count: int) -> int:
            return count - 1 if bound is None or bound < 0 else min(bound, count - 1)

        return (lower(self.roi_xmin), upper(self.roi_xmax, self.fpixels),
                lower(self.roi_ymin), upper(self.roi_ymax, self.spixels))

    @property
    def region(self) -> np.ndarray:
        """The region of interest as (slow, fast) bool, masked pixels included."""
        xmin, xmax, ymin, ymax = self.roi
        region = np.zeros((self.spixels, self.fpixels), dtype=bool)
        region[ymin:ymax + 1, xmin:xmax + 1] = True
        return region


@dataclass(frozen=True)
class BeamConfig:
    """Wavelength, sources, polarisation and amount of light.

    wavelength_A, dispersion_percent, dispersion_steps
        Central wavelength (Å), full relative width (%) and number of wavelengths, ends included.
    hdiv_range_mrad, hdiv_steps, hdiv_step_mrad (and vdiv_…)
        Full range, number of directions and angular step; a missing step is range/(steps − 1). Offset i is
        i·step − range/2. `round_div` trims the corners of a two-dimensional grid.
    source_directions, source_weights, source_wavelengths_A
        (n, 3) vectors from the sample to each source (any length), (n,) weights, (n,) wavelengths (NaN: the central
        one); they replace divergence and dispersion.
    polarization_factor, polarization_axis, nopolar
        Kahn factor κ, E-vector (None: the convention's), or no polarisation correction at all.
    fluence, flux, exposure_s, beamsize_mm
        Photons/m²; a flux (photons/s) other than 0 overrides it by flux·exposure/beamsize².
    dmin_A
        Rays of a spacing below this are left out; 0 is off.
    water_size_um
        Thickness of the water that scatters diffusely.
    """

    wavelength_A: Real = 1.0
    dispersion_percent: Real = 0.0
    dispersion_steps: int = 1
    hdiv_range_mrad: Real = 0.0
    hdiv_steps: int = 1
    hdiv_step_mrad: Real | None = None
    vdiv_range_mrad: Real = 0.0
    vdiv_steps: int = 1
    vdiv_step_mrad: Real | None = None
    round_div: bool = True
    source_directions: Any = None
    source_weights: Any = None
    source_wavelengths_A: Any = None
    polarization_factor: Real = 0.0
    polarization_axis: Reals3 | None = None
    nopolar: bool = False
    fluence: Real = DEFAULT_FLUENCE_PER_M2
    flux: Real = 0.0
    exposure_s: Real = 1.0
    beamsize_mm: Real = 0.1
    dmin_A: Real = 0.0
    water_size_um: Real = 0.0

    def __post_init__(self) -> None:
        check_numbers(self)
        check_positive(self, "wavelength_A", "exposure_s", "beamsize_mm")
        check_finite(self, "polarization_factor")
        check_not_negative(self, "dispersion_percent", "hdiv_range_mrad", "vdiv_range_mrad", "hdiv_step_mrad",
                            "vdiv_step_mrad", "fluence", "flux", "dmin_A", "water_size_um")
        check_count(self, "dispersion_steps", "hdiv_steps", "vdiv_steps")
        check_axis(self, "polarization_axis")
        if plain(self.dispersion_percent) >= 200:
            raise ConfigError("dispersion_percent", "below 200, so that every wavelength is positive",
                              plain(self.dispersion_percent))
        check_sources(self.source_directions, self.source_weights, self.source_wavelengths_A)


@dataclass(frozen=True)
class SamplingConfig:
    """How the sum is taken.

    oversample_thick, oversample_polar, oversample_omega
        Take the capture fraction, polarisation or solid angle at every contribution. Clean physics always does.
    interpolate
        Tricubic interpolation of structure factors; None: where any cell count is at most 2.
    memory_budget_bytes
        Upper bound on the working memory of one chunk, forward and backward; never changes the result beyond the
        order of addition.
    """

    oversample_thick: bool = False
    oversample_polar: bool = False
    oversample_omega: bool = False
    interpolate: bool | None = None
    memory_budget_bytes: int = 2**30

    def __post_init__(self) -> None:
        check_count(self, "memory_budget_bytes")


@dataclass(frozen=True)
class NoiseConfig:
    """From photons to counts.

    seed
        Of the Poisson stream, ≥ 1; None takes the clock.
    adc_offset
        Added to every pixel of the integer and noise images.
    intfile_scale, pgm_scale
        Counts (or grey levels) per photon; None chooses by the image (part A §§4.3, 4.5).
    """

    seed: int | None = None
    adc_offset: float = 40.0
    intfile_scale: float | None = None
    pgm_scale: float | None = None

    def __post_init__(self) -> None:
        check_numbers(self)
        check_seed(self, "seed")
        check_finite(self, "adc_offset", "intfile_scale", "pgm_scale")
