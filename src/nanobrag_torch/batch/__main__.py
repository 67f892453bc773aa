"""``python -m nanobrag_torch.batch`` is the command ``nanoBragg-batch``."""

from ..process import whole_process


def command() -> None:
    """The command ``nanoBragg-batch``."""
    whole_process(_main, "nanoBragg-batch")


def _main() -> int:
    from .main import main  # takes a moment, in which an interrupt may come

    return main()


if __name__ == "__main__":
    command()
