"""``python -m nanobrag_torch`` is the command ``nanoBragg``."""

from .process import whole_process


def command() -> None:
    """The command ``nanoBragg``."""
    whole_process(_main, "nanoBragg")


def _main() -> int:
    from .cli.main import main  # takes a moment, in which an interrupt may come

    return main()


if __name__ == "__main__":
    command()
