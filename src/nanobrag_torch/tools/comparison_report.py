"""The page of a comparison: one file, pictures and histograms inside."""

from __future__ import annotations

import base64
import html
import shlex
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ..compare import PeakMatch, find_peaks

_PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>nb-compare: $verdict</title><style>
body { font-family: sans-serif; margin: 2em; max-width: 80em }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .8em; border-bottom: 1px solid #ccc;
text-align: right } figure { display: inline-block; margin: .5em } img { width: 24em; image-rendering: pixelated;
border: 1px solid #888 } code { background: #eee; padding: .2em } .agree { color: #060 } .differ { color: #a00 }
</style></head><body>
<h1 class="$class">$verdict</h1>
<p><code>$arguments</code></p>
<table><tr><th></th><th>value</th></tr>$metrics</table>
$figures
<h2>Histograms</h2><p>Pixels by decade of intensity: <span style="color:#36c">C</span>,
<span style="color:#c60">this program</span>.</p>$histogram
<h2>Strongest peaks</h2>
<table><tr><th>#</th><th>C slow</th><th>C fast</th><th>C photons</th><th>distance (pixels)</th></tr>$peaks</table>
</body></html>
""")


def report_page(summary: dict[str, Any], reference: np.ndarray, image: np.ndarray, match: PeakMatch,
                place: Path) -> str:
    """HTML text; pictures are read from `place`. Everything that came from outside is escaped."""
    rows = {f"{name} run": f"{run['seconds']:.3f} s" for name, run in summary["runs"].items()}
    rows |= {name.replace("_", " "): f"{value:.12g}" if isinstance(value, float) else str(value)
             for name, value in summary["metrics"].items()}
    rows["peaks matched"] = f"{summary['peaks']['matched']}/{summary['peaks']['wanted']}"
    agree = summary["agree"]
    return _PAGE.substitute(
        verdict="The images agree" if agree else "The images differ", **{"class": "agree" if agree else "differ"},
        arguments=html.escape(shlex.join(summary["arguments"])),
        metrics="".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
                        for name, value in rows.items()),
        figures="".join(_figure(name, place / f"{name}.png") for name in ("C", "Python", "difference")),
        histogram=_histogram(reference, image), peaks=_peak_rows(reference, match))


def _figure(name: str, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return (f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{html.escape(name)}</figcaption></figure>")


def _histogram(reference: np.ndarray, image: np.ndarray) -> str:
    """Inline SVG: pixel counts in quarter decades below the maximum."""
    top = max(float(np.nanmax(reference, initial=0.0)), float(np.nanmax(image, initial=0.0))) or 1.0
    edges = top * 10.0 ** np.linspace(-8, 0, 33)
    counts = [np.histogram(values, edges)[0] for values in (reference, image)]
    height = max(int(count.max()) for count in counts) or 1
    lines = []
    for count, colour, shift in zip(counts, ("#36c", "#c60"), (0, 8), strict=True):
        lines += [f'<rect x="{20 * i + shift}" y="{200 - 200 * n / height:.1f}" width="8" '
                  f'height="{200 * n / height:.1f}" fill="{colour}"/>' for i, n in enumerate(count)]
    return f'<svg viewBox="0 0 640 200" width="640" height="200">{"".join(lines)}</svg>'


def _peak_rows(reference: np.ndarray, match: PeakMatch) -> str:
    peaks = find_peaks(reference, match.wanted)
    distance = dict(zip(match.pairs[:, 0].tolist(), match.distances_px.tolist(), strict=True))
    rows = []
    for number, ((slow, fast), height) in enumerate(zip(peaks.positions, peaks.heights, strict=True)):
        found = f"{distance[number]:.3f}" if number in distance else "not found"
        rows.append(f"<tr><td>{number + 1}</td><td>{slow:.2f}</td><td>{fast:.2f}</td><td>{height:.6g}</td>"
                    f"<td>{found}</td></tr>")
    return "".join(rows)
