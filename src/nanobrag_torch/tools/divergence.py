"""Two traces of a pixel side by side, to the first quantity that differs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .digits import evaluation_loss, pixel_loss
from .quantities import QUANTITIES, SPECIFICATION, Quantity

_PLACE_LENGTH = {"setup": 0, "subpixel": 3, "ray": 4, "term": 6, "value": 0}
_STAGE = {"setup": 0, "subpixel": 1, "ray": 1, "term": 1, "value": 2}
_GRATINGS = ("F_latt_a", "F_latt_b", "F_latt_c")
_SUMS = ("I_sum", "intensity_f64", "intensity_f32")

Place = tuple[int, ...]
Key = tuple[str, Place, str]
Trace = dict[Key, list[str]]


@dataclass(frozen=True)
class Compared:
    """One quantity at one place of the loop in both traces (empty where a trace lacks it).

    difference: largest, relative to the largest component; infinite where words or their number differ.
    """

    kind: str
    place: Place
    quantity: Quantity
    reference: tuple[str, ...]
    other: tuple[str, ...]
    difference: float
    agrees: bool

    @property
    def where(self) -> str:
        """Kind of line, place in the loop, and name."""
        return " ".join([self.kind, *map(str, self.place), self.quantity.name])


def parse_trace(lines: Iterable[str]) -> Trace:
    """The words of every TRACE line of a kind that both programs print, lists in one; other lines are passed over."""
    trace: Trace = {}
    for line in lines:
        words = line.split()
        if len(words) < 4 or words[0] != "TRACE" or words[1] not in QUANTITIES:
            continue
        length = _PLACE_LENGTH[words[1]]
        place, (name, *values) = tuple(map(int, words[2:2 + length])), words[2 + length:]
        if name in QUANTITIES[words[1]]:
            trace.setdefault((words[1], place, name), []).extend(values)
    return trace


def compare_traces(reference: Trace, other: Trace) -> list[Compared]:
    """Every quantity of either trace in the order of computation.

    Beside the tolerances of the table, lattice factors and intensities may differ by what the reference itself loses.
    """
    losses = _losses(reference)
    return [_compared(key, reference.get(key, []), other.get(key, []), losses)
            for key in sorted(reference.keys() | other.keys(), key=_order)]


def first_divergence(compared: Iterable[Compared]) -> Compared | None:
    """The earliest quantity beyond its tolerance."""
    return next((entry for entry in compared if not entry.agrees), None)


def divergence_report(entry: Compared, names: tuple[str, str] = ("C", "Python")) -> str:
    """The quantity, both values, their relative difference, and the section of the specification, as lines."""
    width = max(map(len, names))
    quantity = entry.quantity
    allowed = f"{quantity.rtol:g}" + (f" and {quantity.atol:g} absolute" if quantity.atol else "")
    return "\n".join([
        f"first divergence: {entry.where}",
        *(f"  {name:<{width}}  {' '.join(values) or 'not printed'}"
          for name, values in zip(names, (entry.reference, entry.other), strict=True)),
        f"  relative difference {entry.difference:.3g} (allowed {allowed})",
        f"  {SPECIFICATION} §{quantity.section}"])


def table(compared: Iterable[Compared]) -> str:
    """One row a quantity: how many values were compared, the largest relative difference, and where it is."""
    rows: dict[tuple[str, str], list[Compared]] = {}
    for entry in compared:
        rows.setdefault((entry.kind, entry.quantity.name), []).append(entry)
    lines = [f"{'':4} {'kind':8} {'quantity':34} {'places':>6} {'difference':>10} {'allowed':>8} section"]
    for (kind, name), entries in rows.items():
        worst = max(entries, key=lambda entry: (not entry.agrees, entry.difference))
        mark = "" if worst.agrees else "DIFF"
        lines.append(f"{mark:4} {kind:8} {name:34} {len(entries):6} {worst.difference:10.2g} "
                     f"{worst.quantity.rtol:8.1g} {worst.quantity.section}")
    return "\n".join(lines)


def _order(key: Key) -> tuple[int, Place, int]:
    """Setup, then each sub-pixel with its rays and their terms, then the pixel: a place precedes those within it."""
    kind, place, name = key
    return _STAGE[kind], place, QUANTITIES[kind][name].rank


def _compared(key: Key, reference: list[str], other: list[str], losses: _Losses) -> Compared:
    kind, place, name = key
    quantity = QUANTITIES[kind][name]
    difference, agrees = _difference(quantity, reference, other, losses.of(key))
    return Compared(kind, place, quantity, tuple(reference), tuple(other), difference, agrees)


def _difference(quantity: Quantity, reference: list[str], other: list[str], loss: float) -> tuple[float, bool]:
    """Largest relative difference, and whether it is within the tolerances and the relative loss."""
    if len(reference) != len(other):
        return math.inf, False
    try:
        numbers = [(float(a), float(b)) for a, b in zip(reference, other, strict=True)]
    except ValueError:
        return (0.0, True) if reference == other else (math.inf, False)
    worst, agrees = 0.0, True
    for part in _parts(quantity, numbers):
        scale = max((abs(a) for a, _ in part), default=0.0)
        delta = max((_distance(a, b) for a, b in part), default=0.0)
        agrees = agrees and delta <= (quantity.rtol + loss) * scale + quantity.atol
        worst = max(worst, delta if scale == 0 else delta / scale)
    return worst, agrees


@dataclass(frozen=True)
class _Losses:
    """Relative losses of the reference's lattice factors and intensities by place and name, and of its pixel."""

    terms: dict[Place, dict[str, float]]
    pixel: float

    def of(self, key: Key) -> float:
        _, place, name = key
        return self.pixel if name in _SUMS else self.terms.get(place, {}).get(name, 0.0)


def _losses(trace: Trace) -> _Losses:
    terms, weighted = {}, []
    cells = [float(trace.get(("setup", (), name), ["1"])[0]) for name in ("Na", "Nb", "Nc")]
    for kind, place, name in trace:
        if kind == "term" and name == _GRATINGS[0]:
            gratings = [float(trace[kind, place, factor][0]) for factor in _GRATINGS]
            loss = evaluation_loss((float(trace[kind, place, axis][0]) for axis in "hkl"), cells, gratings)
            weighted.append((float(trace[kind, place, "I_term"][0]), loss))
            terms[place] = dict(zip(_GRATINGS, loss.gratings, strict=True)) | {
                "F_latt": loss.product, "I_term": loss.intensity, "I_after_add": pixel_loss(weighted)}
    return _Losses(terms, pixel_loss(weighted))


def _parts(quantity: Quantity, numbers: list[tuple[float, float]]) -> Iterable[list[tuple[float, float]]]:
    """Vectors of a list, or the whole."""
    if not quantity.parts:
        yield numbers
        return
    start = 0
    while start < len(numbers):
        for length in quantity.parts:
            yield numbers[start:start + length]
            start += length


def _distance(a: float, b: float) -> float:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    return abs(a - b) if math.isfinite(a - b) else math.inf
