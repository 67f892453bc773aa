"""What a trace prints, in the order in which it is computed: section of the specification and tolerance of each name.

The order decides which of several differing quantities is the cause: the first one. Sections are those of
specs/spec-a-core.md; tolerances those of part B §9.4.
"""

from __future__ import annotations

from dataclasses import dataclass

SPECIFICATION = "specs/spec-a-core.md"


@dataclass(frozen=True)
class Quantity:
    """A traced name: its section, relative and absolute tolerance, and place in the order of computation.

    The relative tolerance of a vector refers to its largest component, part by part where it is made of several
    (`parts` are their lengths).
    """

    name: str
    section: str
    rtol: float
    atol: float
    rank: int
    parts: tuple[int, ...] = ()


GEOMETRY, FACTOR, COUNT = (1e-12, 0.0), (1e-8, 0.0), (0.0, 0.0)
INDEX = (1e-12, 1e-13)
GRATING = (1e-8, 1e-10)
"""Near its zeros a grating factor keeps its absolute digits alone (part B §9.3)."""
STORED = (2.5e-7, 0.0)
ROUNDING = (1e-12, 1e-15)
"""Of quantities of order one that may cancel to zero."""

_PARTS = {"sources_unit_xyz_weight_lambda_m": (3, 1, 1)}

_SETUP = (
    ("1", GEOMETRY, "pixel_size_m detsize_f_m detsize_s_m"),
    ("1", COUNT, "fpixels spixels"),
    ("2.2", COUNT, "pivot"),
    ("2.1", ROUNDING, "beam_vector polar_vector vert_vector spindle_vector twotheta_axis"),
    ("2.4", ROUNDING, "Xclose_m Yclose_m Xbeam_m Ybeam_m"),
    ("3.2", GEOMETRY, "rotx_rad roty_rad rotz_rad twotheta_rad"),
    ("3.1", ROUNDING, "ratio"),
    ("3.2", ROUNDING, "fdet_vector sdet_vector odet_vector"),
    ("3.3", ROUNDING, "close_distance_m distance_m Fbeam_m Sbeam_m Fclose_m Sclose_m"),
    ("3.2", ROUNDING, "pix0_vector_m"),
    ("3.3", (1e-12, 1e-11), "ORGX_px ORGY_px dials_origin_mm"),
    ("3.7", GEOMETRY, "detector_thick_m detector_thickstep_m detector_mu_per_m"),
    ("3.7", COUNT, "detector_thicksteps"),
    ("1", GEOMETRY, "lambda0_m fluence_ph_m2"),
    ("5.1", GEOMETRY, "hdivrange_rad hdivstep_rad vdivrange_rad vdivstep_rad dispersion dispstep"),
    ("5.1", COUNT, "hdivsteps vdivsteps dispsteps"),
    ("5.2", ROUNDING, "sources_unit_xyz_weight_lambda_m"),
    ("4.1", GEOMETRY, "a_len_A b_len_A c_len_A alpha_rad beta_rad gamma_rad"),
    ("4.1", GEOMETRY, "V_star_invA3 V_cell_A3 alpha_star_rad beta_star_rad gamma_star_rad"),
    ("4.3", ROUNDING, "misset_rad"),
    ("4.3", ROUNDING, "a_star_invA b_star_invA c_star_invA"),
    ("4.4", ROUNDING, "a_A b_A c_A"),
    ("4.5", GEOMETRY, "mosaic_spread_rad"),
    ("4.5", ROUNDING, "mosaic_umats_row_major"),
    ("4.6", GEOMETRY, "Na Nb Nc"),
    ("4.6", COUNT, "oversample"),
    ("4.7", GEOMETRY, "phi0_rad osc_rad phistep_rad"),
    ("4.7", COUNT, "phisteps"),
    ("6.3", COUNT, "interpolate"),
    ("6.2", COUNT, "hkls"),
    ("6.2", GEOMETRY, "default_F"),
)
_SUBPIXEL = (
    ("3.4", ROUNDING, "Fdet_m Sdet_m Odet_m pixel_pos_m"),
    ("3.4", GEOMETRY, "airpath_m diffracted"),
    ("3.6", GEOMETRY, "obliquity omega_pixel_sr"),
    ("3.7", GEOMETRY, "parallax capture_fraction"),
)
_RAY = (
    ("5.2", GEOMETRY, "incident lambda_m"),
    ("6.1", (1e-11, 1e-3), "scattering_per_m stol_per_m"),
    ("5.5", ROUNDING, "cos2theta polar"),
)
_TERM = (
    ("4.7", GEOMETRY, "phi_rad"),
    ("4.5", GEOMETRY, "a_A b_A c_A"),
    ("6.1", INDEX, "h k l"),
    ("6.1", COUNT, "h0 k0 l0"),
    ("7", GRATING, "F_latt_a F_latt_b F_latt_c"),
    ("7", GRATING, "hrad_sqr rad_star_sqr F_latt"),
    ("6.3", COUNT, "interpolate"),
    ("6.2", FACTOR, "F_cell"),
    ("8", FACTOR, "I_term I_after_add"),
)
_VALUE = (
    ("8", FACTOR, "I_bg I_sum"),
    ("8", COUNT, "steps"),
    ("1", GEOMETRY, "r_e_sqr_m2 fluence_ph_m2"),
    ("3.8", GEOMETRY, "capture_fraction_used polar_used omega_used_sr"),
    ("8", FACTOR, "intensity_f64"),
    ("9.1", STORED, "intensity_f32"),
)


def _table(rows: tuple[tuple[str, tuple[float, float], str], ...]) -> dict[str, Quantity]:
    entries = [(name, section, *tolerance) for section, tolerance, names in rows for name in names.split()]
    return {entry[0]: Quantity(*entry, rank, _PARTS.get(entry[0], ())) for rank, entry in enumerate(entries)}


QUANTITIES: dict[str, dict[str, Quantity]] = {
    "setup": _table(_SETUP), "subpixel": _table(_SUBPIXEL), "ray": _table(_RAY), "term": _table(_TERM),
    "value": _table(_VALUE)}
"""By kind of trace line, then by name. What `value` lines repeat of the first sub-pixel, ray and term is not in it."""
