"""Two faults planted in the simulator itself: the loop, offline, closes the item only when the images are right."""

from __future__ import annotations

from pathlib import Path

from fake_agent_repo import ITEM, LEDGER, ROOT, make_toy, recording

from nanobrag_loop import book, records

CASE = "p-cell-tetragonal"
TURN = ("y, z = cx * y - sx * z, sx * y + cx * z", "y, z = cx * y + sx * z, -sx * y + cx * z")
RADIUS = ("7.94079248018965e-30", "7.85079248018965e-30")

MEASURE = """\
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from nanobrag_torch.cli.main import main
from nanobrag_torch.compare import compare_images

COMMAND = ("-cell 60 60 45 90 90 90 -misset 12.5 -30 47 -gauss_xtal -square_xtal -N 6 -lambda 1.2 -default_F 75 "
           "-distance 80 -detpixels 128 -pixel 0.4 -oversample 1 -nonoise -nopgm")
golden = np.load("data/golden.npz")["image"]
with tempfile.TemporaryDirectory() as folder:
    files = [f"{folder}/float.bin", f"{folder}/int.img"]
    assert main([*COMMAND.split(), "-floatfile", files[0], "-intfile", files[1]]) == 0
    image = np.fromfile(files[0], dtype=np.float32).reshape(golden.shape)
found = compare_images(golden, image)
Path(sys.argv[1]).write_text(json.dumps({"corr": found.correlation, "sum": found.sum_ratio}))
print(f"corr={found.correlation:.6f} sum={found.sum_ratio:.6f}")
"""

GATES = """\
schema: 1
items:
  TOY-001:
    - criterion: 1
      kind: metric
      run: [python, scripts/measure.py, "{out}/image.json"]
      json: "{out}/image.json#/corr"
      op: ">="
      value: 0.9995
    - {criterion: 2, kind: metric, json: "{out}/image.json#/sum", op: within, value: [0.999999, 1.000001]}
"""


def planted() -> dict[str, str]:
    """The simulator's sources with both faults, a golden image's case, and a ledger item about them."""
    sources = ROOT / "src" / "nanobrag_torch"
    files = {f"src/nanobrag_torch/{path.relative_to(sources)}": path.read_text() for path in sources.rglob("*.py")}
    for name, (right, wrong) in (("geometry.py", TURN), ("constants.py", RADIUS)):
        assert files[f"src/nanobrag_torch/{name}"].count(right) == 1
        files[f"src/nanobrag_torch/{name}"] = files[f"src/nanobrag_torch/{name}"].replace(right, wrong)
    ledger = LEDGER.replace("The error of add is ≤ 0.001.", "Correlation with the golden image ≥ 0.9995.")
    ledger = ledger.replace("Both tests of the toy pass.", "The sum agrees within a millionth.")
    ledger = ledger.replace("`python -m pytest -q tests/test_toy.py`", "`python scripts/measure.py image.json`")
    return {**files, "scripts/measure.py": MEASURE, "plans/gates.yaml": GATES, "docs/fix_plan.md": ledger}


def test_failed_partial_success_on_the_simulator(tmp_path):
    toy = make_toy(tmp_path, planted(), merge_partial=True, limits={"run": {"wall_s": 120, "idle_s": 120}})
    golden = Path(ROOT, "tests/golden_data", f"{CASE}.npz").read_bytes()
    (toy.root / "data").mkdir()
    (toy.root / "data/golden.npz").write_bytes(golden)
    toy.git("add", "data")
    toy.git("commit", "-q", "-m", "Golden image")
    turn, radius = "src/nanobrag_torch/geometry.py", "src/nanobrag_torch/constants.py"
    recording(toy, 1, "success", {radius: (RADIUS[1], "7.88079248018965e-30")}, "The constant is nearer now.")
    recording(toy, 2, "success", {turn: TURN[::-1]}, "The crystal turns the right way.")
    toy.git("apply", str(tmp_path / "replay" / ITEM / "2" / "change.patch"))
    toy.git("add", "src")
    recording(toy, 3, "success", {radius: RADIUS[::-1]}, "The constant is right.")
    toy.git("reset", "-q", "--hard")

    done = toy.loop("run", "--role", "engineer", "-n", "3", "--agent", "replay")
    item = book.read(toy.ledger(), "docs/fix_plan.md")[0]
    assert [past.word for past in item.attempts] == ["failed", "partial", "success"], done.stderr
    assert item.status == "done"
    known, _ = records.read_all(toy.root)
    assert [[gate.state for gate in record.gates] for record in known] == [
        ["fail", "fail"],
        ["pass", "fail"],
        ["pass", "pass"],
    ]
    assert [record.merged for record in known] == [False, True, True]
    assert known[0].gates[0].value < 0.5
    assert toy.git("show", f"main:{turn}") == (ROOT / turn).read_text()
    assert toy.git("show", f"main:{radius}") == (ROOT / radius).read_text()
