"""SMV images: a text header, then unsigned 16-bit counts (part A §§3.5, 4.4)."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, excerpt
from .atomic import atomic_write
from .once import read_once
from .reading import read_bytes

BLOCK = 512
MAGIC = b"{\nHEADER_BYT"
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
SAMPLE_TYPES = ("unsigned_short", "unsigned short")
SAMPLE_BYTES = 2


@dataclass(frozen=True)
class SmvImage:
    """An SMV file in memory: its ``path``, its header as text, and its counts, ``data`` (slow, fast) uint16."""

    path: str
    header: str
    data: np.ndarray

    def text(self, key: str, *, exact: bool = False) -> str | None:
        """Text after the ``=`` that follows a key, up to the end of its entry; None without that key.

        By the canonical program's rule the *last* occurrence of ``key`` counts, also within another key: ``ORGX``
        finds ``XDS_ORGX``, ``DISTANCE`` a later ``CLOSE_DISTANCE``. ``exact`` asks for the key itself.
        """
        return _lookup(self.header, key, exact)

    def number(self, key: str, *, exact: bool = False) -> float | None:
        """Number after a key (see :meth:`text`); None without that key.

        Raises:
            InputError: there is the key, but no number.
        """
        return _number(self.path, self.header, key, exact)


@dataclass(frozen=True)
class SmvHeader:
    """Header of the images written, field by field in the units that it prints.

    Attributes:
        fast_pixels, slow_pixels: SIZE1 and SIZE2.
        pixel_mm, distance_mm, close_distance_mm: lengths; wavelength_A in ångströms.
        beam_center_mm: beam centre (x, y) as given or defaulted, in the convention chosen.
        adxv_center_mm, mosflm_center_mm, denzo_center_mm: beam centre (x, y) in those conventions.
        dials_origin_mm: origin (x, y, z) of the detector in DIALS' frame.
        xds_org_px: near point (x, y) in XDS' pixels.
        phi_deg, osc_deg, twotheta_deg: start angle, oscillation range, swing.
        adc_offset: counts added to each pixel; printed if ``corrected``.
        corrected: end the DIALS_ORIGIN entry with its semicolon and add ADC_OFFSET; else write the canonical
            program's header, which has neither.
    """

    fast_pixels: int
    slow_pixels: int
    pixel_mm: float
    distance_mm: float
    wavelength_A: float
    beam_center_mm: tuple[float, float]
    adxv_center_mm: tuple[float, float]
    mosflm_center_mm: tuple[float, float]
    denzo_center_mm: tuple[float, float]
    dials_origin_mm: tuple[float, float, float]
    xds_org_px: tuple[float, float]
    close_distance_mm: float
    phi_deg: float
    osc_deg: float
    twotheta_deg: float
    adc_offset: float = 0.0
    corrected: bool = False

    def entries(self) -> list[tuple[str, str]]:
        """Keys and printed values in file order, but for the braces and HEADER_BYTES."""
        x, y, z = self.dials_origin_mm
        numbers = [
            ("PIXEL_SIZE", self.pixel_mm),
            ("DISTANCE", self.distance_mm),
            ("WAVELENGTH", self.wavelength_A),
            *zip(("BEAM_CENTER_X", "BEAM_CENTER_Y"), self.beam_center_mm, strict=True),
            *zip(("ADXV_CENTER_X", "ADXV_CENTER_Y"), self.adxv_center_mm, strict=True),
            *zip(("MOSFLM_CENTER_X", "MOSFLM_CENTER_Y"), self.mosflm_center_mm, strict=True),
            *zip(("DENZO_X_BEAM", "DENZO_Y_BEAM"), self.denzo_center_mm, strict=True),
            ("DIALS_ORIGIN", f"{x:g},{y:g},{z:g}"),
            *zip(("XDS_ORGX", "XDS_ORGY"), self.xds_org_px, strict=True),
            ("CLOSE_DISTANCE", self.close_distance_mm),
            ("PHI", self.phi_deg),
            ("OSC_START", self.phi_deg),
            ("OSC_RANGE", self.osc_deg),
            ("TWOTHETA", self.twotheta_deg),
        ]
        return [
            ("DIM", "2"),
            ("BYTE_ORDER", f"{sys.byteorder}_endian"),
            ("TYPE", SAMPLE_TYPES[0]),
            ("SIZE1", str(self.fast_pixels)),
            ("SIZE2", str(self.slow_pixels)),
            *((key, value if isinstance(value, str) else f"{value:g}") for key, value in numbers),
            *([("ADC_OFFSET", f"{self.adc_offset:g}")] if self.corrected else []),
            ("DETECTOR_SN", "000"),
            ("BEAMLINE", "fake"),
        ]

    def encode(self) -> bytes:
        """The header as it stands in the file: 512 bytes while it fits, else the next multiple that does.

        (The canonical program always says 512; its longer headers shift the pixels.)
        """
        size = BLOCK
        while len(text := self._text(size)) > size:
            size += BLOCK
        return text.ljust(size)

    def _text(self, size: int) -> bytes:
        lines = ["{", f"HEADER_BYTES={size};"]
        for key, value in self.entries():
            semicolon = "" if key == "DIALS_ORIGIN" and not self.corrected else ";"
            lines.append(f"{key}={value}{semicolon}")
        return "\n".join([*lines, "}\f"]).encode("ascii")


def write_smv(path: str | os.PathLike[str], header: SmvHeader, counts: np.ndarray) -> None:
    """Write an image.

    Args:
        path: of the file.
        header: its header.
        counts: (slow, fast) uint16, of the size that the header says.

    Raises:
        InputError: the file cannot be written.
    """
    if counts.shape != (header.slow_pixels, header.fast_pixels):
        raise ValueError(f"counts of shape {counts.shape} do not fit the header's SIZE2 x SIZE1")
    atomic_write(path, (header.encode(), np.ascontiguousarray(counts, dtype=np.uint16)))


@read_once
def read_smv(path: str | os.PathLike[str]) -> SmvImage:
    """Read an SMV image of unsigned 16-bit counts, of either byte order.

    Raises:
        InputError: the file cannot be read, is not SMV, lacks HEADER_BYTES, BYTE_ORDER, SIZE1 or SIZE2, holds another
            type of counts, or fewer of them than its header says.
    """
    name = os.fspath(path)
    raw = read_bytes(path)
    if not raw.startswith(MAGIC):
        raise InputError(
            f"{name}: expected an SMV image (beginning '{{', newline, 'HEADER_BYTES='), got {excerpt(raw, 12)}"
        )
    if len(raw) < BLOCK:
        raise InputError(f"{name}: expected an SMV image of at least {BLOCK} bytes, got {len(raw)}")
    header_bytes = _size(name, _decode(raw[:BLOCK]), "HEADER_BYTES")
    if header_bytes > len(raw):
        raise InputError(f"{name}: expected a header of HEADER_BYTES={header_bytes} bytes, got a file of {len(raw)}")
    header = _decode(raw[:header_bytes])
    shape = _shape(name, header)
    sample = _sample_type(name, header)
    expected = shape[0] * shape[1] * SAMPLE_BYTES
    if len(raw) - header_bytes < expected:
        raise InputError(
            f"{name}: expected {shape[1]} x {shape[0]} pixels ({expected} bytes) after the header, "
            f"got {len(raw) - header_bytes} bytes"
        )
    data = np.frombuffer(raw, dtype=sample, count=shape[0] * shape[1], offset=header_bytes)
    return SmvImage(name, header, data.reshape(shape).astype(np.uint16))


def _shape(name: str, header: str) -> tuple[int, int]:
    """Slow and fast counts; DETECTOR_DIMENSIONS stands for both if SIZE1 is 0."""
    if _number(name, header, "SIZE1") == 0.0:
        side = _size(name, header, "DETECTOR_DIMENSIONS")
        return side, side
    return _size(name, header, "SIZE2"), _size(name, header, "SIZE1")


def _sample_type(name: str, header: str) -> np.dtype:
    order = _lookup(header, "BYTE_ORDER")
    if order not in ("little_endian", "big_endian"):
        got = "no such key" if order is None else excerpt(order)
        raise InputError(f"{name}: expected BYTE_ORDER=little_endian or big_endian in the header, got {got}")
    kind = _lookup(header, "TYPE", exact=True)
    if kind is not None and kind.lower() not in SAMPLE_TYPES:
        raise InputError(f"{name}: expected TYPE={SAMPLE_TYPES[0]} in the header, got {excerpt(kind)}")
    return np.dtype("<u2" if order == "little_endian" else ">u2")


def _size(name: str, header: str, key: str) -> int:
    value = _number(name, header, key)
    if value is None or value < 1 or not value.is_integer():
        got = "no such key" if value is None else f"{value:g}"
        raise InputError(f"{name}: expected {key}= a whole number above 0 in the header, got {got}")
    return int(value)


def _number(name: str, header: str, key: str, exact: bool = False) -> float | None:
    text = _lookup(header, key, exact)
    if text is None:
        return None
    found = NUMBER.match(text)
    if not found:
        raise InputError(f"{name}: expected a number after {key}= in the header, got {excerpt(text)}")
    return float(found.group(1))


def _lookup(header: str, key: str, exact: bool = False) -> str | None:
    """Text between the ``=`` after the last occurrence of ``key`` and the end of that entry."""
    if exact:
        keys = list(re.finditer(rf"^\s*{re.escape(key)}\s*(?==)", header, re.MULTILINE))
        at = keys[-1].start() if keys else -1
    else:
        at = header.rfind(key)
    equals = header.find("=", at)
    if at < 0 or equals < 0:
        return None
    return re.split(r"[;\n]", header[equals + 1 :], maxsplit=1)[0].strip()


def _decode(header: bytes) -> str:
    return header.decode("latin-1")
