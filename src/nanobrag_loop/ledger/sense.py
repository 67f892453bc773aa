"""Lint of what the ledger says: its words, dates, commands, evidence, and whether it agrees with the gates.

Rules about the repository around the ledger are silent without the facts for them in `Context`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

from nanobrag_loop.ledger import extract, model
from nanobrag_loop.ledger.cst import Document
from nanobrag_loop.ledger.diagnostics import Context, Diagnostic, Found, GateFact
from nanobrag_loop.ledger.model import PRIORITIES, RESULTS, STATUSES, Item


def id_rules(document: Document, context: Context) -> Found:
    seen: set[str] = set()
    for node in document.items:
        if node.id in seen:
            yield Diagnostic(node.start + 1, "E201", "another item has this id", node.id)
        seen.add(node.id)


def progress_rules(document: Document, context: Context) -> Found:
    busy = [item.id for item in model.items(document) if item.status == "in_progress"]
    if len(busy) > context.wip_limit:
        message = f"{len(busy)} items in progress, at most {context.wip_limit}: {', '.join(busy)}"
        yield Diagnostic(1, "W401", message)


def dependency_rules(document: Document, context: Context) -> Found:
    by_id = {item.id: item for item in model.items(document)}
    for item in by_id.values():
        for name in item.depends_on:
            if name not in by_id:
                yield Diagnostic(item.start, "E405", f"depends on {name}, which the ledger does not have", item.id)
            elif by_id[name].status == "blocked" and item.status != "done":
                yield Diagnostic(item.start, "W406", f"depends on {name}, which is blocked", item.id)
        if reaches(item.id, item.id, by_id, set()):
            yield Diagnostic(item.start, "E405", "depends on itself, through others or directly", item.id)


def reaches(start: str, goal: str, by_id: Mapping[str, Item], seen: set[str]) -> bool:
    for name in by_id[start].depends_on:
        if name == goal:
            return True
        if name in by_id and name not in seen:
            seen.add(name)
            if reaches(name, goal, by_id, seen):
                return True
    return False


def line_of(item: Item, name: str) -> int:
    """The line of a field, from 1; that of the item if it has none."""
    for offset, line in enumerate(item.text.split("\n")):
        if re.match(rf"- {re.escape(name)}(?: \(|:)", line):
            return item.start + offset
    return item.start


def word_rules(item: Item, context: Context) -> Found:
    if item.priority and item.priority not in PRIORITIES:
        message = f"priority: expected one of {', '.join(PRIORITIES)}, got {item.priority!r}"
        yield Diagnostic(line_of(item, "Priority"), "E206", message, item.id)
    if item.status and item.status not in STATUSES:
        message = f"status: expected one of {', '.join(STATUSES)}, got {item.status!r}"
        yield Diagnostic(line_of(item, "Status"), "E207", message, item.id)
    owner = item.values.get("Owner/Date", "")
    if owner and not item.owner[0]:
        message = f"owner: expected name/YYYY-MM-DD, got {owner!r}"
        yield Diagnostic(line_of(item, "Owner/Date"), "E208", message, item.id)


def place_rules(item: Item, context: Context) -> Found:
    if item.status == "done" and not item.completed:
        yield Diagnostic(item.start, "W220", "done, but among the active items: nb-loop ledger complete", item.id)
    if item.status != "done" and item.completed:
        yield Diagnostic(item.start, "E221", f"{item.status or 'open'}, but among the completed items", item.id)


def date_rules(item: Item, context: Context) -> Found:
    dated = [(item.owner[1], line_of(item, "Owner/Date"))] if item.owner[1] else []
    dated += [(attempt.date, attempt.line) for attempt in item.attempts]
    for text, line in dated:
        problem = date_problem(text, context)
        if problem:
            yield Diagnostic(line, "E218", problem, item.id)


def updated_rules(document: Document, context: Context) -> Found:
    for key, value, line in document.metas:
        written = re.match(r"\d{4}-\d{2}-\d{2}", value)
        problem = date_problem(written[0], context) if key == "Last Updated" and written else ""
        if problem:
            yield Diagnostic(line + 1, "E218", f"{key}: {problem}")


def date_problem(text: str, context: Context) -> str:
    """What is wrong with a date; a day ahead is another time zone."""
    try:
        return f"{text} is in the future" if date.fromisoformat(text) > context.today + timedelta(days=1) else ""
    except ValueError:
        return f"{text} is no date"


def attempt_rules(item: Item, context: Context) -> Found:
    for before, after in zip(item.attempts, item.attempts[1:], strict=False):
        if after.number <= before.number:
            message = f"attempt #{after.number} after #{before.number}"
            yield Diagnostic(after.line, "E212", message, item.id)
        if after.date < before.date:
            yield Diagnostic(after.line, "W213", f"{after.date} after {before.date}", item.id)
    for attempt in item.attempts:
        if attempt.word not in RESULTS:
            message = f"result: expected one of {', '.join(RESULTS)}, got {attempt.word!r}"
            yield Diagnostic(attempt.line, "E215", message, item.id)


def command_rules(item: Item, context: Context) -> Found:
    for label in ("C", "PyTorch"):
        if label not in item.reproduction:
            continue
        line = command_line(item, label)
        command = extract.command(item.reproduction[label])
        if command is None:
            yield Diagnostic(line, "W210", f"{label}: expected one command in `…`, or n/a (reason)", item.id)
        elif not command.na and (not command.argv or command.argv[0].startswith("-")):
            message = f"{label}: sets the environment, then names no program"
            yield Diagnostic(line, "W211", message, item.id)
        else:
            for problem in missing_tests(command.argv, context):
                yield Diagnostic(line, "W219", f"{label}: {problem}", item.id)


def command_line(item: Item, label: str) -> int:
    offset = next(n for n, line in enumerate(item.text.split("\n")) if line.startswith(f"  * {label}: "))
    return item.start + offset


def missing_tests(argv: tuple[str, ...], context: Context) -> Iterator[str]:
    exists = context.exists
    if exists is None:
        return
    for path, names in extract.test_nodes(argv):
        if not exists(path):
            yield f"{path} does not exist"
        elif context.read is not None:
            text = context.read(path) or ""
            for name in names:
                if not re.search(rf"(?m)^\s*(?:class|(?:async )?def) {re.escape(name)}\b", text):
                    yield f"{path} has no {name}"


def divergence_rules(item: Item, context: Context) -> Found:
    if context.exists is None:
        return
    for place in extract.code_refs(item.first_divergence):
        if "/" in place.path and not context.exists(place.path):
            yield Diagnostic(line_of(item, "First Divergence"), "W219", f"{place.path} does not exist", item.id)


def artifact_rules(item: Item, context: Context) -> Found:
    if context.exists is None:
        return
    for attempt in item.attempts:
        for path in extract.artifact_paths(attempt.artifacts):
            if not context.exists(path.rstrip("/")) and path not in context.manifest:
                message = f"attempt #{attempt.number}: {path} is missing and no record accounts for it"
                yield Diagnostic(attempt.line, "W402", message, item.id)


def stale_rules(item: Item, context: Context) -> Found:
    if item.status != "in_progress":
        return
    last = item.attempts[-1].date if item.attempts else item.owner[1]
    try:
        age = (context.today - date.fromisoformat(last)).days
    except ValueError:
        return
    if age > context.stale_days:
        yield Diagnostic(item.start, "W403", f"in progress, no attempt for {age} days", item.id)


def circle_rules(item: Item, context: Context) -> Found:
    if item.status == "done":
        return
    promised = [attempt.next_actions for attempt in item.attempts][-3:]
    if len(promised) == 3 and len(set(promised)) == 1 and promised[0].lower().rstrip(".") not in ("none", "n/a"):
        yield Diagnostic(item.attempts[-1].line, "W404", "three attempts end with the same Next Actions", item.id)
    measured = list(context.history.get(item.id, ()))[-context.stuck_attempts :]
    if len(measured) == context.stuck_attempts > 1 and all(entry == measured[0] for entry in measured):
        yield Diagnostic(item.start, "W404", f"{len(measured)} attempts changed no gate and no metric", item.id)


def gate_rules(item: Item, context: Context) -> Found:
    if context.gates is None:
        return
    facts = context.gates.get(item.id, ())
    for criterion in item.criteria:
        own = [fact for fact in facts if fact.criterion == criterion.number]
        green = bool(own) and all(fact.state == "pass" for fact in own)
        if item.status == "done" and not green:
            message = f"done, but criterion {criterion.number} has no passing record: nb-loop gates run {item.id}"
            yield Diagnostic(criterion.line, "E420", message, item.id)
        if criterion.claimed and not green:
            yield Diagnostic(criterion.line, "W430", f"criterion {criterion.number} is marked as met", item.id)
        yield from threshold_rules(item, criterion, own)


def threshold_rules(item: Item, criterion: model.Criterion, own: Sequence[GateFact]) -> Found:
    """The numbers that a criterion quotes against those of its gates, and the direction in which it bounds them."""
    quoted = extract.quoted(criterion.text)
    for fact in own:
        for threshold in fact.threshold:
            meant = [number for number in quoted if means(number, threshold)]
            if quoted and not meant:
                shown = ", ".join(f"{value:g}" for number in quoted for value in number.readings)
                message = f"criterion {criterion.number} says {shown}, its gate {threshold:g}"
                yield Diagnostic(criterion.line, "E421", message, item.id)
            elif meant and all({number.op[:1], fact.op[:1]} == {"<", ">"} for number in meant):
                said = f"{meant[0].op} {meant[0].value:g}{meant[0].unit}"
                message = f"criterion {criterion.number} says {said}, its gate {fact.op} {threshold:g}"
                yield Diagnostic(criterion.line, "E421", message, item.id)


def means(number: extract.Number, threshold: float) -> bool:
    return any(abs(threshold - value) <= 1e-9 * max(1.0, abs(value)) for value in number.readings)


DOCUMENT_RULES = (id_rules, progress_rules, dependency_rules, updated_rules)
ITEM_RULES = (
    word_rules, place_rules, date_rules, attempt_rules, command_rules, divergence_rules, artifact_rules, stale_rules,
    circle_rules, gate_rules,
)  # fmt: skip
