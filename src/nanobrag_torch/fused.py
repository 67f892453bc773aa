"""The kernel in its fast form: pure functions that compile to one loop each, for any number of pixels and directions.

Three ideas make it cheap. A direction (source x orientation) is a folded affine map, so that a sample costs nine
multiplications for its indices. Indices are reduced to f = h - round(h) before anything else, so that two short
polynomials replace the sines, and the rest may be single precision. The three axes share one division.

Shapes: P pixels, J directions; pixels are float64 throughout, `work` is the dtype after the reduction of the indices.
What differs between runs is always a tensor, never a constant, so that one compilation
serves every experiment. `kernel.py` states the same physics in the canonical program's order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .config import CrystalShape
from .physics.structure_factor import lagrange_weights

SINPI = {
    torch.float64: (3.141592653589635, -5.167712779987959, 2.550164035906745, -0.5992644339357286,
                    0.08214479467064854, -0.007364005472115722, 0.0004474920849077101),
    torch.float32: (3.1415926400772034, -5.167710076668315, 2.550077386528912, -0.5982904112834275,
                    0.07765591227601387),
}
"""Minimax coefficients of sin(πx)/x in x² for |x| ≤ ½: greatest relative errors 5e-14 and 4e-9."""
RATIO = {dtype: tuple(c / coefficients[-1] for c in coefficients) for dtype, coefficients in SINPI.items()}
"""The same for ratios of sines: the last coefficient is 1, which saves a product."""
COSPI = {
    torch.float64: (0.9999999999999981, -4.934802200543686, 4.058712126333295, -1.3352627661817635,
                    0.23533058831317874, -0.025806531975921563, 0.0019278700526981333, -0.0001004164642205389),
    torch.float32: (0.999999999779154, -4.934802136928946, 4.058709154763134, -1.3352119493905503, 0.2349370685950865,
                    -0.024395932097550446),
}
"""Coefficients of cos(πx) in x² for |x| ≤ ½: greatest errors 2e-15 and 2e-10."""
EXP2 = {
    torch.float64: (1.0, 0.69314718055995, 0.24022650695910097, 0.05550410866444772, 0.009618129107606888,
                    0.0013333558230164974, 0.0001540353044173605, 1.5252657260200837e-05, 1.321544258792169e-06,
                    1.0208690299958306e-07, 7.072585949269223e-09),
    torch.float32: (1.0, 0.6931472067028326, 0.24022650922288757, 0.05550327226670302, 0.009618056678524637,
                    0.0013400428177615838, 0.0001546144469856913),
}
"""Coefficients of 2ˣ for |x| ≤ ½: greatest relative errors 3e-16 and 3e-9."""
EXPONENT = {torch.float64: (torch.int64, 52, 1023), torch.float32: (torch.int32, 23, 127)}
"""Whole numbers of the same width, bits below the exponent, and what is added to the exponent."""
LN_2 = math.log(2.0)
LOG2_E = 1.0 / LN_2
GREATEST = 1023.0
"""Exponent of the greatest power of two that a float64 holds."""
SPHERE = {dtype: (tuple(c * 3 / math.pi**3 for c in SINPI[dtype]), tuple(c * 3 / math.pi**2 for c in COSPI[dtype]))
          for dtype in SINPI}
"""The same two, times what a sphere's transform takes of each."""
SPHERE_SERIES = tuple(c * math.pi**(2 * n) for n, c in enumerate(
    (1.0, -1 / 10, 1 / 280, -1 / 15120, 1 / 1330560, -1 / 172972800, 1 / 31135104000)))
"""Coefficients of 3(sin πt - πt cos πt)/(πt)³ in t²; what follows adds 1e-13 at πt = 1."""
SERIES_BELOW = math.pi**-2
"""t² under which a sphere's transform is summed as a series."""
LEAST = {torch.float64: 2.0**-300, torch.float32: 2.0**-40}
"""Added to a multiple of sin(πf), N times that to the same of sin(πNf): the limit at f = 0. Its cube is still a normal
number, and no sine is just its opposite."""
TINY = {torch.float64: 2.0**-64, torch.float32: 2.0**-42}
"""Added to both sines squared where derivatives are taken: next to a node these are a difference of equals, which a
smaller number would make larger than the steepest slope there is."""
CUBIC_LAYERS = ((0.0, 0.0, -1 / 3, 1 / 2, -1 / 6), (1.0, 1.0, -1 / 2, -1.0, 1 / 2),
                (2.0, 0.0, 1.0, 1 / 2, -1 / 2), (3.0, 0.0, -1 / 6, 0.0, 1 / 6))
