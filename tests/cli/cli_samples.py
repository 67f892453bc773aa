"""A command line and an image file to vary."""

from __future__ import annotations

import numpy as np

RUN = "-cell 70 80 90 -default_F 100 -N 3 -distance 60 -detpixels 8 -pixel 0.05 -oversample 1 -seed 1"
"""A complete command of 8 x 8 pixels that neither warns nor notes anything but what is added to it."""


def smv(data: np.ndarray, order: str = "little_endian", header_bytes: int = 512, **keys: object) -> bytes:
    """An SMV file: counts (slow, fast), and header keys beyond the sizes; a key of None is left out."""
    slow, fast = data.shape
    entries = {"BYTE_ORDER": order, "TYPE": "unsigned_short", "SIZE1": fast, "SIZE2": slow} | keys
    lines = ["{", f"HEADER_BYTES={header_bytes};"]
    lines += [f"{key}={value};" for key, value in entries.items() if value is not None]
    text = "\n".join([*lines, "}\f"]).encode().ljust(header_bytes)
    return text + data.astype("<u2" if order == "little_endian" else ">u2").tobytes()
