"""Intermediates of pixels on standard output: `-trace_pixel`, `-printout`, `-printout_pixel`."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import InputError
from ..simulator import Simulator
from ..trace import trace_lines, trace_pixel
from .parse import Settings

_COLUMNS = ("stol_per_m", "pixel_pos_m", "h", "k", "l", "h0", "k0", "l0", "F_cell", "F_latt", "I_sum", "steps",
            "polar_used", "omega_used_sr", "capture_fraction_used", "intensity_f32")
"""What a printed pixel shows; up to F_latt of its first evaluation."""


def check_pixels(simulator: Simulator, settings: Settings) -> None:
    """Raise `InputError` where a pixel asked for is not rendered."""
    rendered, width = simulator.rendered_pixels(), simulator.detector.config.fpixels
    for option, slow, fast in _asked(settings):
        if fast >= width or not (rendered == slow * width + fast).any():
            raise InputError(f"-{option}: expected a rendered pixel, got slow {slow}, fast {fast}")


def pixel_lines(simulator: Simulator, settings: Settings) -> Iterator[str]:
    """The pixels asked for, which `check_pixels` has let pass; a trace alone where there is one."""
    for option, slow, fast in _asked(settings):
        if option == "trace_pixel":
            yield from trace_lines(trace_pixel(simulator, slow, fast))
            return
        yield _line(simulator, slow, fast)
    if settings.get("printout") and "printout_pixel" not in settings:
        width = simulator.detector.config.fpixels
        for index in simulator.rendered_pixels().tolist():
            yield _line(simulator, index // width, index % width)


def _asked(settings: Settings) -> Iterator[tuple[str, int, int]]:
    """Option, slow and fast of single pixels."""
    if "trace_pixel" in settings:
        yield "trace_pixel", *settings.get("trace_pixel")
    if "printout_pixel" in settings:
        fast, slow = settings.get("printout_pixel")
        yield "printout_pixel", slow, fast


def _line(simulator: Simulator, slow: int, fast: int) -> str:
    values = trace_pixel(simulator, slow, fast)["values"]
    shown = [f"{name} {_text(values[name])}" for name in _COLUMNS if name in values]
    return f"pixel fast {fast} slow {slow}: " + ", ".join(shown)


def _text(value: float | int | list) -> str:
    return " ".join(map(_text, value)) if isinstance(value, list) else f"{value:.9g}"
