"""Evidence without this machine: where a run took place is no part of what it found.

Paths of the worktree, the run's folder, the interpreter, the home and temporary folders are written as what they
stand for, before anything is hashed or committed.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanobrag_loop.manifest import FILE_CAP, TEXT_SUFFIXES, files_below

SHORTEST = 4


@dataclass(frozen=True)
class Portable:
    """pattern: any of the paths; names: what each stands for."""

    pattern: re.Pattern[bytes]
    names: dict[bytes, bytes]

    def data(self, data: bytes) -> bytes:
        return self.pattern.sub(lambda match: self.names[match[0]], data)

    def value(self, value: Any) -> Any:
        """Plain data, as JSON can hold it, with all texts in it rewritten."""
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return json.loads(self.data(text).decode("utf-8", "surrogatepass"))

    def files(self, folder: Path) -> None:
        """Rewrite the text files below a folder that are small enough to be kept; doing it again changes nothing."""
        for path in files_below(folder):
            if path.suffix.lower() in TEXT_SUFFIXES and path.stat().st_size <= FILE_CAP:
                before = path.read_bytes()
                after = self.data(before)
                if after != before:
                    # A new file: the old one may be a hard link to something that lies elsewhere.
                    path.unlink()
                    path.write_bytes(after)


def portable(trees: Iterable[Path], run: Path, root: Path) -> Portable:
    """trees: the run's worktrees, which become `.`, as does the main checkout; run: its folder, `$RUN`."""
    own = {**{str(path): "." for path in (*trees, root)}, str(run): "$RUN", sys.prefix: "$PYTHON"}
    shared = {tempfile.gettempdir(): "$TMP", str(Path.home()): "~"}
    names = {path: name for path, name in {**shared, **own}.items() if len(path) >= SHORTEST}
    # A short, common path counts only where it begins one: `tests/tmp` is not the temporary folder.
    parts = [("" if path in own else r"(?<![\w.])") + re.escape(path) for path in sorted(names, key=len, reverse=True)]
    pattern = re.compile("(?:" + "|".join(parts) + r")(?![\w-])")
    return Portable(re.compile(pattern.pattern.encode()), {p.encode(): n.encode() for p, n in names.items()})
