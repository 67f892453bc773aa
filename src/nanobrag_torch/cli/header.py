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
_PIXEL_MM = 0.1


def header_settings(options: Settings, quirks: Quirks) -> tuple[Settings, list[str]]:
    """Settings of `-mask` and then `-img`, and the faults met; the image wins where both give a key."""
    settings, faults = Settings(), []
    for option in ("mask", "img"):
        if option in options:
            image = read_smv(options.get(option))
            _take(settings, image, option)
            if option == "mask" and _beam_from_opposite_edge(settings, quirks):
                faults.append("mask_beam_centre")
    return settings, faults


def _beam_from_opposite_edge(mask: Settings, quirks: Quirks) -> bool:
    """Turn the centre of a mask round if the fault is active; whether it makes a difference."""
    if "Ybeam" not in mask:
        return False
    centre = mask.get("Ybeam")
    turned = mask.get("spixels") * mask.get("pixel", _PIXEL_MM) - centre
    if quirks.mask_beam_centre:
        mask.values["Ybeam"] = turned
    return turned != centre


def _take(settings: Settings, image: SmvImage, option: str) -> None:
    spelling = f"-{option} {image.path}"
    slow, fast = image.data.shape
    settings.set("fpixels", fast, spelling)
    settings.set("spixels", slow, spelling)
    for key, name in _KEYS.items():
        value = image.number(key)
        if value is not None:
            settings.set(name, value, spelling)
    if settings.get("osc", 0.0) < 0:  # stands for no range, whatever an earlier header said
        settings.unset("osc")
