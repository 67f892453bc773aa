"""The structure-factor cache, ``Fdump.bin``, byte for byte that of the canonical program (part A §3.2).

Six decimal indices, one newline, one form feed, then (H+1)(K+1)(L+1) binary64 values, l fastest; the last plane of
each axis is zero padding.
"""

from __future__ import annotations

import os
import re

import numpy as np

from ..errors import InputError, excerpt
from .atomic import atomic_write
from .once import read_once
from .reading import read_bytes
from .structure_factors import StructureFactorTable

HEADER_END = b"\n\f"
LONGEST_HEADER = 80
HEADER = re.compile(rb"(-?\d+) (-?\d+) (-?\d+) (-?\d+) (-?\d+) (-?\d+)")


def write_fdump(path: str | os.PathLike[str], table: StructureFactorTable) -> None:
    """Write the cache of ``table``.

    Raises:
        InputError: the file cannot be written.
    """
    limits = (table.h_min, table.h_max, table.k_min, table.k_max, table.l_min, table.l_max)
    header = " ".join(str(limit) for limit in limits).encode() + HEADER_END
    padded = np.pad(table.values.astype(np.float64, copy=False), ((0, 1), (0, 1), (0, 1)))
    atomic_write(path, (header, padded))


@read_once
def read_fdump(path: str | os.PathLike[str]) -> StructureFactorTable:
    """Read a cache; exactly one newline and one form feed part its header from its values.

    The format does not say which reflection list it was made from: the caller tells the user which file is in use.

    Raises:
        InputError: the file cannot be read, has another header, or its length does not fit the header.
    """
    data = read_bytes(path)
    name = os.fspath(path)
    header, end, _ = data[:LONGEST_HEADER].partition(HEADER_END)
    found = HEADER.fullmatch(header)
    if not (end and found):
        raise InputError(
            f"{name}:1: expected six indices (hmin hmax kmin kmax lmin lmax), newline and form feed, "
            f"got {excerpt(header)}"
        )
    h_min, h_max, k_min, k_max, l_min, l_max = (int(limit) for limit in found.groups())
    shape = (h_max - h_min + 2, k_max - k_min + 2, l_max - l_min + 2)
    if min(shape) < 2:
        raise InputError(f"{name}:1: expected hmin <= hmax, kmin <= kmax and lmin <= lmax, got {excerpt(header)}")
    begin = len(header) + len(HEADER_END)
    expected = begin + 8 * shape[0] * shape[1] * shape[2]
    if len(data) != expected:
        raise InputError(f"{name}: expected {expected} bytes for the indices {excerpt(header)}, got {len(data)}")
    padded = np.frombuffer(data, dtype=np.float64, offset=begin).reshape(shape)
    values = padded[:-1, :-1, :-1].copy()
    if not np.isfinite(values).all():
        raise InputError(
            f"{name}: expected finite structure factors, got {np.count_nonzero(~np.isfinite(values))} others"
        )
    return StructureFactorTable(values, h_min, k_min, l_min, name, values.size)
