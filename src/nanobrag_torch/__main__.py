"""``python -m nanobrag_torch`` is the command ``nanoBragg``."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
