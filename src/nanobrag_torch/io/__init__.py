"""Readers and writers of the files that the simulator takes and makes. Bad files raise ``InputError``."""

from nanobrag_torch.io.atomic import atomic_write, check_writable
from nanobrag_torch.io.fdump import read_fdump, write_fdump
from nanobrag_torch.io.floatfile import read_float_image, write_float_image
from nanobrag_torch.io.hkl import read_hkl
from nanobrag_torch.io.mask import render_mask
from nanobrag_torch.io.matrix import read_matrix
from nanobrag_torch.io.pgm import write_pgm
from nanobrag_torch.io.png import preview, write_png
from nanobrag_torch.io.smv import SmvHeader, SmvImage, read_smv, write_smv
from nanobrag_torch.io.sources import SourceList, fill_wavelengths, read_sources
from nanobrag_torch.io.stol import check_stol
from nanobrag_torch.io.structure_factors import StructureFactorTable

__all__ = [
    "SmvHeader",
    "SmvImage",
    "SourceList",
    "StructureFactorTable",
    "atomic_write",
    "check_stol",
    "check_writable",
    "fill_wavelengths",
    "preview",
    "read_fdump",
    "read_float_image",
    "read_hkl",
    "read_matrix",
    "read_smv",
    "read_sources",
    "render_mask",
    "write_fdump",
    "write_float_image",
    "write_pgm",
    "write_png",
    "write_smv",
]
