#!/bin/sh
# One supervisor turn: ./supervisor.sh [--recheck] [--agent A]
# Reviews attempts against their evidence, orders the work, writes plans and the steering memo.
cd "$(dirname "$0")" || exit 2
python=.venv/bin/python
[ -x "$python" ] || python=python3
if ! PYTHONPATH="$PWD/src" "$python" -c 'import git, jinja2, yaml, rich' 2>/dev/null; then
  echo "supervisor.sh: $python lacks the loop's packages: make setup" >&2
  exit 2
fi
PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m nanobrag_loop run --role supervisor "$@"
