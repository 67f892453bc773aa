"""The structure-factor cache: byte compatible, and checked when it is read."""

from pathlib import Path

import numpy as np
import pytest

from nanobrag_torch.errors import InputError
from nanobrag_torch.io import StructureFactorTable, read_fdump, read_hkl, write_fdump

INPUTS = Path(__file__).parents[1] / "golden_data" / "inputs"


def table_of(values, h_min=0, k_min=0, l_min=0):
    values = np.asarray(values, dtype=np.float64)
    return StructureFactorTable(values, h_min, k_min, l_min, "made here", values.size)


def test_published_example(tmp_path):
    hkl, dump = tmp_path / "five.hkl", tmp_path / "Fdump.bin"
    hkl.write_text("0 0 0 100\n1 0 0 50\n0 1 0 25\n-1 0 0 33\n0 0 1 10\n")
    write_fdump(dump, read_hkl(hkl, default_F=5.0))
    data = dump.read_bytes()
    assert len(data) == 302
    assert data.startswith(b"-1 1 0 1 0 1\n\f")
    planes = [
        [[33, 5, 0], [5, 5, 0], [0, 0, 0]],
        [[100, 10, 0], [25, 5, 0], [0, 0, 0]],
        [[50, 5, 0], [5, 5, 0], [0, 0, 0]],
        [[0, 0, 0]] * 3,
    ]
    assert np.frombuffer(data, offset=14).reshape(4, 3, 3).tolist() == planes


def test_stored_cache_is_rewritten_byte_for_byte(tmp_path):
    table = read_fdump(INPUTS / "fdump_a.bin")
    assert (table.h_min, table.h_max, table.k_min, table.k_max, table.l_min, table.l_max) == (-12, 12, -13, 13, -14, 14)
    assert table.reflections == 25 * 27 * 29
    write_fdump(tmp_path / "again.bin", table)
    assert (tmp_path / "again.bin").read_bytes() == (INPUTS / "fdump_a.bin").read_bytes()


def test_round_trip_of_a_list_keeps_values_and_box(tmp_path):
    table = read_hkl(INPUTS / "asym_a.hkl", default_F=2.5)
    write_fdump(tmp_path / "Fdump.bin", table)
    again = read_fdump(tmp_path / "Fdump.bin")
    np.testing.assert_array_equal(again.values, table.values)
    assert (again.h_min, again.k_min, again.l_min) == (table.h_min, table.k_min, table.l_min)
    assert again.source == str(tmp_path / "Fdump.bin")


def test_first_value_that_looks_like_white_space_is_not_swallowed(tmp_path):
    assert np.float64(0.09).tobytes()[0] == 0x0A
    write_fdump(tmp_path / "Fdump.bin", table_of([[[0.09, 7.0]]]))
    assert read_fdump(tmp_path / "Fdump.bin").values.tolist() == [[[0.09, 7.0]]]


GOOD = b"0 0 0 0 0 1\n\f" + np.zeros(12).tobytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", ":1: expected six indices (hmin hmax kmin kmax lmin lmax), newline and form feed, got ''"),
        (b"h k l F\n1 2 3 4\n", ":1: expected six indices"),
        (b"0 0 0 0 0\n\f" + bytes(96), ":1: expected six indices"),
        (GOOD.replace(b"\f", b" "), ":1: expected six indices"),
        (b"0 -1 0 0 0 1\n\f", ":1: expected hmin <= hmax, kmin <= kmax and lmin <= lmax, got '0 -1 0 0 0 1'"),
        (GOOD[:-1], ": expected 109 bytes for the indices '0 0 0 0 0 1', got 108"),
        (GOOD + b"x", ": expected 109 bytes for the indices '0 0 0 0 0 1', got 110"),
        (b"0 9999999 0 9999999 0 9999999\n\f", ": expected 8000002400000240000039 bytes"),
        (GOOD[:13] + np.full(12, np.nan).tobytes(), ": expected finite structure factors, got 2 others"),
    ],
)
def test_foreign_and_damaged_caches_are_refused(tmp_path, data, message):
    path = tmp_path / "Fdump.bin"
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        read_fdump(path)
    assert str(refusal.value).startswith(f"{path}{message}")


def test_missing_cache(tmp_path):
    with pytest.raises(InputError, match="cannot be read: no such file"):
        read_fdump(tmp_path / "Fdump.bin")
