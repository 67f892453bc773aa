"""Random valid command lines over all options, for differential tests.

Draws avoid what is undefined or refused in either program: ties of Miller indices, one-ulp rounding decisions of
counts, the direct beam itself with a round crystal, and impossible values. Detectors are small, and so is the
oversampling, chosen or automatic; seeds are always given.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import numpy as np

from ..cli.parse import parse
from ..cli.prepare import prepare
from ..cli.resolve import resolve
from ..errors import InputError

Words = list[str]
MOST_AUTOMATIC = 5
"""Largest automatic oversampling that is left to the programs: a wide crystal asks for thousands of sub-pixels."""


def draw(generator: random.Random, folder: Path) -> Words:
    """One command line; files that it needs are written into `folder`."""
    words = _cell(generator, folder) + _structure_factors(generator, folder)
    for part in (_shape, _beam, _polarization, _detector, _sensor, _rotation, _mosaic, _sampling, _outputs):
        words += part(generator)
    words += _sources(generator, folder)
    if "-round_xtal" in words:
        words = _off_centre(generator, words) + words
    chosen = str(generator.choice([1, 1, 2, 3]))
    automatic = generator.random() < 0.25 and automatic_oversample(words, folder) <= MOST_AUTOMATIC
    return words if automatic else [*words, "-oversample", chosen]


def automatic_oversample(words: Words, folder: Path) -> int:
    """Sub-pixels along an edge that the program chooses for a command in `folder`; 1 where it refuses the command."""
    try:
        with chdir(folder):
            return prepare(resolve(parse(words))).simulator.choices.oversample
    except InputError:
        return 1


def _number(value: float) -> str:
    return f"{value:.7g}"


def _uniform(generator: random.Random, low: float, high: float) -> str:
    return _number(generator.uniform(low, high))


def _maybe(generator: random.Random, chance: float, words: Callable[[], Words]) -> Words:
    return words() if generator.random() < chance else []


def _cell(generator: random.Random, folder: Path) -> Words:
    angles = generator.choice([(90, 90, 90), (90, 90, 120), (90, generator.uniform(80, 115), 90),
                               tuple(generator.uniform(70, 108) for _ in range(3))])
    edges = [generator.uniform(25, 90) for _ in range(3)]
    words = ["-cell", *map(_number, (*edges, *angles))]
    if generator.random() < 0.15:
        words = _matrix(generator, folder) + (words if generator.random() < 0.3 else [])
    orientation = generator.random()
    if orientation < 0.75:
        words += ["-misset", *(_uniform(generator, -170, 170) for _ in range(3))]
    elif orientation < 0.9:
        words += ["-misset", "random", "-misset_seed", str(generator.randrange(1, 10**6))]
    return words


def _matrix(generator: random.Random, folder: Path) -> Words:
    rows = [[generator.gauss(0, 0.004) for _ in range(3)] for _ in range(3)]
    for index in range(3):
        rows[index][index] += 0.022
    name = folder / "drawn.mat"
    name.write_text("\n".join(" ".join(f"{value:.7f}" for value in row) for row in rows) + "\n")
    return ["-mat", name.name]


def _structure_factors(generator: random.Random, folder: Path) -> Words:
    default = ["-default_F", _uniform(generator, 5, 200)]
    if generator.random() < 0.55:
        return default
    reach = [generator.randrange(3, 14) for _ in range(3)]
    values = np.random.default_rng(generator.randrange(2**32))
    keep = generator.choice([1.0, 0.7])
    lines = [f"{h} {k} {l} {values.uniform(1, 400):.3f}" for h in range(-reach[0], reach[0] + 1)
             for k in range(-reach[1], reach[1] + 1) for l in range(-reach[2], reach[2] + 1)  # noqa: E741
             if values.random() < keep]
    (folder / "drawn.hkl").write_text("\n".join(lines) + "\n")
    words = ["-hkl", "drawn.hkl"] + (default if generator.random() < 0.5 else [])
    return words + generator.choice([[], [], ["-interpolate"], ["-nointerpolate"]])


def _off_centre(generator: random.Random, words: Words) -> Words:
    """A beam that meets no sub-pixel's centre, where the last digit decides on a sphere's transform (part B §7)."""
    pixel = float(words[words.index("-pixel") + 1])
    names = (("-Xbeam", 20 * pixel), ("-Ybeam", 20 * pixel), ("-ORGX", 20), ("-ORGY", 20))
    return [word for name, most in names for word in (name, _uniform(generator, 0, most))]


def _shape(generator: random.Random) -> Words:
    words = [generator.choice(["-square_xtal", "-square_xtal", "-round_xtal", "-gauss_xtal", "-tophat_spots"])]
    counts = generator.random()
    if counts < 0.6:
        words += ["-N", str(generator.randrange(1, 12))]
    elif counts < 0.85:
        words += [word for axis in "abc" for word in (f"-N{axis}", str(generator.randrange(1, 12)))]
    elif counts < 0.93:
        words += ["-xtalsize", _uniform(generator, 1e-5, 6e-5)]
    else:
        for names in (("-sample_x", "-xtal_thick"), ("-sample_y", "-width"), ("-sample_z", "-height")):
            words += [generator.choice(names), _uniform(generator, 1e-5, 6e-5)]
    return words + _maybe(generator, 0.3, lambda: ["-fudge", _uniform(generator, 0.3, 1.6)])


def _beam(generator: random.Random) -> Words:
    words = generator.choice([["-lambda", _uniform(generator, 0.8, 3)], ["-energy", _uniform(generator, 5000, 14000)]])
    words += _maybe(generator, 0.25, lambda: ["-dispersion", _uniform(generator, 0.2, 6)] + _maybe(
        generator, 0.7, lambda: ["-dispsteps", str(generator.randrange(2, 5))]))
    words += _maybe(generator, 0.15, lambda: ["-divergence", _uniform(generator, 1, 12)] + _maybe(
        generator, 0.7, lambda: ["-divsteps", str(generator.randrange(2, 5))]))
    words += _maybe(generator, 0.15, lambda: ["-hdivrange", _uniform(generator, 1, 9), "-hdivstep",
                                              _uniform(generator, 1, 4)])
    words += _maybe(generator, 0.15, lambda: ["-vdivrange", _uniform(generator, 1, 9)])
    words += _maybe(generator, 0.05, lambda: [generator.choice(["-hdivsteps", "-vdivsteps"]), "2"])
    words += _maybe(generator, 0.05, lambda: ["-vdivstep", _uniform(generator, 1, 4)])
    words += _maybe(generator, 0.2, lambda: [generator.choice(["-square_div", "-round_div"])])
    words += _maybe(generator, 0.3, lambda: ["-fluence", _uniform(generator, 1e26, 2e29)])
    words += _maybe(generator, 0.15, lambda: ["-flux", _uniform(generator, 1e11, 1e13), "-exposure", _uniform(
        generator, 0.1, 3), "-beamsize", _uniform(generator, 0.00001, 0.1)])
    return words + _maybe(generator, 0.2, lambda: ["-water", _uniform(generator, 0.001, 5)])


def _polarization(generator: random.Random) -> Words:
    return generator.choice([[], ["-nopolar"], ["-polar", _uniform(generator, -0.2, 1)],
                             ["-polar", _uniform(generator, 0.5, 1)]])


def _detector(generator: random.Random) -> Words:
    pixels = [generator.randrange(12, 33) for _ in range(2)]
    pixel = generator.uniform(*generator.choice([(0.3, 3), (0.3, 3), (0.3, 3), (0.02, 0.3)]))
    if generator.random() < 0.85:
        words = ["-pixel", _number(pixel), "-detpixels_f", str(pixels[0]), "-detpixels_s", str(pixels[1])]
    else:
        extents = [(count + generator.uniform(-0.4, 0.4)) * pixel for count in pixels]
        words = ["-pixel", _number(pixel), "-detsize_f", _number(extents[0]), "-detsize_s", _number(extents[1])]
    words += generator.choice([["-distance", _uniform(generator, 40, 150)]] * 3 + [
        ["-close_distance", _uniform(generator, 40, 150)]])
    words += _convention(generator, [count * pixel for count in pixels], pixels)
    for axis in "xyz":
        words += _maybe(generator, 0.3, lambda axis=axis: [f"-detector_rot{axis}", _uniform(generator, -25, 25)])
    words += _maybe(generator, 0.3, lambda: ["-twotheta", _uniform(generator, -25, 25)])
    words += _maybe(generator, 0.08, lambda: ["-curved_det"]) + _maybe(generator, 0.1, lambda: ["-point_pixel"])
    if generator.random() < 0.2:
        x, y = (sorted(generator.randrange(count) for _ in range(2)) for count in pixels)
        words += ["-roi", *map(str, (*x, *y))]
    return words + _maybe(generator, 0.2, lambda: ["-pivot", generator.choice(["beam", "sample"])])


def _convention(generator: random.Random, size: list[float], pixels: list[int]) -> Words:
    words = [generator.choice(["-mosflm", "-mosflm", "-adxv", "-denzo", "-xds", "-dials"])]
    if generator.random() < 0.15:
        words += ["-beam_vector", "0", "0", "1", "-fdet_vector", "0.8", "0.6", "0", "-sdet_vector", "-0.6", "0.8", "0",
                  "-odet_vector", "0", "0", generator.choice(["0", "1", "3"]), "-polar_vector", "0", "1", "0.1",
                  "-spindle_axis", "0.6", "0.8", "0"]
    words += _maybe(generator, 0.1, lambda: ["-twotheta_axis", *(_uniform(generator, -1, 1) for _ in range(3))])
    words += _maybe(generator, 0.05, lambda: ["-pix0_vector", "0.1", "0.02", "-0.03"])
    words += _maybe(generator, 0.15, lambda: ["-Xclose", _uniform(generator, 0, size[0]), "-Yclose",
                                              _uniform(generator, 0, size[1])])
    words += _maybe(generator, 0.4, lambda: ["-Xbeam", _uniform(generator, 0, size[1]), "-Ybeam",
                                             _uniform(generator, 0, size[0])])
    return words + _maybe(generator, 0.3, lambda: ["-ORGX", _uniform(generator, 0, pixels[0]), "-ORGY",
                                                   _uniform(generator, 0, pixels[1])])


def _sensor(generator: random.Random) -> Words:
    if generator.random() > 0.25:
        return []
    words = ["-detector_thick", _uniform(generator, 50, 900)]
    words += _maybe(generator, 0.7, lambda: ["-detector_abs", _uniform(generator, 100, 900)])
    words += _maybe(generator, 0.7, lambda: ["-detector_thicksteps", str(generator.randrange(1, 5))])
    return words + _maybe(generator, 0.2, lambda: ["-oversample_thick"])


def _rotation(generator: random.Random) -> Words:
    start = generator.choice([[], ["-phi", "0"], ["-phi", _uniform(generator, -90, 90)]])
    scan = generator.choice([[], [], ["-osc", _uniform(generator, 0.3, 8)], [
        "-osc", _uniform(generator, 0.3, 8), "-phisteps", str(generator.randrange(1, 5))], [
        "-phisteps", str(generator.randrange(2, 5))], ["-osc", "1.75", "-phistep", "0.5"]])
    return start + scan


def _mosaic(generator: random.Random) -> Words:
    if generator.random() > 0.3:
        return []
    words = ["-mosaic_spread", _uniform(generator, 0.1, 4)]
    return words + _maybe(generator, 0.7, lambda: ["-mosaic_domains", str(generator.randrange(1, 7))]) + _maybe(
        generator, 0.5, lambda: ["-mosaic_seed", str(generator.randrange(1, 10**6))])


def _sampling(generator: random.Random) -> Words:
    words: Words = []
    for factor in ("polar", "omega"):
        words += _maybe(generator, 0.12, lambda factor=factor: [f"-oversample_{factor}"])
    return words + _maybe(generator, 0.15, lambda: ["-dmin", _uniform(generator, 1, 6)])


def _outputs(generator: random.Random) -> Words:
    words = ["-floatfile", "float.bin", "-intfile", "int.img"]
    words += generator.choice([["-nopgm"], ["-pgmfile", "grey.pgm"], ["-pgmfile", "grey.pgm", "-pgmscale", "2.5"]])
    words += generator.choice([["-nonoise"], ["-noisefile", "noise.img", "-seed", str(generator.randrange(1, 10**6))]])
    return words + _maybe(generator, 0.3, lambda: ["-adc", _uniform(generator, 0, 60)]) + _maybe(
        generator, 0.2, lambda: ["-scale", _uniform(generator, 0.01, 50)])


def _sources(generator: random.Random, folder: Path) -> Words:
    if generator.random() > 0.1:
        return []
    rows = [f"{generator.uniform(-12, -8):.5f} {generator.uniform(-0.4, 0.4):.5f} {generator.uniform(-0.4, 0.4):.5f} "
            f"{generator.uniform(0.2, 4):.3f} {generator.uniform(0.9, 2.5):.5f}e-10"
            for _ in range(generator.randrange(1, 5))]
    (folder / "drawn_sources.txt").write_text("\n".join(rows) + "\n")
    return ["-sourcefile", "drawn_sources.txt"]
