"""``python -m nanobrag_torch.batch`` is the command ``nanoBragg-batch``."""

from typing import NoReturn

from ..process import whole_process
from .main import main


def command() -> NoReturn:
    """The command ``nanoBragg-batch``."""
    whole_process(main)


if __name__ == "__main__":
    command()
