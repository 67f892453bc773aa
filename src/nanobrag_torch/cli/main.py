"""The command: options, experiment, simulator, files. torch is imported once the options are known to be good."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import InputError, out_of_memory
from .help import help_text, version_text
from .parse import Settings, parse

if TYPE_CHECKING:
    from ..experiment import Experiment
    from ..simulator import Simulator
    from .resolve import Resolved

BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these words (default: the process's); returns the exit status."""
    _open_closed_streams()
    try:
        return _printing(list(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        _tell(f"error: {error}")
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _tell("error: not enough memory for this run")
    except KeyboardInterrupt:
        _tell("interrupted; no output file was left incomplete")
        return INTERRUPTED
    return BAD_INPUT


def _printing(words: list[str]) -> int:
    """The command, and what becomes of its standard output."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
        status = _command(words)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except OSError as error:
        _discard_output()
        raise InputError(f"standard output: cannot be written: {(error.strerror or str(error)).lower()}") from None


def _command(words: list[str]) -> int:
    settings = parse(words)
    for name, text in (("help", help_text), ("version", version_text)):
        if settings.get(name):
            sys.stdout.write(text())
            return 0
    if settings.get("warmup"):
        from .prepare import compile_kernels

        made = compile_kernels("-warmup")
        sys.stdout.write(f"compiled kernels: {', '.join(made) or 'all there already'}\n")
        return 0
    from .resolve import resolve

    resolved = resolve(settings)
    if settings.get("show_config"):
        sys.stdout.write(resolved.experiment.to_yaml())
        for warning in resolved.warnings:
            _tell(f"warning: {warning}")
    else:
        _simulate(resolved, settings)
    return 0


def _simulate(resolved: Resolved, settings: Settings) -> None:
    from .notes import option_notes
    from .prepare import keep_cache, prepare
    from .printout import check_pixels, print_pixels

    prepared = prepare(resolved)
    prepared.messages.extend(option_notes(resolved))
    check_pixels(prepared.simulator, settings)
    keep_cache(prepared)
    for message in prepared.messages:
        print(message, file=sys.stderr)
    print_pixels(prepared.simulator, settings)
    if "trace_pixel" not in settings:
        _run(prepared.experiment, prepared.simulator, settings)


def _run(experiment: Experiment, simulator: Simulator, settings: Settings) -> None:
    import torch

    from ..io.atomic import all_or_none
    from .notes import quirk_notes
    from .outputs import smv_header, write_outputs
    from .progress import progress
    from .report import result_lines, setup_lines

    quiet = settings.get("quiet", False)
    with torch.no_grad():
        _print(setup_lines(experiment, simulator), quiet)
        with progress(False if quiet else settings.get("progress")) as report:
            image = simulator.run(report)
        pixels = image.float().cpu().numpy()
        statistics = simulator.compute_statistics(image)
        for note in quirk_notes(experiment, simulator):
            print(note, file=sys.stderr)
        _print(result_lines(simulator, statistics), quiet)
        with all_or_none():
            _print(write_outputs(experiment, smv_header(experiment, simulator), pixels, statistics), quiet)


def _open_closed_streams() -> None:
    """Standard streams that the caller closed take what is printed and keep nothing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open until the process ends


def _discard_output() -> None:
    """Keep the interpreter from flushing to a closed or full stream when it ends."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends


def _print(lines: Iterable[str], quiet: bool) -> None:
    """Print; a reader that has gone away costs the rest of the account, not the images."""
    for line in lines:
        if not quiet:
            try:
                print(line, flush=True)
            except BrokenPipeError:
                _discard_output()


def _tell(message: str) -> None:
    print(f"nanoBragg: {message}", file=sys.stderr)
