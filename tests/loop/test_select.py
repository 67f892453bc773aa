"""The next item, and the reason why each other one is not."""

from __future__ import annotations

import pytest

from nanobrag_loop.errors import ConfigError
from nanobrag_loop.items import FrozenItem
from nanobrag_loop.select import Steering, choose

RUNS = {"PyTorch": "`pytest -q`"}


def item(name, status="pending", priority="Medium", depends=(), reproduction=RUNS):
    return FrozenItem(name, name, priority, status, depends_on=depends, reproduction=reproduction)


@pytest.mark.parametrize(
    ("items", "steering", "chosen"),
    [
        ([item("A-1"), item("B-1")], {}, "A-1"),
        ([item("A-1"), item("B-1", priority="High")], {}, "B-1"),
        ([item("A-1", priority="Critical"), item("B-1", "in_progress", "Low")], {}, "B-1"),
        ([item("A-1", "in_progress"), item("B-1")], {"next_item": "B-1"}, "B-1"),
        ([item("A-1"), item("B-1", "done")], {"next_item": "B-1"}, "A-1"),
        ([item("A-1", "blocked"), item("B-1", priority="Low")], {}, "B-1"),
        ([item("A-1", depends=("B-1",)), item("B-1", priority="Low")], {}, "B-1"),
        ([item("A-1", depends=("B-1",)), item("B-1", "done")], {}, "A-1"),
        ([item("A-1", depends=("X-1",)), item("B-1")], {}, "B-1"),
        ([item("A-1"), item("B-1")], {"parked": {"A-1": "in circles"}}, "B-1"),
        ([item("A-1", reproduction={"C": "n/a"}), item("B-1")], {}, "B-1"),
        ([item("A-1", reproduction={"C": "`X=1 -lambda 6`"}), item("B-1")], {}, "B-1"),
        ([item("A-1", "done")], {}, None),
        ([], {}, None),
    ],
)
def test_choice(items, steering, chosen):
    found, verdicts = choose(items, Steering(**steering), "debug")
    assert (found.id if found else None) == chosen
    assert sorted(verdict.item for verdict in verdicts) == sorted(entry.id for entry in items)
    assert all(verdict.reason for verdict in verdicts)
    assert [verdict.item for verdict in verdicts if verdict.reason.startswith("chosen")] == ([chosen] if chosen else [])


def test_an_item_without_a_command_may_be_worked_on_when_parity_is_green():
    assert choose([item("A-1", reproduction={"C": "n/a"})], Steering(), "main")[0].id == "A-1"


def test_by_name():
    items = [item("A-1"), item("A-1-PHASE2", "done")]
    assert choose(items, Steering(), "debug", "A-1-PHASE2")[0].id == "A-1-PHASE2"
    with pytest.raises(ConfigError, match="no item 'A' in the ledger"):
        choose(items, Steering(), "debug", "A")
