"""The file of a batch: which cases it makes, and what is refused before any image is."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanobrag_torch.batch.images import read_images
from nanobrag_torch.batch.main import main
from nanobrag_torch.batch.plan import read_plan

OPTIONS = "options: {cell: 50 60 70, default_F: 10, N: 2, detpixels: 8, oversample: 1}\n"


@pytest.fixture
def words(folder):
    """The command lines of a batch, without what `OPTIONS` and the default file names give."""

    def of(text: str) -> list[str]:
        Path("b.yaml").write_text(OPTIONS + text)
        common = "-cell 50 60 70 -default_F 10 -N 2 -detpixels 8 -oversample 1"
        lines = [" ".join(image.words) for image in read_images(read_plan("b.yaml"))]
        return [line.removeprefix(common).partition(" -floatfile")[0].strip() for line in lines]

    return of


@pytest.mark.parametrize(("phi", "expected"), [
    ("{start: 0, step: 0.1, count: 4}", "0.0 0.1 0.2 0.3"),
    ("{start: 0, stop: 0.3, step: 0.1}", "0.0 0.1 0.2 0.3"),
    ("{start: 10, stop: -10, step: -10}", "10 0 -10"),
    ("{start: 0, stop: 0.99, step: 0.5}", "0.0 0.5"),
    ("{start: 5, stop: 5, step: 1}", "5"),
    ("{start: 1e2, step: 1e-1, count: 2}", "100.0 100.1"),
    ("[1, 2.50, -3e1]", "1 2.50 -3e1"),
])
def test_values_of_a_series_are_the_words_that_one_would_type(words, phi, expected):
    assert words(f"series: {{phi: {phi}}}") == [f"-phi {value}" for value in expected.split()]


def test_options_of_a_series_vary_together_and_a_single_value_stays(words):
    assert words("series: {phi: [0, 1], osc: 1, misset: [[1, 2, 3], 4 5 6]}") == [
        "-phi 0 -osc 1 -misset 1 2 3", "-phi 1 -osc 1 -misset 4 5 6"]


def test_a_product_has_every_combination_the_last_fastest_and_a_series_within(words):
    assert words("product: {lambda: [1, 2], dmin: [3, 4]}\nseries: {phi: [5, 6]}") == [
        f"-lambda {w} -dmin {d} -phi {p}" for w in (1, 2) for d in (3, 4) for p in (5, 6)]


def test_listed_cases_override_common_options_and_switches_turn_off(words):
    assert words("cases: [{clean: true, phi: 1}, {clean: false, phi: 2}, {round_xtal: true}]") == [
        "-clean -phi 1", "-phi 2", "-round_xtal"]


def test_a_file_without_anything_that_varies_is_one_image(words):
    assert words("") == [""]


def test_names_seeds_and_templates(folder):
    Path("b.yaml").write_text(OPTIONS + "name: 'a{index:02d}_{phi:.1f}'\nseries: {phi: [0, 0.25], misset: random}\n"
                              "product: {nonoise: [true, false]}\n")
    images = [" ".join(image.words[10:]) for image in read_images(read_plan("b.yaml"))]
    assert images[0].endswith("-nonoise -phi 0 -misset random -floatfile a01_0.0.bin -intfile a01_0.0.img "
                              "-pgmfile a01_0.0.pgm -misset_seed 1")
    assert images[3].endswith("-phi 0.25 -misset random -floatfile a04_0.2.bin -intfile a04_0.2.img "
                              "-pgmfile a04_0.2.pgm -noisefile a04_0.2_noise.img -seed 4 -misset_seed 4")


def test_outputs_and_seeds_that_are_given_stay(words):
    assert words("cases: [{nopgm: true, seed: 7, intfile: 'x{N}.img', noisefile: n, pngfile: 'p{seed}'}]") == [
        "-nopgm -seed 7 -intfile x2.img -noisefile n -pngfile p7"]


def test_what_a_configuration_file_leaves_out_is_not_written(folder):
    Path("c.yaml").write_text("crystal: {default_F: 10}\nnoise: {seed: 5}\nfiles: {noisefile: null, pgmfile: null}\n")
    Path("b.yaml").write_text("options: {config: c.yaml}\n")
    image, = read_images(read_plan("b.yaml"))
    assert " ".join(image.words) == "-config c.yaml -floatfile image_0001.bin -intfile image_0001.img"


BAD = {
    "b.yaml:1: expected the sections name, options, product, series, cases, got something else": "- a\n",
    "b.yaml:1: expected one of name, options, product, series, cases, got 'option'": "option: {N: 1}\n",
    "b.yaml:2: expected YAML, got expected ',' or '}', but got '<stream end>'": "series: {phi: 1\n",
    "b.yaml: expected YAML, got lists or mappings too deep within each other": "{" * 3000,
    "b.yaml:3: expected 'phi' once, got it again": "series:\n  phi: 1\n  phi: 2\n",
    "b.yaml:2: -phy: unknown option; did you mean -phi?": OPTIONS + "series: {phy: [1]}\n",
    "b.yaml:2: -phi: expected an option without its dash, got '-phi'": OPTIONS + "series: {-phi: 1}\n",
    "b.yaml:1: quiet: expected an option that makes an image, got one for a single run": "cases: [{quiet: true}]\n",
    "b.yaml:2: phi: expected 1 value (p), got 2; a list of values in turn stands under series or product":
        "options:\n  phi: [1, 2]\n",
    "b.yaml:1: cell: expected 1 to 6 values (a b c alpha beta gamma), got 7": "options: {cell: 1 2 3 4 5 6 7}\n",
    "b.yaml:1: clean: expected true or false, got '1'": "options: {clean: 1}\n",
    "b.yaml:1: phi: expected p, got nothing": "options: {phi: }\n",
    "b.yaml:1: phi: expected p, got a mapping": "options: {phi: {start: 1}}\n",
    "b.yaml:3: osc: expected 2 values, as many as phi has, got 3": "series:\n  phi: [1, 2]\n  osc: [1, 2, 3]\n",
    "b.yaml:1: phi: expected start, step and either stop or count, got start, stop":
        "series: {phi: {start: 1, stop: 2}}\n",
    "b.yaml:1: phi: expected a step that leads from 1 to 2, got -1": "series: {phi: {start: 1, stop: 2, step: -1}}\n",
    "b.yaml:1: phi: expected 1 to 1000000 values, got 0": "series: {phi: {start: 1, step: 2, count: 0}}\n",
    "b.yaml:1: phi: start: expected a finite number of usual size, got 'a'":
        "series: {phi: {start: a, step: 2, count: 2}}\n",
    "b.yaml:1: phi: expected at least one value, got an empty list": "series: {phi: []}\n",
    "b.yaml:1: misset: expected a list of values, got a range": "series: {misset: {start: 1, step: 2, count: 2}}\n",
    "b.yaml: expected 1 to 1000000 images, got 4000000": "product: {phi: {start: 0, step: 1, count: 2000}, "
                                                         "osc: {start: 0, step: 1, count: 2000}}\n",
    "b.yaml:2: expected either series or cases, got both": "series: {phi: 1}\ncases: [{phi: 1}]\n",
    "b.yaml:1: cases: expected a list of images, each with its options, got something else": "cases: {phi: 1}\n",
    "b.yaml:2: case 2: -lambda: expected a finite number above 0, got '-1'": OPTIONS + "series: {lambda: [1, -1]}\n",
    "b.yaml:2: case 1: -dump: expected a file name, got 'a\\x00b'": OPTIONS + 'series: {dump: "a\\0b"}\n',
    f"b.yaml: case 1: -floatfile {'a' * 40!r}...: cannot be written: file name too long":
        OPTIONS + f"name: '{'a' * 300}'\n",
    "b.yaml:2: name: expected fields of cell, default_F, N, detpixels, oversample, index, got 'x' in 'a{x}'":
        OPTIONS + "name: 'a{x}'\n",
    "b.yaml: case 1: -cell, -mat: expected a unit cell or an orientation matrix, got neither": "options: {N: 1}\n",
    "b.yaml: case 2: -floatfile same.bin: expected a file of its own, got the output of case 1: -floatfile":
        OPTIONS + "series: {phi: [1, 2], floatfile: same.bin}\n",
    "b.yaml: case 2: -intfile b.yaml: expected a file of its own, got the input of the batch":
        OPTIONS + "cases: [{}, {intfile: b.yaml}]\n",
    "b.yaml: case 1: -floatfile no/image_0001.bin: cannot be written: no such directory":
        OPTIONS + "name: 'no/image_{index:04d}'\n",
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line_and_no_file(folder, capsys, message):
    Path("b.yaml").write_text(BAD[message])
    assert main(["b.yaml"]) == 2
    assert capsys.readouterr() == ("", f"nanoBragg-batch: error: {message}\n")
    assert [path.name for path in folder.iterdir()] == ["b.yaml"]


def test_a_cache_that_one_case_writes_and_another_would_read_is_refused(folder, capsys):
    Path("a.hkl").write_text("0 0 0 10\n1 0 0 5\n")
    Path("b.yaml").write_text(OPTIONS + "cases: [{hkl: a.hkl}, {default_F: 5}]\n")
    assert main(["b.yaml"]) == 2
    assert "case 2: expected -hkl, or a -dump of its own, got none: case 1 writes Fdump.bin" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "the following arguments are required: FILE"), (["none.yaml"], "none.yaml: cannot be read: no such file"),
    (["b.yaml", "-dry"], "'-dry': unknown option; --help lists all"),
])
def test_bad_arguments_are_one_line(folder, capsys, arguments, message):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nanoBragg-batch: error: {message}")
    assert error.count("\n") == 1
