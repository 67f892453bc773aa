"""`python -m nanobrag_loop`: the command `nb-loop`."""

from nanobrag_loop.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
