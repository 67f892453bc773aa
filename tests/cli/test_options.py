"""The option table: every spelling, its values, and how words become settings (part A §§1.1 to 1.5)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nanobrag_torch.cli.help import help_text
from nanobrag_torch.cli.options import BY_NAME, MISNAMED, OPTIONS
from nanobrag_torch.cli.parse import parse
from nanobrag_torch.errors import InputError

NONE, ONE, TWO, THREE, FOUR, SIX = 0, 1, 2, 3, 4, 6

REFERENCE: dict[int, str] = {
    NONE: """
        -square_xtal -round_xtal -gauss_xtal -binary_spots -tophat_spots -round_div -square_div -nopolar
        -mosflm -adxv -denzo -xds -dials -curved_det -point_pixel
        -oversample_thick -oversample_polar -oversample_omega -interpolate -nointerpolate
        -nopgm -nonoise -printout -progress -noprogress -coherent""",
    ONE: """
        -mat -matrix -hkl -default_F -dump -N -Na -Nb -Nc -samplesize -sample_size -xtalsize -xtal_size
        -sample_thick -sample_thickness -sample_x -xtal_thick -xtal_thickness -xtal_x
        -sample_width -sample_y -xtal_width -xtal_y -width
        -sample_height -sample_heigh -sample_z -xtal_height -xtal_heigh -xtal_z -height -heigh
        -fudge -mosaic -mosaici -mosaicity -mosaic_spr -mosaic_spread -mosaic_dom -mosaic_domains
        -lambda -wave -wavelength -energy -dispersion -dispsteps -divergence -hdivrange -vdivrange -hdivstep -vdivstep
        -hdivsteps -vdivsteps -divsteps -sourcefile -polar -fluence -flux -exposure -beamsize
        -pixel -pixelsize -pixel_size -detpixels -detpixels_f -detpixels_x -detpixels_s -detpixels_y
        -detsize -detsize_f -detsize_s -distance -close_distance -Xbeam -Ybeam -Xclose -Yclose -ORGX -ORGY -pivot
        -twotheta -detector_rotx -detector_roty -detector_rotz
        -detector_abs -detector_absorption -detector_thick -detector_thicksteps -thicksteps -img -mask
        -phi -osc -phistep -phisteps -oversample -dmin -water
        -floatfile -floatimage -intfile -intimage -pgmfile -pgmimage -noisefile -noiseimage
        -scale -pgmscale -adc -adcoffset -seed -mosaic_seed -misset_seed
        -density -sample_den -sample_density -MW -molec -molecular_weight -stolout -stol -4stol -Q""",
    TWO: "-printout_pixel",
    THREE: """
        -misset -fdet_vector -sdet_vector -odet_vector -beam_vector -polar_vector -spindle_axis -twotheta_axis
        -pix0_vector""",
    FOUR: "-roi",
    SIX: "-cell",
}
"""Spellings of the canonical program, by the number of their values."""

OURS: dict[int, str] = {
    NONE: "-clean -show_config -warmup -quiet -h --help -version --version",
    ONE: "-device -dtype -compile -threads -pngfile -config",
    TWO: "-trace_pixel",
}

ARITY = [(name, count) for table in (REFERENCE, OURS) for count, names in table.items() for name in names.split()]

SAMPLES = {"file": "file.dat", "pivot": "beam", "device": "cpu", "dtype": "mixed", "compile": "off"}


def sample(name: str) -> list[str]:
    return [SAMPLES.get(BY_NAME[name].kind, "3")] * len(BY_NAME[name].takes)


@pytest.mark.parametrize(("name", "count"), ARITY)
def test_spelling_is_accepted_with_its_number_of_values(name, count):
    settings = parse([name, *sample(name)])
    assert len(sample(name)) == count
    assert set(settings.spelling.values()) == {name}


@pytest.mark.parametrize(("name", "count"), [(name, count) for name, count in ARITY if count and name != "-cell"])
def test_one_value_too_few_is_refused(name, count):
    with pytest.raises(InputError, match=rf"^{name}: expected {count} value"):
        parse([name, *sample(name)[1:]])


def test_the_table_has_no_spelling_beside_these():
    extra = {"-adc_offset", "-help"}
    assert set(BY_NAME) == {name for name, _ in ARITY} | extra


def test_no_spelling_stands_for_two_options():
    names = [name for option in OPTIONS for name in option.names]
    assert len(names) == len(set(names)) == len(BY_NAME)
    assert not set(names) & set(MISNAMED)


def test_misnamed_options_point_to_options():
    assert set(MISNAMED.values()) - {""} <= set(BY_NAME)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.names[0])
def test_help_shows_every_option_with_its_values_unit_and_default(option):
    lines = help_text().splitlines()
    call = f"  {' '.join([option.names[0], *option.takes])}"
    start = next(index for index, line in enumerate(lines) if f"{line} ".startswith(f"{call} "))
    rest = [index for index in range(start + 1, len(lines)) if not lines[index].startswith("    ")]
    entry = " ".join(line.strip() for line in lines[start:rest[0]])
    for wanted in (*option.names, option.unit, option.default):
        assert wanted in entry


def test_help_keeps_to_its_width():
    assert max(map(len, help_text().splitlines())) <= 120


@pytest.mark.parametrize("name", [option.names[0] for option in OPTIONS if option.kind == "real"
                                  and len(option.takes) == 1 and option.sets != ("ignored",)])
def test_negative_numbers_are_values(name):
    settings = parse([name, "-1.5e-3", "-nopgm"])
    assert settings.get(BY_NAME[name].sets[0]) == -0.0015
    assert settings.get("pgm") is False


@pytest.mark.parametrize(("text", "value"), [("5", 5.0), ("+5", 5.0), ("-5.", -5.0), (".5", 0.5), ("-.5", -0.5),
                                             ("1e3", 1000.0), ("1E-3", 0.001), ("-1.5e+2", -150.0)])
def test_spellings_of_numbers(text, value):
    assert parse(["-phi", text]).get("phi") == value


@pytest.mark.parametrize("text", ["", " 5", "5 ", "0x10", "1_000", "1e", "e5", "--5", "inf", "-inf", "nan", "1d3", "٣"])
def test_other_words_are_no_numbers(text):
    with pytest.raises(InputError, match="-phi: "):
        parse(["-phi", text])


def test_whole_numbers_may_be_written_as_reals():
    settings = parse(["-detpixels", "1e3", "-N", "10.0"])
    assert (settings.get("fpixels"), settings.get("Nc")) == (1000, 10)
    assert isinstance(settings.get("fpixels"), int)


@pytest.mark.parametrize(("words", "name", "value"), [
    ("-lambda 1 -lambda 2", "wavelength", 2.0),
    ("-lambda 2 -energy 12398.42", "wavelength", 1.0),
    ("-energy 12398.42 -wave 2", "wavelength", 2.0),
    ("-polar 0.9 -nopolar", "nopolar", True),
    ("-nopolar -polar 0.9", "nopolar", False),
    ("-nonoise -noisefile n.img", "noise", True),
    ("-noisefile n.img -nonoise", "noise", False),
    ("-nopgm -pgmscale 2", "pgm", True),
    ("-nopgm -pgmfile p.pgm", "pgm", True),
    ("-pgmscale 2 -nopgm", "pgm", False),
    ("-round_xtal -gauss_xtal", "shape", "gauss"),
    ("-gauss_xtal -binary_spots", "shape", "tophat"),
    ("-square_div -round_div", "round_div", True),
    ("-interpolate -nointerpolate", "interpolate", False),
    ("-progress -noprogress", "progress", False),
    ("-N 3 -Nb 5", "Nb", 5),
    ("-Nb 5 -N 3", "Nb", 3),
    ("-xtalsize 0.1 -xtal_x 0.2", "size_a", 0.2),
    ("-detpixels 10 -detpixels_x 20", "fpixels", 20),
    ("-detpixels_x 20 -detpixels 10", "fpixels", 10),
    ("-divergence 2 -vdivrange 1", "vdivrange", 1.0),
    ("-divsteps 2 -hdivsteps 1", "hdivsteps", 1),
    ("-misset random -misset 1 2 3", "misset", (1.0, 2.0, 3.0)),
    ("-misset 1 2 3 -misset random", "misset", ("random",)),
    ("-xds -beam_vector 1 0 0", "convention", "custom"),
    ("-beam_vector 1 0 0 -xds", "convention", "xds"),
    ("-detector_abs inf -detector_thick 450", "detector_thick", 450.0),
    ("-detector_thick 450 -detector_abs inf", "detector_thick", 0.0),
    ("-detector_thick 450 -detector_abs 0", "detector_thick", 0.0),
])
def test_the_last_one_wins(words, name, value):
    assert parse(words.split()).get(name) == value


@pytest.mark.parametrize(("options", "pivot"), [
    ("-distance 100", "beam"), ("-close_distance 100", "sample"), ("-Xbeam 1", "beam"), ("-Ybeam 1", "beam"),
    ("-Xclose 1", "sample"), ("-Yclose 1", "sample"), ("-ORGX 1", "sample"), ("-ORGY 1", "sample"),
    ("-twotheta 5", "sample"), ("-twotheta_axis 0 0 1", "sample"), ("-pivot beam", "beam"),
    ("-pivot sample", "sample"), ("-mosflm", "beam"), ("-adxv", "beam"), ("-denzo", "beam"), ("-xds", "sample"),
    ("-dials", "beam"),
])
@pytest.mark.parametrize("before", ["-pivot beam", "-pivot sample"])
def test_options_imply_a_pivot(options, pivot, before):
    assert parse(f"{before} {options}".split()).get("pivot") == pivot


def test_a_vector_option_selects_the_custom_convention():
    for name in ("-fdet_vector", "-sdet_vector", "-odet_vector", "-beam_vector", "-polar_vector", "-spindle_axis",
                 "-twotheta_axis", "-pix0_vector"):
        assert parse(["-xds", name, "1", "0", "0"]).get("convention") == "custom"


@pytest.mark.parametrize(("words", "values"), [
    ("-misset_seed 7", {"misset_seed": 7}),
    ("-twotheta_axis 20 0 1", {"twotheta_axis": (20, 0, 1), "convention": "custom", "pivot": "sample"}),
    ("-Na 5", {"Na": 5}),
    ("-phisteps 5", {"phisteps": 5}),
    ("-hdivsteps 5", {"hdivsteps": 5}),
    ("-mosaic_seed 5", {"mosaic_seed": 5}),
    ("-detector_thicksteps 5", {"thicksteps": 5}),
    ("-oversample_thick", {"oversample_thick": True}),
])
def test_names_that_begin_like_others_act_alone(words, values):
    assert parse(words.split()).values == values


@pytest.mark.parametrize("words", ["-misset_seed 7 1 2", "-lambdaX 1", "-LAMBDA 1", "--N 5", "-n 5", "-detpix 5"])
def test_names_match_exactly(words):
    with pytest.raises(InputError):
        parse(words.split())


@pytest.mark.parametrize("count", range(1, 7))
def test_cell_takes_one_to_six_values(count):
    words = ["-cell", *map(str, range(50, 50 + count)), "-N", "5"]
    settings = parse(words)
    assert settings.get("cell") == tuple(map(float, range(50, 50 + count)))
    assert settings.get("Na") == 5


def test_misset_random_takes_one_word():
    settings = parse(["-misset", "random", "-misset_seed", "5"])
    assert (settings.get("misset"), settings.get("misset_seed")) == (("random",), 5)


@pytest.mark.parametrize("word", ["-h", "--version"])
def test_help_and_version_import_neither_torch_nor_numpy(word):
    program = ("import sys; from nanobrag_torch.cli.main import main; status = main([sys.argv[1]]); "
               "sys.exit(status or bool({'torch', 'numpy', 'yaml', 'rich', 'PIL'} & set(sys.modules)))")
    result = subprocess.run([sys.executable, "-c", program, word], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert "nanoBragg" in result.stdout


def test_a_refused_option_imports_no_torch():
    program = ("import sys; from nanobrag_torch.cli.main import main; "
               "sys.exit(main(['-lamda', '1']) != 2 or 'torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60).returncode == 0
