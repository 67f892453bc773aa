"""The command: options, experiment, simulator, files. torch is imported once the options are known to be good."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..ending import Ending
from ..errors import InputError, out_of_memory
from ..streams import BROKEN_PIPE, account, show, tell
from .help import help_text, version_text
from .parse import Settings, parse

if TYPE_CHECKING:
    from ..experiment import Experiment
    from ..simulator import Simulator
    from .resolve import Resolved

BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these words (default: the process's); returns the exit status."""
    ending = Ending()
    try:
        with ending:
            return _command(list(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        _tell(f"error: {error}")
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _tell("error: not enough memory for this run")
    except BrokenPipeError:
        return BROKEN_PIPE
    except KeyboardInterrupt:
        _tell("interrupted; no output file was left incomplete")
        return ending.status
    return BAD_INPUT


def _command(words: list[str]) -> int:
    settings = parse(words)
    for name, text in (("help", help_text), ("version", version_text)):
        if settings.get(name):
            show(text())
            return 0
    if settings.get("warmup"):
        from .prepare import compile_kernels

        made = compile_kernels("-warmup")
        show(f"compiled kernels: {', '.join(made) or 'all there already'}\n")
        return 0
    from ..io.once import reading_once
    from .resolve import resolve

    with reading_once():  # a mask from a pipe, for its header and its pixels
        resolved = resolve(settings)
        if settings.get("show_config"):
            show(resolved.experiment.to_yaml())
            for warning in resolved.warnings:
                _tell(f"warning: {warning}")
        else:
            _simulate(resolved, settings)
    return 0


def _simulate(resolved: Resolved, settings: Settings) -> None:
    from .notes import option_notes
    from .prepare import keep_cache, prepare
    from .printout import check_pixels, pixel_lines

    prepared = prepare(resolved)
    prepared.messages.extend(option_notes(resolved))
    check_pixels(prepared.simulator, settings)
    keep_cache(prepared)
    for message in prepared.messages:
        tell(message)
    lines = pixel_lines(prepared.simulator, settings)
    if "trace_pixel" in settings:
        for line in lines:
            show(f"{line}\n")
    else:
        account(lines)
        _run(prepared.experiment, prepared.simulator, settings)


def _run(experiment: Experiment, simulator: Simulator, settings: Settings) -> None:
    import torch

    from ..io.atomic import all_or_none
    from .notes import image_warnings, quirk_notes
    from .outputs import smv_header, write_outputs
    from .progress import progress
    from .report import result_lines, setup_lines

    quiet = settings.get("quiet", False)

    def say(lines: Iterable[str]) -> None:
        account(line for line in lines if not quiet)

    with torch.no_grad():
        say(setup_lines(experiment, simulator))
        with progress(False if quiet else settings.get("progress")) as report:
            image = simulator.run(report)
        pixels = image.float().cpu().numpy()
        statistics = simulator.compute_statistics(image)
        for message in (*quirk_notes(experiment, simulator), *image_warnings(pixels)):
            tell(message)
        say(result_lines(simulator, statistics))
        with all_or_none():
            say(write_outputs(experiment, smv_header(experiment, simulator), pixels, statistics))


def _tell(message: str) -> None:
    tell(f"nanoBragg: {message}")