"""Number of a layer of nodes, then its Lagrange weight's coefficients of 1, t, t² and t³ (part B §6.3)."""
SPOT_EDGE = 1.0
"""Squared radius, in units of the spot's, at which a tophat ends."""


class Frame(NamedTuple):
    """Where pixels lie and what multiplies their sums; all float64, made by `lanes.frame`.

    raster (5,): first ordinal, 1/width, width, fast and slow number of the region's corner. axes (3, 3), metres: one
    pixel along fast, one along slow, position of the (sub-)pixel of number (0, 0). omega (3,): solid angle
    c₀ + c₁/R² + c₂/R³. form (7,): a quadratic form of the direction, as in `quadratic`. sensor (7,): normal, then
    c₀, c₁, e₁, e₂ of the captured fraction c₀ + c₁(exp(e₁/ρ) - exp(e₂/ρ)).
    """

    raster: Tensor
    axes: Tensor
    omega: Tensor
    form: Tensor
    sensor: Tensor


class Table(NamedTuple):
    """What nodes hold: values (n,), row by row, bordered; box (6,): index of the first row, column and layer, then
    their numbers."""

    values: Tensor
    box: Tensor


def places(ordinal: Tensor, raster: Tensor) -> tuple[Tensor, Tensor]:
    """Fast and slow pixel numbers (P,) of pixels numbered along the raster; raster (5,) as in `Frame`."""
    first, per_width, width, fast_corner, slow_corner = raster.unbind()
    number = ordinal + first
    row = torch.floor((number + 0.5) * per_width)
    return number - row * width + fast_corner, row + slow_corner


def sight(ordinal: Tensor, frame: Frame) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit directions x, y, z and 1/R (P,) in 1/m of pixels numbered along the raster (part B §3.4)."""
    fast, slow = places(ordinal, frame.raster)
    along, up, origin = frame.axes.unbind()
    x = fast * along[0] + (slow * up[0] + origin[0])
    y = fast * along[1] + (slow * up[1] + origin[1])
    z = fast * along[2] + (slow * up[2] + origin[2])
    inverse = torch.rsqrt(x * x + y * y + z * z)
    return x * inverse, y * inverse, z * inverse, inverse


def quadratic(form: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """q₀ + q₁x² + q₂y² + q₃z² + q₄xy + q₅xz + q₆yz; form (7, ...) broadcasts against the coordinates."""
    return form[0] + x * (form[1] * x + form[4] * y + form[5] * z) + y * (form[2] * y + form[6] * z) + form[3] * z * z


def solid_angle(frame: Frame, inverse: Tensor) -> Tensor:
    """Solid angle (P,) at 1/R (P,) (part B §3.6)."""
    return frame.omega[0] + inverse * inverse * (frame.omega[1] + frame.omega[2] * inverse)


def captured(frame: Frame, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Captured fraction (P,) along unit directions (part B §3.7)."""
    slant = LOG2_E / (x * frame.sensor[0] + y * frame.sensor[1] + z * frame.sensor[2])
    through = (power_of_two(torch.clamp(frame.sensor[5] * slant, max=GREATEST))
               - power_of_two(torch.clamp(frame.sensor[6] * slant, max=GREATEST)))
    return frame.sensor[3] + frame.sensor[4] * through


def weighted_sight(ordinal: Tensor, frame: Frame) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit directions x, y, z, and solid angle times the form's value, each (P,); the sensor is not looked at."""
    x, y, z, inverse = sight(ordinal, frame)
    return x, y, z, solid_angle(frame, inverse) * quadratic(frame.form, x, y, z)


