"""``python -m nanobrag_torch`` is the command ``nanoBragg``."""

from typing import NoReturn

from .cli.main import main
from .process import whole_process


def command() -> NoReturn:
    """The command ``nanoBragg``."""
    whole_process(main)


if __name__ == "__main__":
    command()
