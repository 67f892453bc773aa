#!/bin/sh
# Engineer cycles: ./loop.sh [-n N] [--item ID] [--agent A] [--dry-run] [--resume]
# Everything is decided by `nb-loop run`; which prompt may run is decided by measured parity, never here.
cd "$(dirname "$0")" || exit 2
python=.venv/bin/python
[ -x "$python" ] || python=python3
if ! PYTHONPATH="$PWD/src" "$python" -c 'import git, jinja2, yaml, rich' 2>/dev/null; then
  echo "loop.sh: $python lacks the loop's packages: make setup" >&2
  exit 2
fi
PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m nanobrag_loop run --role engineer "$@"
