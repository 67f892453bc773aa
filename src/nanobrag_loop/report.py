"""The morning page: one self-contained HTML file of what was tried, measured, refused, and needs a person.

All text goes through jinja2 with autoescape on. The page forbids itself, by a content security policy, to load or
to run anything but its own style and script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from nanobrag_loop.gates import PASS, UNAVAILABLE, GateResult
from nanobrag_loop.items import FrozenItem
from nanobrag_loop.records import Record

TEMPLATES = Path(__file__).parent / "templates"
WIDTH, HEIGHT, MARGIN = 320, 90, 8


@dataclass(frozen=True)
class Morning:
    """Everything that the page shows. moved: where evidence lies now that is not where its record says."""

    items: Sequence[FrozenItem]
    records: Sequence[Record]
    needs: Sequence[str]
    commit: str
    branch: str
    at: str
    parity: str
    moved: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """One metric gate over the attempts of an item."""

    gate: str
    title: str
    threshold: str
    svg: Markup


def page(morning: Morning) -> str:
    """The HTML text."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    env.filters["href"] = href
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    views = [view(item, morning.records) for item in morning.items]
    known = {item.id for item in morning.items}
    orphans = [record for record in morning.records if record.item not in known]
    return env.get_template("report.html.j2").render(
        morning=morning,
        views=views,
        records=list(reversed(morning.records)),
        orphans=orphans,
        refused=[record for record in reversed(morning.records) if record.guard],
        style=Markup(style),
        script=Markup(script),
        script_hash=csp_hash(script),
        style_hash=csp_hash(style),
    )


def csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def href(path: str) -> str:
    """A relative link to a path of the repository; whatever the path holds, it stays a path."""
    return "./" + quote(str(path).lstrip("/"))


def view(item: FrozenItem, records: Sequence[Record]) -> Mapping:
    """One item: its attempts as a time line, the gate matrix, the curves of its metrics."""
    own = [record for record in records if record.item == item.id]
    gates = list(dict.fromkeys(result.gate for record in own for result in record.gates))
    matrix = []
    for gate in gates:
        cells = [next((result for result in record.gates if result.gate == gate), None) for record in own]
        last = next(result for result in reversed(cells) if result is not None)
        matrix.append({"gate": gate, "title": last.title, "criterion": last.criterion, "cells": cells, "last": last})
    return {"item": item, "records": own, "matrix": matrix, "curves": curves(own, gates)}


def curves(records: Sequence[Record], gates: Sequence[str]) -> list[Curve]:
    found = []
    for gate in gates:
        rows = [(record.attempt, result) for record in records for result in record.gates if result.gate == gate]
        points = [(attempt, result.value) for attempt, result in rows if result.value is not None]
        if points:
            last = rows[-1][1]
            found.append(Curve(gate, last.title, f"{last.op} {last.threshold}{last.unit}", curve(points, last)))
    return found


def curve(points: Sequence[tuple[int, float]], gate: GateResult) -> Markup:
    """An inline SVG of values over attempts, with the threshold as a dashed line."""
    bounds = [float(bound) for bound in _bounds(gate)]
    values = [float(value) for _, value in points]
    low, high = min(values + bounds), max(values + bounds)
    span = high - low or 1.0

    def y(value: float) -> str:
        return f"{HEIGHT - MARGIN - (value - low) / span * (HEIGHT - 2 * MARGIN):.1f}"

    step = (WIDTH - 2 * MARGIN) / max(1, len(points) - 1)
    places = [(f"{MARGIN + index * step:.1f}", y(value)) for index, value in enumerate(values)]
    dots = Markup("").join(
        Markup('<circle cx="{}" cy="{}" r="3"><title>attempt {}: {:.6g}</title></circle>').format(
            px, py, attempt, value
        )
        for (px, py), (attempt, value) in zip(places, points, strict=True)
    )
    lines = Markup("").join(
        Markup('<line class="threshold" x1="0" x2="{}" y1="{}" y2="{}"/>').format(WIDTH, y(bound), y(bound))
        for bound in bounds
    )
    path = " ".join(f"{px},{py}" for px, py in places)
    label = f"{gate.title}: {values[-1]:.6g}, threshold {gate.op} {gate.threshold}"
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}<polyline points="{}"/>{}</svg>').format(
        WIDTH, HEIGHT, label, lines, path, dots
    )


def _bounds(gate: GateResult) -> Sequence[float]:
    if gate.threshold is None:
        return ()
    return gate.threshold if isinstance(gate.threshold, list | tuple) else (gate.threshold,)


def needs_a_person(items: Sequence[FrozenItem], records: Sequence[Record], parked: Sequence[str]) -> list[str]:
    """Sentences for the top of the page: what no agent may or can do."""
    needs = [f"Run {run} waits for a decision: nb-loop runs show {run}, then accept or reject." for run in parked]
    for item in items:
        own = [record for record in records if record.item == item.id]
        if item.status == "blocked":
            needs.append(f"{item.id} is blocked: {own[-1].reason if own else 'see the ledger'}.")
        if own and item.status != "done":
            waiting = own[-1].extra.get("blocked_on")
            needs += [f"{item.id} waits for: {waiting}."] if waiting else []
            needs += [
                f"{item.id} criterion {gate.criterion} needs a person: {gate.detail or gate.title}."
                for gate in own[-1].gates
                if gate.kind == "manual" and gate.state != PASS
            ]
            needs += [
                f"{item.id} criterion {gate.criterion} cannot be measured here: {gate.detail}."
                for gate in own[-1].gates
                if gate.kind != "manual" and gate.state == UNAVAILABLE
            ]
    for record in records:
        if record.guard:
            codes = ", ".join(sorted({str(finding.get("code")) for finding in record.guard}))
            needs.append(
                f"{record.item} attempt {record.attempt} was refused ({codes}); its patch is in run {record.run}."
            )
    return needs
