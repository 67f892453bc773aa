"""Runs the console blocks of docs/differences.md and says what a terminal would show."""

from __future__ import annotations

import re
import shlex
import subprocess

from documented import PAGE

from nanobrag_torch.cli.main import main

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def console_blocks() -> list[list[str]]:
    """Lines of every console block of the page."""
    return [found.splitlines() for found in _BLOCK.findall(PAGE.read_text())]


def commands(block: list[str]) -> list[str]:
    return [line.removeprefix("$ ") for line in block if line.startswith("$ ")]


def replayed(block: list[str], capsys) -> list[str]:
    """The block's commands with what they print now, run in the current folder."""
    lines = []
    for command in commands(block):
        lines.append(f"$ {command}")
        shown = _of_this_program(command, capsys) if command.startswith("nanoBragg") else _of_the_shell(command)
        lines += shown.splitlines()
    return lines


def _of_this_program(command: str, capsys) -> str:
    """Messages, then standard output: all of it, or with `| grep 'TEXT'` the lines that contain the text."""
    words, _, pattern = command.partition(" | grep ")
    words, _, status_asked = words.partition("; ")
    text = "".join(shlex.split(pattern))
    status = main(shlex.split(words)[1:])
    printed = capsys.readouterr()
    kept = [line for line in printed.out.splitlines(keepends=True) if text in line]
    return printed.err + "".join(kept) + (f"{status}\n" if status_asked == "echo $?" else "")


def _of_the_shell(command: str) -> str:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
