"""launch.py RESULT COMMAND...: run a command; seconds, exit status and peak resident bytes go to RESULT as JSON.

A process of its own, and a small one: on Linux a program's peak begins at that of the process that started it, so
figures below this interpreter's own (about 10 MiB) cannot be told apart.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Start, wait, and write down."""
    result, *command = sys.argv[1:]
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    with open(result, "w") as stream:
        json.dump({"seconds": seconds, "status": os.waitstatus_to_exitcode(status),
                   "peak_bytes": usage.ru_maxrss * unit}, stream)


if __name__ == "__main__":
    main()
