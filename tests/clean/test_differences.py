"""docs/differences.md tells the truth: every fault has a section, and every number in it comes out again."""

from __future__ import annotations

from dataclasses import fields

import pytest
from documented import PAGE, documented_differences, measure

from nanobrag_torch.quirks import Quirks

DIFFERENCES = documented_differences()


def test_every_fault_is_documented_once():
    assert sorted(entry.name for entry in DIFFERENCES) == sorted(entry.name for entry in fields(Quirks))


def test_the_sections_cite_the_reference():
    page = PAGE.read_text()
    for entry in fields(Quirks):
        assert Quirks.describe(entry.name)[0] in page


@pytest.mark.parametrize("entry", DIFFERENCES, ids=lambda entry: entry.name)
def test_the_numbers_come_out_again(entry, tmp_path, monkeypatch, capsys):
    for clean, stated in ((False, entry.upstream), (True, entry.clean)):
        folder = tmp_path / ("clean" if clean else "upstream")
        folder.mkdir()
        monkeypatch.chdir(folder)
        measured = measure(entry.commands, entry.quantity, clean=clean, capsys=capsys)
        if entry.quantity.startswith("float"):
            assert float(measured) == pytest.approx(float(stated), rel=2e-7)
        else:
            assert measured == stated
    assert entry.upstream != entry.clean
