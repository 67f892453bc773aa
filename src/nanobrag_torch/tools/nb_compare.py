"""``nb-compare``: the C program and this one on identical arguments, with metrics, pictures and a report."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..compare import ImageComparison, compare_images, match_peaks
from ..errors import InputError
from .comparison_report import report_page
from .pictures import difference_picture, grey_picture, save
from .runners import Run, c_binary, clean_folder, run_c, run_python
from .staging import float_image

OK, USAGE, RUNNER_FAILED, BELOW_THRESHOLD, SHAPES_DIFFER, IO_FAILED = range(6)
_OUTPUTS = ("-floatfile", "float.bin", "-intfile", "int.img")
_PEAKS = 50


class _Parser(argparse.ArgumentParser):
    """Usage errors in one line, with this command's own status."""

    def error(self, message: str) -> None:
        print(f"nb-compare: error: {message}", file=sys.stderr)
        raise SystemExit(USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run with these words (default: the process's); returns the exit status."""
    options = _parse(argv)
    try:
        return _compare(options, _new_folder(options))
    except InputError as error:
        print(f"nb-compare: error: {error}", file=sys.stderr)
        return RUNNER_FAILED if "NB_C_BIN" in str(error) else IO_FAILED
    except OSError as error:
        print(f"nb-compare: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return IO_FAILED
    except ModuleNotFoundError as error:
        print(f"nb-compare: error: needs {error.name}; pip install 'nanobrag-torch[compare]'", file=sys.stderr)
        return USAGE
    except subprocess.TimeoutExpired as error:
        print(f"nb-compare: error: {error.cmd[0]} took longer than {error.timeout:g} s", file=sys.stderr)
        return RUNNER_FAILED


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="nb-compare", description=__doc__, allow_abbrev=False, epilog=(
        "exit status: 0 agree, 1 usage, 2 a program failed, 3 below the threshold, 4 shapes differ, 5 files"))
    parser.add_argument("--roi", nargs=4, type=int, metavar=("XMIN", "XMAX", "YMIN", "YMAX"),
                        help="compare this region only (x fast, y slow, ends included)")
    parser.add_argument("--threshold", type=float, default=0.9999, help="least correlation (default 0.9999)")
    parser.add_argument("--resample", action="store_true", help="bring ours to the C image's shape where they differ")
    parser.add_argument("--png-scale", type=float, help="photons that are white (default: logarithmic to the maximum)")
    parser.add_argument("--save-diff", action="store_true", help="write the difference as diff.bin too (4-byte reals)")
    parser.add_argument("--c-bin", help="C program (default: NB_C_BIN, else the built one)")
    parser.add_argument("--py-bin", help="this program (default: the installed package)")
    parser.add_argument("--outdir", type=Path, default=Path("comparisons"), help="where to put the folder")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="-- and the arguments of both programs")
    options = parser.parse_args(argv)
    options.arguments = [word for word in options.arguments[:1] if word != "--"] + options.arguments[1:]
    if not options.arguments:
        parser.error("expected the programs' arguments after --, got none")
    if not 0 < options.threshold <= 1:
        parser.error(f"--threshold: expected a correlation above 0 and at most 1, got {options.threshold:g}")
    return options


def _new_folder(options: argparse.Namespace) -> Path:
    """comparisons/<UTC time>-<hash of the arguments>, numbered where two fall into one second."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(shlex.join(options.arguments).encode()).hexdigest()[:8]
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        place = options.outdir / f"{now}-{digest}{suffix}"
        if not place.exists():
            place.mkdir(parents=True)
            return place
    raise InputError(f"--outdir {options.outdir}: too many comparisons at once")


def _compare(options: argparse.Namespace, place: Path) -> int:
    runs = _run_both(options, place)
    summary = {"arguments": options.arguments, "threshold": options.threshold,
               "runs": {name: {"command": run.command, "status": run.status, "seconds": run.seconds}
                        for name, run in runs.items()}}
    failed = [name for name, run in runs.items() if run.status != 0]
    if failed:
        (place / "summary.json").write_text(json.dumps(summary, indent=1))
        for name in failed:
            print(f"nb-compare: error: {name} failed with status {runs[name].status}: "
                  f"{runs[name].stderr.strip().splitlines()[-1:] or 'no message'}", file=sys.stderr)
        return RUNNER_FAILED
    reference, image = (_image(run.folder) for run in runs.values())
    if reference.shape != image.shape:
        if not options.resample:
            print(f"nb-compare: error: shapes differ: C {reference.shape}, ours {image.shape}; --resample adapts ours",
                  file=sys.stderr)
            return SHAPES_DIFFER
        image = _resampled(image, reference.shape)
    if options.roi:
        reference, image = _region(reference, options.roi), _region(image, options.roi)
    return _judge(options, place, summary, reference, image)


def _run_both(options: argparse.Namespace, place: Path) -> dict[str, Run]:
    binary = c_binary(options.c_bin)
    words = [*options.arguments, *_OUTPUTS]
    folders = {name: _folder_with_inputs(place, name) for name in ("C", "Python")}
    ours = {"command": shlex.split(options.py_bin)} if options.py_bin else {}
    runs = {"C": run_c(words, folders["C"], binary), "Python": run_python(words, folders["Python"], **ours)}
    for name, run in runs.items():
        (place / f"{name}.stdout").write_text(run.stdout)
        (place / f"{name}.stderr").write_text(run.stderr)
    return runs


def _folder_with_inputs(place: Path, name: str) -> Path:
    """A folder with links to the present one's entries, structure-factor caches and comparisons aside."""
    folder = clean_folder(place, name)
    for entry in sorted(Path.cwd().iterdir()):
        if entry.name != "Fdump.bin" and entry.resolve() != place.parent.resolve():
            (folder / entry.name).symlink_to(entry.resolve())
    for output in _OUTPUTS[1::2]:
        (folder / output).unlink(missing_ok=True)
    return folder


def _image(folder: Path) -> np.ndarray:
    return float_image(folder).astype(np.float64)


def _region(image: np.ndarray, roi: Sequence[int]) -> np.ndarray:
    xmin, xmax, ymin, ymax = roi
    region = image[max(ymin, 0):ymax + 1, max(xmin, 0):xmax + 1]
    if region.size == 0:
        raise InputError(f"--roi: expected a region that meets the image, got {' '.join(map(str, roi))}")
    return region


def _resampled(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    from scipy.ndimage import zoom

    factors = [wanted / size for wanted, size in zip(shape, image.shape, strict=True)]
    return zoom(image, factors, order=1, grid_mode=True, mode="nearest") / np.prod(factors)


def _judge(options: argparse.Namespace, place: Path, summary: dict, reference: np.ndarray, image: np.ndarray) -> int:
    metrics: ImageComparison = compare_images(reference, image)
    peaks = match_peaks(reference, image, _PEAKS)
    agree = bool(metrics.correlation >= options.threshold)
    summary |= {"shape": reference.shape, "metrics": dataclasses.asdict(metrics), "agree": agree,
                "peaks": {"wanted": peaks.wanted, "matched": len(peaks.pairs)}}
    pictures = {"C": grey_picture(reference, options.png_scale), "Python": grey_picture(image, options.png_scale),
                "difference": difference_picture(reference, image)}
    for name, picture in pictures.items():
        save(picture, place / f"{name}.png")
    if options.save_diff:
        (image - reference).astype(np.float32).tofile(place / "diff.bin")
    (place / "summary.json").write_text(json.dumps(summary, indent=1, default=float))
    (place / "report.html").write_text(report_page(summary, reference, image, peaks, place))
    _print_table(summary, place)
    return OK if agree else BELOW_THRESHOLD


def _print_table(summary: dict, place: Path) -> None:
    for name, run in summary["runs"].items():
        print(f"{name:>24}  {run['seconds']:.3f} s")
    for name, value in summary["metrics"].items():
        print(f"{name:>24}  {value:.12g}" if isinstance(value, float) else f"{name:>24}  {value}")
    print(f"{'peaks matched':>24}  {summary['peaks']['matched']}/{summary['peaks']['wanted']}")
    print(f"{'verdict':>24}  {'agree' if summary['agree'] else 'below the threshold'}: {place / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main())
