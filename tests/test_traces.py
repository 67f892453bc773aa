"""Every intermediate of sixty pixels of the canonical program: set-up, geometry, indices, factors, stored pixel.

`data/traces.json` holds, for each, the command line, its files, and all numbers of the loop in order. Live
are the C program's own traces of the brightest pixels of the parity matrix.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanobrag_torch.tools.divergence import compare_traces, divergence_report, first_divergence, parse_trace
from nanobrag_torch.trace import trace_lines, trace_pixel
from parity.cases import load_cases
from parity.live import PARITY
from parity.model import simulator
from parity.programs import run_c_program

PIXELS = json.loads((Path(__file__).parent / "data" / "traces.json").read_text())
SECTIONS = ("setup", "subpixels", "rays", "terms", "values")
INDICES = {"h", "k", "l"}
FACTORS = {"F_latt_a", "F_latt_b", "F_latt_c", "F_latt", "hrad_sqr", "rad_star_sqr", "F_cell", "I_term", "I_after_add",
           "I_sum", "I_bg", "intensity_f64"}
INDEX_ATOL, FACTOR_RTOL, RTOL = 1e-13, 1e-8, 1e-12
ZERO = 1e-15
"""Of the largest component: what a component that is zero in exact arithmetic may be."""


def name_of(pixel: dict[str, Any]) -> str:
    return f"{pixel['id']}-{pixel['pixel_slow']}-{pixel['pixel_fast']}"


@pytest.fixture(scope="module", params=PIXELS, ids=name_of)
def traced(request) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pixel of the canonical program and the same one here."""
    pixel = request.param
    files = {name: content(entry) for name, entry in pixel["aux_files"].items()}
    return pixel, trace_pixel(simulator(pixel["args"], files), pixel["pixel_slow"], pixel["pixel_fast"])


def content(entry: dict[str, str]) -> str:
    """Text of an input file; the one recipe is that of the reflection grid (h outermost, l innermost)."""
    if "content" in entry:
        return entry["content"]
    indices = itertools.product(range(-8, 9), repeat=3)
    return "".join(f"{h} {k} {m} {40 + 4 * ((7 * (h + 9) + 11 * (k + 9) + 13 * (m + 9)) % 23)}\n"
                   for h, k, m in indices)


def flat(section: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Leaves of a section: a name's path to its number, vector or word."""
    if isinstance(section, dict):
        for name, value in section.items():
            yield from flat(value, (*path, name))
    elif isinstance(section, list) and all(isinstance(entry, dict | list) for entry in section):
        for number, value in enumerate(section):
            yield from flat(value, (*path, str(number)))
    else:
        yield path, section


def expected_leaves(pixel: dict[str, Any], section: str) -> list[tuple[tuple[str, ...], Any]]:
    """Statistics of the image stand in the set-up of the file, and are no part of a pixel's trace."""
    return [(path, value) for path, value in flat(pixel[section]) if path[:1] != ("statistics",)]


@pytest.mark.parametrize("section", SECTIONS)
def test_section(traced, section):
    pixel, found = traced
    here = dict(flat(found[section]))
    wanted = expected_leaves(pixel, section)
    assert [path for path, _ in wanted if path not in here] == []
    wrong = [(path, value, here[path]) for path, value in wanted if not agree(path, value, here[path])]
    assert wrong == []


@pytest.mark.parametrize("section", ["subpixels", "rays", "terms"])
def test_loop_visits_the_same_places(traced, section):
    pixel, found = traced
    assert len(found[section]) == len(pixel[section])


def test_stored_pixel_has_the_same_bits(traced):
    pixel, found = traced
    assert np.float32(found["values"]["intensity_f32"]) == np.float32(pixel["values"]["intensity_f32"])


def test_all_sixty_are_here():
    assert len(PIXELS) == 60
    assert len({pixel["id"] for pixel in PIXELS}) == 29


def agree(path: tuple[str, ...], wanted: Any, found: Any) -> bool:
    if isinstance(wanted, str):
        return wanted == found
    name = next(part for part in reversed(path) if not part.isdigit())
    one, other = np.atleast_1d(np.asarray(wanted, float)), np.atleast_1d(np.asarray(found, float))
    if one.shape != other.shape:
        return False
    if name in INDICES:
        bound = RTOL * np.abs(one) + INDEX_ATOL
    elif name in FACTORS:
        bound = FACTOR_RTOL * np.abs(one)
    else:
        bound = np.maximum(RTOL * np.abs(one), ZERO * np.abs(one).max())
    return bool((np.abs(other - one) <= bound).all())


FIRST_CASES = list({case.acceptance: case for case in reversed(load_cases())}.values())
"""One case of every acceptance test of the parity matrix."""


@pytest.mark.parametrize("case", FIRST_CASES, ids=lambda case: case.name)
def test_both_programs_trace_the_brightest_pixel_alike(case, live_c_program, tmp_path, record_property):
    image = run_c_program(case.words, tmp_path / "image", live_c_program, case.files).image()
    slow, fast = map(int, np.unravel_index(image.argmax(), image.shape))
    words = f"{case.words} -trace_pixel {slow} {fast}"
    reference = parse_trace(run_c_program(words, tmp_path / "trace", live_c_program, case.files).stdout.splitlines())
    if not reference:
        pytest.skip("this C program prints no traces")
    record_property(PARITY, 1)
    found = parse_trace(trace_lines(trace_pixel(simulator(case.words, case.files), slow, fast)))
    divergence = first_divergence(compare_traces(reference, found))
    assert divergence is None, divergence_report(divergence)