def look(ordinal: Tensor, frame: Frame) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Unit directions x, y, z, solid angle, value of the form and captured fraction, each (P,)."""
    x, y, z, inverse = sight(ordinal, frame)
    return x, y, z, solid_angle(frame, inverse), quadratic(frame.form, x, y, z), captured(frame, x, y, z)


def indices(x: Tensor, y: Tensor, z: Tensor, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """h, k, l of directions under affine maps (12, ...): three rows of x, y, z, 1 (part B §6.1)."""
    h = maps[3] + maps[0] * x + maps[1] * y + maps[2] * z
    k = maps[7] + maps[4] * x + maps[5] * y + maps[6] * z
    l = maps[11] + maps[8] * x + maps[9] * y + maps[10] * z  # noqa: E741
    return h, k, l


def offset(index: Tensor, work: torch.dtype) -> Tensor:
    """Distance to the nearest node; of a tie either will do, F_latt² being even."""
    return (index - torch.round(index)).to(work)


def polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """Σ coefficients[n]·xⁿ by Horner's rule."""
    value = coefficients[-1] * x + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        value = value * x + coefficient
    return value


def paired(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """The same by Estrin's scheme, pairs and then pairs of pairs: more products, a shorter chain. For a polynomial that
    is alone, others fill each other's waits."""
    terms: list[Tensor | float] = list(coefficients)
    while len(terms) > 1:
        alone = terms[len(terms) // 2 * 2:]
        terms = [upper * x + lower for lower, upper in zip(terms[::2], terms[1::2], strict=False)] + alone
        x = torch.square(x)
    return terms[0]


def sine(x: Tensor) -> Tensor:
    """sin(πx) for |x| ≤ ½."""
    return polynomial(SINPI[x.dtype], torch.square(x)) * x


def power_of_two(x: Tensor) -> Tensor:
    """2ˣ for x up to the greatest exponent; the smallest normal number or so where it would be less."""
    whole, bits, bias = EXPONENT[x.dtype]
    x = torch.where(x > 1.0 - bias, x, 1.0 - bias)
    exponent = torch.round(x)
    # a number whose fraction is 0, by its bits: those of a whole number stand last in its sum with 1.5·2ᵇⁱᵗˢ, while
    # neither the library's functions nor converting it are as quick as everything else here
    power = ((exponent + (1.5 * 2.0**bits + bias)).view(whole) << bits).view(x.dtype)
    return paired(EXP2[x.dtype], x - exponent) * power


def grating(f: tuple[Tensor, Tensor, Tensor], lattice: Tensor) -> Tensor:
    """Π sin²(πNf)/sin²(πf) over the axes, ΠN² at a node (part B §7)."""
    numerator = denominator = 1.0
    least, coefficients = LEAST[lattice.dtype], RATIO[lattice.dtype]
    for axis in range(3):
        phase = lattice[axis] * f[axis]
        rest = phase - torch.round(phase)
        numerator = numerator * (polynomial(coefficients, torch.square(rest)) * rest + lattice[axis] * least)
        denominator = denominator * (polynomial(coefficients, torch.square(f[axis])) * f[axis] + least)
    return torch.square(numerator / denominator)


def sphere(f: tuple[Tensor, Tensor, Tensor], lattice: Tensor) -> Tensor:
    """(3(sin πt - πt cos πt)/(πt)³)² with t² = Σ(Nf)²·fudge, the fudge's root being in the Ns (part B §7).

    Half turns less than t, both functions change their sign together, which the square forgets.
    """
    squared = sum(torch.square(f[axis] * lattice[axis]) for axis in range(3))
    turns = torch.sqrt(squared)
    rest = turns - torch.round(turns)
    for_sine, for_cosine = SPHERE[turns.dtype]
    above = polynomial(for_sine, torch.square(rest)) * rest - turns * polynomial(for_cosine, torch.square(rest))
    series = polynomial(SPHERE_SERIES, squared)
    return torch.square(torch.where(squared < SERIES_BELOW, series, above / (turns * squared)))


def spot_form(f: tuple[Tensor, Tensor, Tensor], lattice: Tensor) -> Tensor:
    """Quadratic form `lattice[6:12]` (xx, yy, zz, 2xy, 2xz, 2yz) of the offsets."""
    x, y, z = f
    return (x * (lattice[6] * x + lattice[9] * y + lattice[10] * z) + y * (lattice[7] * y + lattice[11] * z)
            + lattice[8] * z * z)


def gaussian(f: tuple[Tensor, Tensor, Tensor], lattice: Tensor) -> Tensor:
    """exp(-radius²) (part B §7), the form being that of its logarithm to base 2."""
    return power_of_two(spot_form(f, lattice))


def tophat(f: tuple[Tensor, Tensor, Tensor], lattice: Tensor) -> Tensor:
    """1 inside of the spot, 0 outside (part B §7), the form being the squared radius."""
    return (spot_form(f, lattice) < SPOT_EDGE).to(lattice.dtype)


SHAPES = {CrystalShape.SQUARE: grating, CrystalShape.ROUND: sphere, CrystalShape.GAUSS: gaussian,
          CrystalShape.TOPHAT: tophat}
"""F_latt² of each shape as a function of offsets and lattice (12,): of its own height for `grating`, else 1 at most."""


def spot(shape: CrystalShape, hkl: tuple[Tensor, Tensor, Tensor], lattice: Tensor) -> Tensor:
    """F_latt² (see `SHAPES`) at Miller indices, in the dtype of `lattice`."""
    h, k, l = hkl  # noqa: E741
    return SHAPES[shape]((offset(h, lattice.dtype), offset(k, lattice.dtype), offset(l, lattice.dtype)), lattice)


def one_direction(shape: CrystalShape, ordinal: Tensor, total: Tensor, factor: Tensor | Table, frame: Frame,
                  maps: Tensor, lattice: Tensor) -> Tensor:
    """total + F_latt²·factor·form·solid angle, each (P,), for the direction of maps (12,); the factor may be that at
    the nearest node of a table."""
    x, y, z, inverse = sight(ordinal, frame)
    hkl = indices(x, y, z, maps)
    if isinstance(factor, Table):
        factor = nearest(hkl, factor)
    intensity = spot(shape, hkl, lattice).to(total.dtype)
    return total + intensity * factor * quadratic(frame.form, x, y, z) * solid_angle(frame, inverse)


def many_directions(shape: CrystalShape, x: Tensor, y: Tensor, z: Tensor, factor: Tensor | Table | None, maps: Tensor,
                    forms: Tensor | None, lattice: Tensor) -> Tensor:
    """Σ over J of form·F_latt²·factor, (P,), at unit directions (P,); maps (J, 12), forms (J, 7) in the dtype of the
    lattice, factor (P, J) or that at the nearest node of a table.

    Rows by direction let the compiler take pixels side by side and add in registers, for whatever J.
    """
    at = x[:, None], y[:, None], z[:, None]
    hkl = indices(*at, maps.T)
    if isinstance(factor, Table):
        factor = nearest(hkl, factor)
    intensity = spot(shape, hkl, lattice)
    if forms is not None:
        intensity = intensity * quadratic(forms.T, *(coordinate.to(forms.dtype) for coordinate in at))
    if factor is not None:
        intensity = intensity * factor.to(lattice.dtype)
    return intensity.sum(-1).to(x.dtype)


def nearest_everywhere(x: Tensor, y: Tensor, z: Tensor, maps: Tensor, table: Table) -> Tensor:
    """Value of a table at the node nearest to the indices of every direction, (P, J)."""
    return nearest(indices(x[:, None], y[:, None], z[:, None], maps), table)


def whole(x: Tensor) -> Tensor:
    """Whole numbers from 0 to 2⁵² - 1 (float64) as integers, by their bits: a conversion takes them one by one."""
    return (x + 2.0**52).view(torch.int64) & (2**52 - 1)


def nearest(hkl: tuple[Tensor, Tensor, Tensor], table: Table) -> Tensor:
    """Value of a table at the nearest node, at the border beyond (part B §6.2)."""
    place = 0.0
    for axis in range(3):
        node = torch.ceil(hkl[axis] - 0.5) - table.box[axis]
        place = place * table.box[3 + axis] + _between(node, table.box[3 + axis] - 1.0)
    return table.values[whole(place)]


def cubic_layer(h: Tensor, k: Tensor, l: Tensor, total: Tensor, layer: Tensor, table: Table) -> Tensor:  # noqa: E741
    """total + what one of four layers (see `CUBIC_LAYERS`) adds to the value of a table by 4-point Lagrange
    interpolation (part B §6.3) at indices (Q,) each, (Q,)."""
    values, box = table
    h_first, step = _first_node(h, box[0], box[3])
    k_first, k_step = _first_node(k, box[1], box[4])
    l_first, l_step = _first_node(l, box[2], box[5])
    k_weights, l_weights = lagrange_weights(k_step), lagrange_weights(l_step)
    plane = 0.0
    for j in range(4):
        row = (h_first + layer[0]) * box[4] + (k_first + j)
        start = whole(row * box[5] + l_first)
        plane = plane + k_weights[j] * sum(l_weights[m] * values[start + m] for m in range(4))
    return total + (layer[1] + step * (layer[2] + step * (layer[3] + step * layer[4]))) * plane


def _first_node(index: Tensor, first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Number of the first of the four nodes around an index, and how far it is from the second."""
    floor = torch.floor(index)
    return _between(floor - 1.0 - first, count - 4.0), index - floor


def _between(place: Tensor, last: Tensor) -> Tensor:
    """A place from 0 to the last, whatever is given, be it not a number: nothing else may be read."""
    place = torch.where(place < last, place, last)
    return torch.where(place > 0.0, place, 0.0)


def sine_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
    """sin(πx) and its derivative for |x| ≤ ½."""
    coefficients = SINPI[x.dtype]
    squared = torch.square(x)
    value, slope = coefficients[-1], (2 * len(coefficients) - 1) * coefficients[-1]
    for power in range(len(coefficients) - 2, -1, -1):
        value = value * squared + coefficients[power]
        slope = slope * squared + (2 * power + 1) * coefficients[power]
    return value * x, slope


def grating_slopes(f: tuple[Tensor, Tensor, Tensor], lattice: Tensor) -> tuple[Tensor, ...]:
    """`grating` and its derivatives by the three offsets."""
    values, rates = [], []
    for axis in range(3):
        phase = lattice[axis] * f[axis]
        many, many_slope = sine_and_slope(phase - torch.round(phase))
        one, one_slope = sine_and_slope(f[axis])
        below = 1.0 / (torch.square(one) + TINY[one.dtype])
        value = (torch.square(many) + lattice[3 + axis]) * below
        values.append(value)
        rates.append(2.0 * below * (many * many_slope * lattice[axis] - value * one * one_slope))
    a, b, c = values
    return a * b * c, rates[0] * b * c, a * rates[1] * c, a * b * rates[2]


def gaussian_slopes(f: tuple[Tensor, Tensor, Tensor], lattice: Tensor) -> tuple[Tensor, ...]:
    """`gaussian` and its derivatives by the three offsets."""
    x, y, z = f
    value = gaussian(f, lattice)
    lever = LN_2 * value
    return (value, lever * (2.0 * lattice[6] * x + lattice[9] * y + lattice[10] * z),
            lever * (2.0 * lattice[7] * y + lattice[9] * x + lattice[11] * z),
            lever * (2.0 * lattice[8] * z + lattice[10] * x + lattice[11] * y))


SLOPES = {CrystalShape.SQUARE: grating_slopes, CrystalShape.GAUSS: gaussian_slopes}
"""F_latt² with its derivatives, for the shapes that are refined."""


def slopes(shape: CrystalShape, x: Tensor, y: Tensor, z: Tensor, maps: Tensor,
           lattice: Tensor) -> tuple[Tensor, Tensor]:
    """F_latt² of every direction (P, J), and its derivatives by h, k and l side by side (P, 3J), in the dtype of
    `lattice`, at unit directions (P,) under maps (12, J)."""
    h, k, l = indices(x[:, None], y[:, None], z[:, None], maps)  # noqa: E741
    f = offset(h, lattice.dtype), offset(k, lattice.dtype), offset(l, lattice.dtype)
    intensity, *by_hkl = SLOPES[shape](f, lattice)
    return intensity, torch.cat(by_hkl, dim=1)
