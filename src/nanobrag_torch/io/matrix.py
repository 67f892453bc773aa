"""Orientation matrix files (part A §3.3)."""

from __future__ import annotations

import os

import numpy as np

from ..errors import InputError, excerpt
from .once import read_once
from .reading import read_rows, to_number

ELEMENTS = 9


@read_once
def read_matrix(path: str | os.PathLike[str]) -> np.ndarray:
    """Orientation matrix of a MOSFLM matrix file.

    The first nine numbers are the matrix, row by row; what follows is ignored.

    Returns:
        (3, 3) float64, dimensionless: rows are the lab components x, y, z; columns a*, b*, c* times the wavelength.

    Raises:
        InputError: the file cannot be read, or holds fewer numbers or other words before the ninth; or the matrix is
            singular.
    """
    name = os.fspath(path)
    elements: list[float] = []
    for line, words in read_rows(path):
        for word in words[: ELEMENTS - len(elements)]:
            elements.append(_element(word, f"{name}:{line}"))
        if len(elements) == ELEMENTS:
            break
    else:
        raise InputError(f"{name}: expected nine numbers (three rows of three), got {len(elements)}")
    matrix = np.array(elements).reshape(3, 3)
    if np.linalg.det(matrix) == 0.0:
        raise InputError(f"{name}: expected three independent reciprocal axes, got a matrix of determinant 0")
    return matrix


def _element(word: str, place: str) -> float:
    element = to_number(word)
    if element is None or np.isnan(element):
        raise InputError(f"{place}: expected nine numbers (three rows of three), got {excerpt(word)}")
    return element
