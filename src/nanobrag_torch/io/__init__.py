"""Readers and writers of the files that the simulator takes and makes. Bad files raise ``InputError``."""

from .atomic import atomic_write, check_writable
from .fdump import read_fdump, write_fdump
from .floatfile import read_float_image, write_float_image
from .hkl import read_hkl
from .mask import render_mask
from .matrix import read_matrix
from .pgm import write_pgm
from .png import preview, write_png
from .smv import SmvHeader, SmvImage, read_smv, write_smv
from .sources import SourceList, fill_wavelengths, read_sources
from .stol import check_stol
from .structure_factors import StructureFactorTable

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
