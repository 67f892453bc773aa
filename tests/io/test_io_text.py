"""Orientation matrices, source lists and amorphous scattering files."""

import math
from pathlib import Path

import numpy as np
import pytest

from nanobrag_torch.errors import InputError
from nanobrag_torch.io import check_stol, fill_wavelengths, read_matrix, read_sources

INPUTS = Path(__file__).parents[1] / "golden_data" / "inputs"
BEAM = np.array([1.0, 0.0, 0.0])


@pytest.fixture
def text_file(tmp_path):
    """Write a text file and name it."""

    def write(text):
        path = tmp_path / "input.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_matrix_is_the_first_nine_numbers_by_rows():
    matrix = read_matrix(INPUTS / "tri_a.mat")  # further rows follow the matrix
    assert matrix.tolist() == [
        [0.03105896, -0.00892821, 0.00279913],
        [0.00547653, 0.00861350, 0.02281734],
        [-0.01470645, -0.02701254, 0.01087196],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "1 0 0 0 2 0 0 0 3",
        "1 0 0\r\n0 2 0\r\n0 0 3\r\ntitle\r\n",
        "# title\n1 0\n0 0 2 0 0\n\n0 3e0 9 9 words",
        "1\t0 0,0 2,0,0 0 3",
    ],
)
def test_matrix_layouts(text_file, text):
    assert read_matrix(text_file(text)).tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": expected nine numbers (three rows of three), got 0"),
        ("1 0 0\n0 1 0\n", ": expected nine numbers (three rows of three), got 6"),
        ("A matrix\n1 0 0 0 1 0 0 0 1\n", ":1: expected nine numbers (three rows of three), got 'A'"),
        ("1 0 0\n0 1x 0\n0 0 1\n", ":2: expected nine numbers (three rows of three), got '1x'"),
        ("1 0 0\n0 1 0\n0 0 nan\n", ":3: expected nine numbers (three rows of three), got 'nan'"),
        ("1 0 0\n0 inf 0\n0 0 1\n", ":2: expected nine numbers (three rows of three), got 'inf'"),
        ("1 0 0\n0 1e999 0\n0 0 1\n", ":2: expected nine numbers (three rows of three), got '1e999'"),
        ("1 2 3\n2 4 6\n0 0 1\n", ": expected three independent reciprocal axes, got a matrix of determinant 0"),
        (b"1 0 0 \x00", ": expected text, got binary data"),
    ],
)
def test_bad_matrices_are_refused(text_file, text, message):
    path = text_file(text)
    with pytest.raises(InputError) as refusal:
        read_matrix(path)
    assert str(refusal.value) == f"{path}{message}"


def test_sources_with_all_columns():
    sources = read_sources(INPUTS / "sources_a.txt", BEAM)  # one line is blank
    assert sources.positions.tolist() == [[-10, 0.02, 0], [-10, -0.02, 0.01], [-10, 0, -0.03], [-10, 0.015, 0.015]]
    assert sources.weights.tolist() == [1.0, 3.0, 0.5, 2.0]
    assert sources.wavelengths_m.tolist() == [1.100e-10, 1.105e-10, 1.095e-10, 1.110e-10]


def test_missing_columns_take_defaults():
    sources = read_sources(INPUTS / "sources_short_a.txt", BEAM, 1.2e-10)
    assert sources.weights.tolist() == [1.0, 4.0, 1.0]
    assert sources.wavelengths_m.tolist() == [1.2e-10] * 3


def test_missing_wavelengths_can_be_left_to_the_caller(text_file):
    sources = read_sources(text_file("-1 0 0 1 2e-10\n-1 0 1\n"), BEAM)
    assert sources.wavelengths_m[0] == 2e-10
    assert math.isnan(sources.wavelengths_m[1])
    assert fill_wavelengths(sources.wavelengths_m, 1e-10).tolist() == [2e-10, 1e-10]


def test_missing_position_components_lie_upstream(text_file):
    sources = read_sources(text_file("-9\nnan 0.5\n"), np.array([0.6, 0.0, 0.8]))
    assert sources.positions.tolist() == [[-9.0, 0.0, -8.0], [-6.0, 0.5, -8.0]]


@pytest.mark.parametrize(
    "text",
    [
        "-10 0 0\r\n\r\n-10 0 1\r\n",
        "-10 0 0\n-10 0 1",
        "# two sources\n-10 0 0 # the first\n   \n-10,0;1\n",
        "-10 0 0\r-10 0 1\r",
        "-10 0 0 1 1e-10 7 words\n-10:0!1 nan nan\n",
    ],
    ids=["crlf", "no-last-newline", "comments", "old-mac", "extra-columns"],
)
def test_source_layouts(text_file, text):
    sources = read_sources(text_file(text), BEAM, 1e-10)
    assert sources.positions.tolist() == [[-10, 0, 0], [-10, 0, 1]]
    assert sources.weights.tolist() == [1.0, 1.0]
    assert sources.wavelengths_m.tolist() == [1e-10, 1e-10]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": expected at least one source (X Y Z weight wavelength), got none"),
        ("# nothing\n\n", ": expected at least one source (X Y Z weight wavelength), got none"),
        ("X Y Z\n-10 0 0\n", ":1: expected numbers (X Y Z weight wavelength), got 'X'"),
        ("-10 0 0\n-10 0 0 1 1D-10\n", ":2: expected numbers (X Y Z weight wavelength), got '1D-10'"),
        ("-10 0 inf\n", ":1: expected numbers (X Y Z weight wavelength), got 'inf'"),
        ("-10 0 0 1 0\n", ":1: expected a wavelength above 0 in metres, got 0"),
        ("-10 0 0 1 -1e-10\n", ":1: expected a wavelength above 0 in metres, got -1e-10"),
        ("-10 0 0 -2 1e-10\n", ":1: expected a weight of at least 0, got -2"),
        ("-10 0 0\n0 0 0\n", ":2: expected the position of a source, got 0 0 0"),
        (b"\x7fELF\x00\x00", ": expected text, got binary data"),
    ],
)
def test_bad_source_lists_are_refused(text_file, text, message):
    path = text_file(text)
    with pytest.raises(InputError) as refusal:
        read_sources(path, BEAM, 1e-10)
    assert str(refusal.value) == f"{path}{message}"


def test_stol_file_needs_a_line():
    check_stol(INPUTS / "water_a.stol")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_empty_stol_file_is_refused(text_file, text):
    with pytest.raises(InputError, match=r"expected two columns \(abscissa and F\), got an empty file$"):
        check_stol(text_file(text))


@pytest.mark.parametrize("read", [read_matrix, check_stol, lambda path: read_sources(path, BEAM)])
def test_missing_files(tmp_path, read):
    with pytest.raises(InputError) as refusal:
        read(tmp_path / "none")
    assert str(refusal.value) == f"{tmp_path / 'none'}: cannot be read: no such file or directory"
