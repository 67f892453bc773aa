"""The strongest peaks of two images, one row each."""

from __future__ import annotations

import numpy as np

from ..compare import find_peaks, match_peaks

STRONGEST = 50


def peak_table(reference: np.ndarray, test: np.ndarray) -> tuple[str, bool]:
    """The reference's strongest peaks with their partners in the test image, and whether each has one.

    Both images are (slow, fast), photons/pixel, of one shape.
    """
    match = match_peaks(reference, test, STRONGEST)
    wanted, offered = find_peaks(reference, STRONGEST), find_peaks(test)
    partner = dict(match.pairs.tolist())
    lines = [f"{'':4} {'peak':>4} {'slow':>10} {'fast':>10} {'photons':>14} {'moved px':>10} {'relative height':>16}"]
    distances = dict(zip(match.pairs[:, 0].tolist(), match.distances_px.tolist(), strict=True))
    for number, ((slow, fast), height) in enumerate(zip(wanted.positions, wanted.heights, strict=True)):
        found = number in partner
        moved = f"{distances[number]:10.3g}" if found else f"{'-':>10}"
        change = f"{offered.heights[partner[number]] / height - 1:16.3g}" if found else f"{'-':>16}"
        mark = "" if found else "LOST"
        lines.append(f"{mark:4} {number + 1:4} {slow:10.3f} {fast:10.3f} {height:14.7g} {moved} {change}")
    lines.append(f"{match.found} of {match.wanted} peaks found again")
    return "\n".join(lines), match.found == match.wanted
