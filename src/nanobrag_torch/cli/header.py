"""Settings that the header of an input image supplies (part A §3.5)."""

from __future__ import annotations

from ..io.smv import SmvImage, read_smv
from ..quirks import Quirks
from .parse import Settings

_KEYS = {
    "PIXEL_SIZE": "pixel", "DISTANCE": "distance", "CLOSE_DISTANCE": "close_distance", "WAVELENGTH": "wavelength",
    "BEAM_CENTER_X": "Xbeam", "BEAM_CENTER_Y": "Ybeam", "ORGX": "ORGX", "ORGY": "ORGY", "PHI": "phi",
    "OSC_RANGE": "osc",
}


def header_settings(options: Settings, quirks: Quirks) -> Settings:
    """Settings of `-mask` and then `-img`; the image wins where both give a key."""
    settings = Settings()
    for option in ("mask", "img"):
        if option in options:
            image = read_smv(options.get(option))
            _take(settings, image, option, quirks)
    return settings


def _take(settings: Settings, image: SmvImage, option: str, quirks: Quirks) -> None:
    spelling = f"-{option} {image.path}"
    slow, fast = image.data.shape
    settings.set("fpixels", fast, spelling)
    settings.set("spixels", slow, spelling)
    for key, name in _KEYS.items():
        value = image.number(key)
        if value is None:
            continue
        if key == "BEAM_CENTER_Y" and option == "mask" and quirks.mask_beam_centre:
            value = slow * (image.number("PIXEL_SIZE") or 0.1) - value
        settings.set(name, value, spelling)
