"""Metrics of a pair of images, the verdict of part B §9.4, and the files that tell of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nanobrag_torch.compare import bit_equal, compare_images, match_peaks
from nanobrag_torch.io.png import write_png
from nanobrag_torch.simulator import Simulator
from nanobrag_torch.tools.digits import evaluation_loss, pixel_loss
from nanobrag_torch.trace import trace_pixel

LEAST_BIT_EQUAL = 0.999
ULPS = 2
MOST_DECORRELATED = 1e-12
"""Bounds on share of bit-equal pixels, distance of the others in units in the last place, and 1 - correlation."""
PEAKS = 50


@dataclass(frozen=True)
class Metrics:
    """Agreement of a test image with a reference; names as in `nanobrag_torch.compare.ImageComparison`."""

    correlation: float
    sum_ratio: float
    rmse: float
    max_abs: float
    max_rel: float
    bit_equal_share: float
    worst_ulps: int
    unexplained_pixels: int
    peaks_wanted: int
    peaks_matched: int

    def failures(self) -> list[str]:
        """What is beyond the tolerances, one text each."""
        checks = (
            (1 - self.correlation <= MOST_DECORRELATED, f"correlation {self.correlation:.15g}"),
            (self.bit_equal_share >= LEAST_BIT_EQUAL, f"only {self.bit_equal_share:.4%} of the pixels bit-equal"),
            (self.unexplained_pixels == 0, f"{self.unexplained_pixels} pixels differ by more than {ULPS} units in the "
             f"last place and than what the canonical formula loses; at most {self.worst_ulps}"),
            (self.peaks_matched == self.peaks_wanted, f"{self.peaks_matched} of {self.peaks_wanted} peaks"))
        return [text for passed, text in checks if not passed]


def measure(reference: np.ndarray, test: np.ndarray, simulator: Callable[[], Simulator]) -> Metrics:
    """All metrics of two (slow, fast) float32 images; `simulator` gives the test image's where they differ."""
    images, peaks = compare_images(reference, test), match_peaks(reference, test, PEAKS)
    values = asdict(images)
    del values["bright_pixels"]
    steps = ulps(reference, test)
    beyond = np.argwhere(steps > ULPS).tolist() if np.mean(steps > 0) <= 1 - LEAST_BIT_EQUAL else []
    unexplained = sum(
        abs(float(test[slow, fast]) / float(reference[slow, fast]) - 1.0) > formula_loss(simulator(), slow, fast)
        for slow, fast in beyond)
    return Metrics(**values, worst_ulps=int(steps.max(initial=0)), unexplained_pixels=unexplained,
                   peaks_wanted=peaks.wanted, peaks_matched=peaks.found)


def formula_loss(simulator: Simulator, slow: int, fast: int) -> float:
    """Bound on the relative loss of the canonical formula at a pixel (part B §9.3)."""
    found = trace_pixel(simulator, slow, fast)
    cells = [found["setup"][name] for name in ("Na", "Nb", "Nc")]
    return pixel_loss((term["I_term"], evaluation_loss(
        (term[axis] for axis in "hkl"), cells, (term[f"F_latt_{axis}"] for axis in "abc")))
        for term in found["terms"] if "F_latt_a" in term)


def ulps(reference: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Number of float32 steps between the pixels of two images."""
    return np.abs(_ordinal(reference) - _ordinal(test))


def write_metrics(folder: Path, about: dict[str, object], metrics: Metrics) -> None:
    """metrics.json of one comparison."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(about | asdict(metrics) | {"failures": metrics.failures()}, indent=2)
    (folder / "metrics.json").write_text(text + "\n")


def write_images(folder: Path, reference: np.ndarray, test: np.ndarray) -> None:
    """Both images and their difference, as arrays and as pictures."""
    difference = np.abs(test.astype(np.float64) - reference)
    np.savez_compressed(folder / "images.npz", reference=reference, test=test, bit_equal=bit_equal(reference, test))
    for name, pixels in (("reference", reference), ("test", test), ("difference", difference)):
        write_png(folder / f"{name}.png", pixels)


def _ordinal(image: np.ndarray) -> np.ndarray:
    """float32 values to integers in the same order, neighbours one apart."""
    bits = np.ascontiguousarray(image, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
