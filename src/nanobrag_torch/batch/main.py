"""The command: a file of cases to images. torch is imported once all of them are known to be good."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..ending import Ending
from ..errors import InputError, excerpt, out_of_memory
from ..io.once import reading_once
from ..streams import BROKEN_PIPE, account, show
from .images import Image, read_images
from .manifest import Manifest
from .messages import NAME, Messages, tell
from .plan import read_plan
from .progress import image_progress

FAILED = 2

_DESCRIPTION = """\
Make many images in one process. The file is YAML; options are named as those of nanoBragg, without the dash:

  name: rotation_{index:04d}               beginning of file names; default image_{index:04d}
  options:                                 of every image
    cell: 79.1 79.1 38.4 90 90 90
    hkl: lysozyme.hkl
    N: 15
    xds: true                              a switch
  product:                                 every combination, the last option fastest
    lambda: [1.0, 1.1]
  series:                                  varied together, one value an image; or instead
    phi: {start: 0, step: 0.5, count: 20}  cases: a list of options of single images
    osc: 0.5

A range is {start, step, count} or {start, stop, step}, ends included. {index} and {OPTION} stand for their values in
file names. Images equal those of nanoBragg with the words that -dry_run shows. Without -seed (or -misset_seed) the
number of a case is its seed. Done again, the command goes on where it ended: FILE.finished lists what is finished,
and an image is made again if its options, its inputs or its files have changed.
"""


_SWITCHES = {
    "-dry_run": "check everything, print the command line of each image and stop",
    "-keep_going": "go on with the other images after one has failed",
    "-redo": "make all images, those finished before too",
    "-quiet": "no progress, no summary; warnings and errors stay",
}


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)

    def _print_message(self, message: str, file: object = None) -> None:
        show(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these words (default: the process's); returns the exit status."""
    ending = Ending()
    try:
        arguments = _arguments(argv)
        with reading_once(), ending:
            return _batch(arguments, ending)
    except InputError as error:
        tell(f"error: {error}")
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        tell("error: not enough memory for this batch")
    except KeyboardInterrupt:
        tell("interrupted before the first image")
        return ending.status
    except BrokenPipeError:
        return BROKEN_PIPE
    return FAILED


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Arguments(prog=NAME, description=_DESCRIPTION, allow_abbrev=False, add_help=False,
                        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", help="cases in YAML")
    for name, help in _SWITCHES.items():
        parser.add_argument(name, action="store_true", help=help)
    others = ("-h", "-help", "--help"), ("-version", "--version")
    parser.add_argument(*others[0], action="help", help="print this help and stop")
    parser.add_argument(*others[1], action="version", version=f"{NAME} (nanobrag-torch) {__version__}",
                        help="print the version and stop")
    words = sys.argv[1:] if argv is None else list(argv)
    for word in words:  # argparse takes beginnings of single-dash options for the whole
        if word.startswith("-") and word not in (*_SWITCHES, *others[0], *others[1]):
            raise InputError(f"{excerpt(word)}: unknown option; --help lists all")
    return parser.parse_args(words)


def _batch(arguments: argparse.Namespace, ending: Ending) -> int:
    images = read_images(read_plan(arguments.file))
    if arguments.dry_run:
        for image in images:
            show(f"nanoBragg {shlex.join(image.words)}\n")
        return 0
    manifest = Manifest(arguments.file)
    try:
        return _make(images, manifest, arguments, ending)
    finally:
        manifest.close()


def _make(images: list[Image], manifest: Manifest, arguments: argparse.Namespace, ending: Ending) -> int:
    """Make what is not finished yet; the exit status."""
    missing = [image for image in images if arguments.redo or not manifest.has(image)]
    if len(missing) < len(images) and not arguments.quiet:
        tell(f"{len(images) - len(missing)} of {len(images)} images are there already; -redo makes them again")
    if not missing:
        return 0
    from .run import Batch

    batch = Batch(missing, Messages())
    begin = time.monotonic()
    try:
        with image_progress(len(missing), quiet=arguments.quiet) as advance:
            batch.run(manifest, advance, keep_going=arguments.keep_going)
    except KeyboardInterrupt:
        tell(f"interrupted; {batch.finished} of {len(missing)} images were finished, the same command makes the others")
        return ending.status
    if not arguments.quiet:
        seconds = time.monotonic() - begin
        account([f"{batch.finished} images in {seconds:.1f} s, {batch.finished / seconds:.2f} images/s"])
    if batch.failed:
        tell(f"{batch.failed} failed; the same command makes the images that are missing")
    return FAILED if batch.failed else 0
