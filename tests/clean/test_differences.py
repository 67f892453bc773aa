"""docs/differences.md tells the truth: every fault has a section, and everything that it quotes comes out again."""

from __future__ import annotations

from dataclasses import fields

import pytest
from documented import PAGE, documented_differences, measure, read_off, run_lines
from transcript import commands, console_blocks, replayed

from nanobrag_torch.quirks import Quirks

DIFFERENCES = documented_differences()
BLOCKS = console_blocks()
SINGLE = 1.2e-7
"""Relative size of a unit in the last of 24 bits: the page prints float pixels to eight digits."""


def names(entry) -> str:
    return entry.name


def test_every_fault_is_documented_once():
    assert sorted(entry.name for entry in DIFFERENCES) == sorted(entry.name for entry in fields(Quirks))


def test_the_sections_cite_the_reference():
    page = PAGE.read_text()
    for entry in fields(Quirks):
        assert f"({Quirks.describe(entry.name)[0]})" in page


@pytest.mark.parametrize("entry", DIFFERENCES, ids=names)
def test_the_numbers_come_out_again(entry, tmp_path, monkeypatch, capsys):
    for clean, stated in ((False, entry.upstream), (True, entry.clean)):
        folder = tmp_path / ("clean" if clean else "upstream")
        folder.mkdir()
        monkeypatch.chdir(folder)
        measured, messages = measure(entry, clean=clean, capsys=capsys)
        assert_same(measured, stated, entry.quantity)
    assert "note: " not in messages
    assert entry.upstream != entry.clean


@pytest.mark.parametrize("entry", [entry for entry in DIFFERENCES if entry.name != "clock_orientation"], ids=names)
def test_the_c_program_gives_the_numbers_with_faults(entry, built_c_program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_lines(entry.commands, built_c_program)
    assert_same(read_off(entry.quantity), entry.upstream, entry.quantity)


def assert_same(measured: str, stated: str, quantity: str) -> None:
    if quantity.startswith("float"):
        assert float(measured) == pytest.approx(float(stated), rel=SINGLE)
    else:
        assert measured == stated


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: commands(block)[-1].removeprefix("nanoBragg "))
def test_the_terminal_shows_the_same(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert replayed(block, capsys) == block
