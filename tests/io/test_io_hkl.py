"""Reflection lists: what is read, what is passed over with a note, what is refused and where."""

from pathlib import Path

import numpy as np
import pytest

from nanobrag_torch.errors import InputError
from nanobrag_torch.io import read_hkl

INPUTS = Path(__file__).parents[1] / "golden_data" / "inputs"


@pytest.fixture
def listed(tmp_path):
    """Write a reflection list and name it."""

    def write(text):
        path = tmp_path / "list.hkl"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def as_dict(table):
    box = np.ndenumerate(table.values)
    return {(h + table.h_min, k + table.k_min, l + table.l_min): F for (h, k, l), F in box}  # noqa: E741


def test_box_spans_the_indices_and_holds_default_F_elsewhere(listed):
    table = read_hkl(listed("0 0 0 100\n1 0 0 50\n0 1 0 25\n-1 0 0 33\n0 0 1 10\n"), default_F=5.0)
    assert (table.h_min, table.h_max, table.k_min, table.k_max, table.l_min, table.l_max) == (-1, 1, 0, 1, 0, 1)
    assert table.values.tolist() == [[[33, 5], [5, 5]], [[100, 10], [25, 5]], [[50, 5], [5, 5]]]
    assert (table.reflections, table.warnings) == (5, ())


def test_stored_lists_are_read_like_a_plain_loop_reads_them():
    for name in ("dense_a.hkl", "sparse_a.hkl", "asym_a.hkl"):
        expected = {}
        for line in (INPUTS / name).read_text().splitlines():
            h, k, l, F = line.split()  # noqa: E741
            expected[int(h), int(k), int(l)] = float(F)
        found = as_dict(read_hkl(INPUTS / name, default_F=-1.0))
        assert {index: F for index, F in found.items() if F != -1.0} == expected


def test_footer_ends_the_list_with_a_note():
    path = INPUTS / "gaps_a.hkl"
    table = read_hkl(path)
    assert table.reflections == 9787
    assert table.values.max() < 99999  # the numbers after the footer
    assert table.warnings == (f"{path}:9788: reading ended at 'end of list'; lines not read from there on: 2",)


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3 4.5\r\n-1 0 0 6\r\n",
        "1 2 3 4.5\n-1 0 0 6",
        "\n\n  1\t2\t3\t4.5\n\n-1 0 0 +6.0\n\n",
        "1 2 3 4.5 -1 0 0 6\n",
        "1 2 3\n4.5\n-1 0\n0 6e0\n",
        "1.0 2. 3e0 4.5\n-1 0 0 .6E1\n",
    ],
    ids=["crlf", "no-last-newline", "blanks", "two-on-a-line", "spread-over-lines", "whole-reals"],
)
def test_layouts(listed, text):
    table = read_hkl(listed(text))
    assert {index: F for index, F in as_dict(table).items() if F} == {(1, 2, 3): 4.5, (-1, 0, 0): 6.0}
    assert (table.reflections, table.warnings) == (2, ())


def test_last_of_repeated_reflections_counts(listed):
    path = listed("1 2 3 4\n0 0 0 1\n1 2 3 5\n1 2 3 6\n")
    table = read_hkl(path)
    assert as_dict(table)[1, 2, 3] == 6.0
    assert table.reflections == 4
    assert table.warnings == (f"{path}: 2 reflections are listed more than once; the last of each counts",)


def test_single_reflection(listed):
    table = read_hkl(listed("-7 8 9 1e3"))
    assert table.values.shape == (1, 1, 1)
    assert as_dict(table) == {(-7, 8, 9): 1000.0}


def test_incomplete_last_reflection_is_ignored_with_a_note(listed):
    path = listed("1 2 3 4\n5 6\n")
    table = read_hkl(path)
    assert table.reflections == 1
    assert table.warnings == (f"{path}:2: incomplete reflection ignored: '5 6'",)


@pytest.mark.parametrize(
    ("text", "place", "got"),
    [
        ("", "", "empty file"),
        ("  \n\n", "", "empty file"),
        ("h k l F\n1 2 3 4\n", ":1", "'h k l F'"),
        ("\n# title\n1 2 3 4\n", ":2", "'# title'"),
        ("1,2,3,4\n", ":1", "'1,2,3,4'"),
        ("1 2 3 4 a\n1 2 4 5 b\n", ":1", "'1 2 3 4 a'"),
        ("1 2 3 4 0.5\n2 3 4 5 0.5\n", ":1", "5: '1 2 3 4 0.5'"),
        ("1 2 3 4\n1 2 3 4 0.5 90\n", ":2", "6: '1 2 3 4 0.5 90'"),
        ("1 2 3 4\n5 6 7\n1 1 1 1\n", ":2", "3: '5 6 7'"),
        ("1 2 3\n4 5 6\n7 8 9\n1 1 1\n", ":1", "3: '1 2 3'"),
        ("1 2 3 4\n1 2 3.5 4\n", ":2", "'1 2 3.5 4'"),
        ("1 2 3 4\n1 2 3 nan\n", ":2", "'1 2 3 nan'"),
        ("1 2 3 4\n1 2 3 -inf\n", ":2", "'1 2 3 -inf'"),
        ("1 2 3 4\n1 2 3 1e999\n", ":2", "'1 2 3 1e999'"),
        ("1 2 3 4\n1 2 1e10 4\n", ":2", "'1 2 1e10 4'"),
        ("1 2 3\n", ":1", "'1 2 3'"),
        ("-10-11 -12 5\n", ":1", "'-10-11 -12 5'"),
        ("0 0 0 1\n2000 2000 2000 1\n", "", "h 0 to 2000, k 0 to 2000, l 0 to 2000"),
        (b"\x00\x01\x02\x03", "", "binary data"),
        (b"1 2 3 4\n\x00\x00", "", "binary data"),
        (b"\x89PNG\r\n", ":1", r"'\x89PNG'"),
    ],
)
def test_bad_lists_are_refused_with_their_place(listed, text, place, got):
    path = listed(text)
    with pytest.raises(InputError) as refusal:
        read_hkl(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}{place}: expected ")
    assert message.endswith((f"got {got}", f"got an {got}"))
    assert "\n" not in message


def test_word_that_only_looks_like_a_number_ends_the_list(listed):
    path = listed("1 2 3 4\n1 2 4 1e\n1 2 5 6\n")
    table = read_hkl(path)
    assert table.reflections == 1
    assert table.warnings[0] == f"{path}:2: reading ended at '1 2 4 1e'; lines not read from there on: 2"


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(InputError, match=r"none\.hkl: cannot be read: no such file or directory$"):
        read_hkl(tmp_path / "none.hkl")
    with pytest.raises(InputError, match=r": cannot be read: is a directory$"):
        read_hkl(tmp_path)
