"""``python -m nanobrag_torch.batch`` is the command ``nanoBragg-batch``."""

from .main import main

if __name__ == "__main__":
    raise SystemExit(main())
