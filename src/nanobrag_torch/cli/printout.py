"""Intermediates of pixels on standard output: `-trace_pixel`, `-printout`, `-printout_pixel`."""

from __future__ import annotations

from ..errors import InputError
from ..simulator import Simulator
from ..trace import trace_lines, trace_pixel
from .parse import Settings

_COLUMNS = ("stol_per_m", "pixel_pos_m", "h", "k", "l", "h0", "k0", "l0", "F_cell", "F_latt", "I_sum", "steps",
            "polar_used", "omega_used_sr", "capture_fraction_used", "intensity_f32")
"""What a printed pixel shows; up to F_latt of its first evaluation."""


def print_pixels(simulator: Simulator, settings: Settings) -> None:
    """Print the pixels asked for; raises `InputError` for one that is not rendered."""
    if "trace_pixel" in settings:
        slow, fast = settings.get("trace_pixel")
        for line in trace_lines(_trace(simulator, slow, fast, "-trace_pixel")):
            print(line)
    elif "printout_pixel" in settings:
        fast, slow = settings.get("printout_pixel")
        _print_one(simulator, slow, fast)
    else:
        width = simulator.detector.config.fpixels
        for index in simulator.rendered_pixels().tolist():
            _print_one(simulator, index // width, index % width)


def _print_one(simulator: Simulator, slow: int, fast: int) -> None:
    values = _trace(simulator, slow, fast, "-printout_pixel")["values"]
    shown = [f"{name} {_text(values[name])}" for name in _COLUMNS if name in values]
    print(f"pixel fast {fast} slow {slow}: " + ", ".join(shown))


def _trace(simulator: Simulator, slow: int, fast: int, option: str) -> dict:
    try:
        return trace_pixel(simulator, slow, fast)
    except ValueError as error:
        raise InputError(f"{option}: expected a rendered pixel, got one that is not: {error}") from None


def _text(value: float | int | list) -> str:
    return " ".join(map(_text, value)) if isinstance(value, list) else f"{value:.9g}"
