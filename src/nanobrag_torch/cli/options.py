"""The option table: every spelling, what it takes, its unit, default, side effects and help text.

Parser and help are made from this table alone (part A §1.4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

VECTOR = ("x", "y", "z")


@dataclass(frozen=True)
class Option:
    """One option.

    names
        Spellings, the first one canonical.
    takes
        Names of its values in the help; `kind` checks each (see `cli.parse`).
    at_least
        Fewest values, where some may be left out at the end.
    sets
        Settings that receive the value (or the list of values); several receive the same.
    constant
        Value of a switch that takes none.
    also
        Further settings that the option changes, whatever they were.
    """

    names: tuple[str, ...]
    takes: tuple[str, ...] = ()
    kind: str = "real"
    sets: tuple[str, ...] = ()
    constant: Any = True
    also: dict[str, Any] = field(default_factory=dict)
    unit: str = ""
    default: str = ""
    help: str = ""
    at_least: int | None = None

    @property
    def fewest(self) -> int:
        return len(self.takes) if self.at_least is None else self.at_least


def _one(names: str, takes: str, kind: str, sets: str, help: str, *, unit: str = "", default: str = "",
         also: dict[str, Any] | None = None) -> Option:
    """An option with a single value."""
    return Option(tuple(names.split()), (takes,), kind, tuple(sets.split()), True, also or {}, unit, default, help)


def _switch(names: str, sets: str, help: str, constant: Any = True, also: dict[str, Any] | None = None) -> Option:
    return Option(tuple(names.split()), (), "", tuple(sets.split()), constant, also or {}, "", "", help)


def _vector(name: str, help: str, default: str, also: dict[str, Any] | None = None, unit: str = "") -> Option:
    custom = {"convention": "custom"} | (also or {})
    return Option((name,), VECTOR, "real", (name.removeprefix("-"),), True, custom, unit, default, help)


_BEAM, _SAMPLE = {"pivot": "beam"}, {"pivot": "sample"}

TOPICS: dict[str, tuple[Option, ...]] = {
    "Crystal": (
        Option(("-cell",), ("a", "b", "c", "alpha", "beta", "gamma"), "real", ("cell",), unit="Å, degrees", at_least=1,
               default="b, c = a; angles 90", help="unit cell"),
        _one("-mat -matrix", "file", "file", "mat", "orientation matrix in MOSFLM form (a*, b*, c* times wavelength)"),
        _one("-hkl", "file", "file", "hkl", "structure factors, lines of h k l F; also writes the cache"),
        _one("-default_F", "F", "real", "default_F", "structure factor of every reflection not listed",
             unit="electrons", default="0"),
        _one("-dump", "file", "file", "dump", "structure-factor cache, read where no -hkl is given",
             default="Fdump.bin"),
        _one("-N", "n", "count", "Na Nb Nc", "unit cells along each crystal axis", default="1"),
        _one("-Na", "n", "count", "Na", "unit cells along a", default="1"),
        _one("-Nb", "n", "count", "Nb", "unit cells along b", default="1"),
        _one("-Nc", "n", "count", "Nc", "unit cells along c", default="1"),
        _one("-samplesize -sample_size -xtalsize -xtal_size", "L", "not negative", "size_a size_b size_c",
             "crystal edge, overrides the cell counts", unit="mm"),
        _one("-sample_thick -sample_thickness -sample_x -xtal_thick -xtal_thickness -xtal_x", "L", "not negative",
             "size_a", "crystal edge along a", unit="mm"),
        _one("-sample_width -sample_y -xtal_width -xtal_y -width", "L", "not negative", "size_b",
             "crystal edge along b, at most the beam size", unit="mm"),
        _one("-sample_height -sample_heigh -sample_z -xtal_height -xtal_heigh -xtal_z -height -heigh", "L",
             "not negative", "size_c", "crystal edge along c, at most the beam size", unit="mm"),
        _switch("-square_xtal", "shape", "parallelepiped crystal (default)", "square"),
        _switch("-round_xtal", "shape", "ellipsoidal crystal", "round"),
        _switch("-gauss_xtal", "shape", "Gaussian spots", "gauss"),
        _switch("-tophat_spots -binary_spots", "shape", "flat-top spots", "tophat"),
        _one("-fudge", "x", "real", "fudge", "factor on the squared spot radius (round, gauss, tophat)", default="1"),
        Option(("-misset",), VECTOR, "misset", ("misset",), unit="degrees", at_least=1,
               help="rotate the crystal about lab x, y, z; or the word random"),
        _one("-mosaic -mosaici -mosaicity -mosaic_spr -mosaic_spread", "s", "not negative", "mosaic_spread",
             "largest rotation of a mosaic domain", unit="degrees", default="0"),
        _one("-mosaic_dom -mosaic_domains", "n", "count", "mosaic_domains", "number of mosaic domains",
             default="10 with a spread, else 1"),
    ),
    "Beam": (
        _one("-lambda -wave -wavelength", "w", "positive", "wavelength", "wavelength", unit="Å", default="1"),
        _one("-energy", "E", "positive", "energy", "photon energy instead of the wavelength", unit="eV"),
        _one("-dispersion", "p", "not negative", "dispersion", "full width of the wavelength range", unit="%",
             default="0"),
        _one("-dispsteps", "n", "count", "dispsteps", "number of wavelengths", default="2 with a range"),
        _one("-divergence", "d", "not negative", "hdivrange vdivrange", "full divergence in both directions",
             unit="mrad"),
        _one("-hdivrange", "d", "not negative", "hdivrange", "horizontal divergence", unit="mrad"),
        _one("-vdivrange", "d", "not negative", "vdivrange", "vertical divergence", unit="mrad"),
        _one("-hdivstep", "d", "not negative", "hdivstep", "horizontal angle between sources", unit="mrad"),
        _one("-vdivstep", "d", "not negative", "vdivstep", "vertical angle between sources", unit="mrad"),
        _one("-divsteps", "n", "count", "hdivsteps vdivsteps", "number of sources in each direction"),
        _one("-hdivsteps", "n", "count", "hdivsteps", "number of sources horizontally"),
        _one("-vdivsteps", "n", "count", "vdivsteps", "number of sources vertically"),
        _switch("-round_div", "round_div", "elliptical divergence (default)"),
        _switch("-square_div", "round_div", "rectangular divergence", False),
        _one("-sourcefile", "file", "file", "sourcefile", "sources, lines of X Y Z weight wavelength(m)"),
        _one("-polar", "K", "real", "polar", "Kahn polarisation factor", default="0", also={"nopolar": False}),
        _switch("-nopolar", "nopolar", "no polarisation correction"),
        _one("-fluence", "f", "not negative", "fluence", "photons per area", unit="photons/m²",
             default="1.25932e29, 1/(classical electron radius)²"),
        _one("-flux", "f", "not negative", "flux", "photons per time; overrides -fluence", unit="photons/s"),
        _one("-exposure", "t", "positive", "exposure", "exposure time, with -flux", unit="s", default="1"),
        _one("-beamsize", "b", "positive", "beamsize", "edge of the square beam; limits the crystal", unit="mm",
             default="0.1"),
    ),
    "Detector": (
        _one("-pixel -pixelsize -pixel_size", "p", "positive", "pixel", "pixel edge", unit="mm", default="0.1"),
        _one("-detpixels", "n", "positive count", "fpixels spixels", "pixels along both axes", default="1024"),
        _one("-detpixels_f -detpixels_x", "n", "positive count", "fpixels", "pixels along the fast axis"),
        _one("-detpixels_s -detpixels_y", "n", "positive count", "spixels", "pixels along the slow axis"),
        _one("-detsize", "L", "positive", "size_f size_s", "detector edge", unit="mm", default="102.4"),
        _one("-detsize_f", "L", "positive", "size_f", "extent along the fast axis", unit="mm"),
        _one("-detsize_s", "L", "positive", "size_s", "extent along the slow axis", unit="mm"),
        _one("-distance", "d", "positive", "distance", "crystal to detector along the beam", unit="mm", default="100",
             also=_BEAM),
        _one("-close_distance", "d", "positive", "close_distance", "crystal to detector along its normal", unit="mm",
             also=_SAMPLE),
        _one("-Xbeam", "x", "real", "Xbeam", "beam centre X of the convention", unit="mm", also=_BEAM),
        _one("-Ybeam", "y", "real", "Ybeam", "beam centre Y of the convention", unit="mm", also=_BEAM),
        _one("-Xclose", "x", "real", "Xclose", "point nearest to the crystal, X (custom convention)", unit="mm",
             also=_SAMPLE),
        _one("-Yclose", "y", "real", "Yclose", "point nearest to the crystal, Y (custom convention)", unit="mm",
             also=_SAMPLE),
        _one("-ORGX", "x", "real", "ORGX", "XDS origin along fast (XDS, DIALS, custom)", unit="pixels", also=_SAMPLE),
        _one("-ORGY", "y", "real", "ORGY", "XDS origin along slow (XDS, DIALS, custom)", unit="pixels", also=_SAMPLE),
        _one("-pivot", "beam|sample", "pivot", "pivot explicit_pivot", "what rotations leave in place"),
        _switch("-mosflm", "convention", "MOSFLM convention (default)", "mosflm", _BEAM),
        _switch("-adxv", "convention", "ADXV convention", "adxv", _BEAM),
        _switch("-denzo", "convention", "DENZO convention", "denzo", _BEAM),
        _switch("-xds", "convention", "XDS convention", "xds", _SAMPLE),
        _switch("-dials", "convention", "DIALS convention", "dials", _BEAM),
        _vector("-fdet_vector", "custom fast axis", "0 0 1"),
        _vector("-sdet_vector", "custom slow axis", "0 -1 0"),
        _vector("-odet_vector", "custom detector normal", "1 0 0"),
        _vector("-beam_vector", "custom direction of the beam", "1 0 0"),
        _vector("-polar_vector", "custom direction of the E-vector", "0 0 1"),
        _vector("-spindle_axis", "custom rotation axis of the crystal", "0 0 1"),
        _vector("-twotheta_axis", "custom axis of two-theta", "0 1 0", _SAMPLE),
        _vector("-pix0_vector", "position of the first pixel's outer corner (with -clean)", "computed", unit="m"),
        _one("-twotheta", "t", "real", "twotheta", "swing of the detector", unit="degrees", default="0", also=_SAMPLE),
        _one("-detector_rotx", "t", "real", "rotx", "rotation about lab x", unit="degrees", default="0"),
        _one("-detector_roty", "t", "real", "roty", "rotation about lab y, after x", unit="degrees", default="0"),
        _one("-detector_rotz", "t", "real", "rotz", "rotation about lab z, after y", unit="degrees", default="0"),
        _switch("-curved_det", "curved", "detector bent to a sphere about the crystal"),
        _switch("-point_pixel", "point_pixel", "solid angle 1/R² without the pixel's area"),
        _one("-detector_abs -detector_absorption", "d", "depth", "detector_abs",
             "attenuation depth of the sensor, or inf", unit="µm", default="the thickness"),
        _one("-detector_thick", "t", "not negative", "detector_thick", "thickness of the sensor", unit="µm",
             default="0"),
        _one("-detector_thicksteps -thicksteps", "n", "count", "thicksteps", "number of sensor layers",
             default="2 with a thickness"),
        Option(("-roi",), ("xmin", "xmax", "ymin", "ymax"), "integer", ("roi",), unit="pixels",
               default="whole detector", help="render only this region (x fast, y slow, ends included)"),
        _one("-img", "file", "file", "img", "take geometry from the header of an SMV image"),
        _one("-mask", "file", "file", "mask", "SMV image; pixels that are 0 are not rendered"),
    ),
    "Sampling": (
        _one("-phi", "p", "real", "phi", "spindle angle at the start", unit="degrees", default="0"),
        _one("-osc", "r", "not negative", "osc", "rotation range", unit="degrees"),
        _one("-phistep", "d", "not negative", "phistep", "angle between rotation steps", unit="degrees"),
        _one("-phisteps", "n", "count", "phisteps", "number of rotation steps", default="2 with a range"),
        _one("-oversample", "n", "count", "oversample", "sub-pixels per pixel edge; 0 chooses by crystal size",
             default="0"),
        _switch("-oversample_thick", "oversample_thick", "absorption of every sub-pixel"),
        _switch("-oversample_polar", "oversample_polar", "polarisation of every sub-pixel"),
        _switch("-oversample_omega", "oversample_omega", "solid angle of every sub-pixel"),
        _one("-dmin", "d", "not negative", "dmin", "leave out rays of a spacing below this", unit="Å", default="0"),
        _switch("-interpolate", "interpolate", "tricubic interpolation of structure factors (default: N <= 2)"),
        _switch("-nointerpolate", "interpolate", "structure factor of the nearest reflection", False),
        _one("-water", "L", "not negative", "water", "thickness of water that scatters diffusely", unit="µm",
             default="0"),
    ),
    "Output": (
        _one("-floatfile -floatimage", "file", "file", "floatfile", "image as 4-byte reals", default="floatimage.bin"),
        _one("-intfile -intimage", "file", "file", "intfile", "SMV image, scaled", default="intimage.img"),
        _one("-pgmfile -pgmimage", "file", "file", "pgmfile", "grey map", default="image.pgm", also={"pgm": True}),
        _switch("-nopgm", "pgm", "no grey map", False),
        _one("-noisefile -noiseimage", "file", "file", "noisefile", "SMV image with photon noise",
             default="noiseimage.img", also={"noise": True}),
        _switch("-nonoise", "noise", "no noise image", False),
        _one("-pngfile", "file", "file", "pngfile", "log-scaled PNG preview", default="none"),
        _one("-scale", "s", "real", "scale", "counts per photon of the integer image; 0 scales to 55000",
             default="0"),
        _one("-pgmscale", "s", "real", "pgmscale", "grey levels per photon; 0 scales by the rmsd", default="0",
             also={"pgm": True}),
        _one("-adc -adcoffset -adc_offset", "a", "real", "adc", "offset of the integer and noise images",
             unit="counts", default="40"),
        _one("-seed", "n", "seed", "seed", "seed of the photon noise", default="the clock"),
        _one("-mosaic_seed", "n", "seed", "mosaic_seed", "seed of the mosaic domains", default="12345678"),
        _one("-misset_seed", "n", "seed", "misset_seed", "seed of the random orientation", default="the clock"),
        _switch("-printout", "printout", "print every rendered pixel"),
        Option(("-printout_pixel",), ("f", "s"), "count", ("printout_pixel",), also={"printout": True},
               help="print one pixel (fast, slow)"),
        Option(("-trace_pixel",), ("s", "f"), "count", ("trace_pixel",),
               help="print every intermediate of one pixel (slow, fast)"),
    ),
    "Running": (
        _switch("-clean", "clean", "compute what the options say, without the canonical program's faults"),
        _one("-device", "cpu|cuda|cuda:N|auto", "device", "device", "where to compute", default="cpu"),
        _one("-dtype", "float64|mixed|float32", "dtype", "dtype", "precision", default="float64"),
        _one("-compile", "auto|on|off", "compile", "compile",
             "compiled kernels: where they are ready or worth the wait, always, never",
             default="$NANOBRAG_COMPILE, else auto"),
        _switch("-warmup", "warmup", "compile the kernels that are missing, about a minute, and stop"),
        _one("-threads", "n", "positive count", "threads", "processor threads", default="torch's choice"),
        _one("-config", "file", "file", "config", "experiment in YAML; other options override it"),
        _switch("-show_config", "show_config", "print the resolved experiment as YAML and stop"),
        _switch("-progress", "progress", "show progress (default on a terminal)"),
        _switch("-noprogress", "progress", "no progress", False),
        _switch("-quiet", "quiet", "nothing on standard output; warnings stay"),
        _switch("-h --help -help", "help", "print this help and stop"),
        _switch("--version -version", "version", "print the version and stop"),
    ),
    "Accepted without effect": (
        _switch("-coherent", "ignored", "not implemented in the canonical program either"),
        _one("-density -sample_den -sample_density", "d", "real", "ignored", "the density is fixed"),
        _one("-MW -molecular_weight -molec", "m", "real", "ignored", "the molecular weight is not used"),
        _one("-stolout", "file", "file", "ignored", "never written"),
        _one("-stol -4stol -Q", "file", "file", "stol", "amorphous scattering: checked, then not used"),
    ),
}

OPTIONS: tuple[Option, ...] = tuple(option for options in TOPICS.values() for option in options)
BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in option.names}

MISNAMED: dict[str, str] = {
    "-hdiv": "-hdivrange", "-vdiv": "-vdivrange", "-dispstep": "-dispsteps", "-detsize_x": "-detsize_f",
    "-detsize_y": "-detsize_s", "-xdet_vector": "-fdet_vector", "-ydet_vector": "-sdet_vector",
    "-zdet_vector": "-odet_vector", "-detector_twotheta": "-twotheta", "-polarization": "-polar",
    "-source_distance": "",
}
"""Names that documents mention but no program knows, with the working spelling (part A §1.6)."""
