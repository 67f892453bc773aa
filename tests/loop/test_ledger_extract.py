"""Facts in the ledger's prose."""

from __future__ import annotations

import pytest
from trees import SEED

from nanobrag_loop.ledger import extract, model
from nanobrag_loop.ledger.cst import Document
from nanobrag_loop.ledger.extract import CodeRef, Number

ITEMS = {item.id: item for item in model.items(Document.of(SEED))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("corr≈0.99963; x", [Number(0.99963, "~")]),
        ("CPU 37.09×; CUDA 1256.03×", [Number(37.09, unit="×"), Number(1256.03, unit="×")]),
        ("warm setup <50\u202fms.", [Number(50, "<", "ms")]),
        ("matches=43/50", [Number(43, "==", of=50)]),
        ("≥95% of top 50 peaks within 0.5 px", [Number(95, ">=", "%"), Number(50), Number(0.5, unit="px")]),
        ("metric duality ≤1e-12", [Number(1e-12, "<=")]),
        ("AT-012, 2025-10-02, v1.2.3, c_3", []),
        ("6/6 passed", [Number(6, of=6)]),
        ("1024×1024 detector", [Number(1024), Number(1024)]),
        ("float64 image", []),
    ],
)
def test_numbers(text, expected):
    assert extract.numbers(text) == expected


def test_a_number_may_be_read_in_several_ways():
    assert extract.numbers("≥48/50")[0].readings == (48, 0.96)
    assert extract.numbers("≥95%")[0].readings == (95, 0.95)
    assert [number.value for number in extract.bounds("≥48/50 peaks within 0.5 px, corr ≥0.9995")] == [48, 0.9995]


def test_artifacts_of_the_seed():
    found = {
        f"{item.id}#{attempt.number}": extract.artifact_paths(attempt.artifacts)
        for item in ITEMS.values()
        for attempt in item.attempts
    }
    cache = "reports/benchmarks/20250930-{}-compile-cache/cache_validation_summary.json"
    both = [cache.format("165726"), cache.format("165757")]
    assert found == {
        "PROTECTED-ASSETS-001#1": ["CLAUDE.md", "docs/index.md"],
        "REPO-HYGIENE-002#1": ["reports/archive/2025-09-30-AT-021-traces/"],
        "PERF-PYTORCH-004#4": both,
        "PERF-PYTORCH-004#5": ["investigate_compile_cache.py"],
        "AT-PARALLEL-012-PEAKMATCH#1": ["reports/2025-10-02-AT-012-peakmatch/"],
        "AT-PARALLEL-012-PEAKMATCH#2": ["reports/2025-10-02-AT-012-peakmatch/"],
        "ROUTING-LOOP-001#1": ["reports/routing/2025-10-01-loop-verify.txt"],
        "AT-PARALLEL-024-REGRESSION#1": [],
        "PERF-PYTORCH-004-PHASE2#1": both,
        "AT-PARALLEL-012#16": ["reports/2025-09-30-AT-012-debug/"],
    }


NO_PATHS = ["48/50", "n/a", "CPU/CUDA", "Owner/Date", "reports/<date>/x.json", "TORCH_LOGS=dynamic"]


@pytest.mark.parametrize("token", NO_PATHS)
def test_what_only_looks_like_a_path(token):
    assert extract.artifact_paths(f"{token}, `{token}`.") == []


def test_code_references():
    divergence = ITEMS["AT-PARALLEL-012-PEAKMATCH"].first_divergence
    path = "src/nanobrag_torch/simulator.py"
    assert extract.code_refs(divergence) == [CodeRef(path, 586, 603), CodeRef(path, 950, 979)]
    assert extract.code_refs("at `geometry.py:196`") == [CodeRef("geometry.py", 196, 196)]
    assert extract.code_refs("at `Crystal.compute_cell_tensors`") == []


def test_commands_of_the_seed():
    found = {name: extract.command(item.reproduction["C"]) for name, item in ITEMS.items()}
    assert [name for name, command in found.items() if command.na] == [
        "PROTECTED-ASSETS-001", "AT-PARALLEL-024-REGRESSION", "PERF-PYTORCH-004-PHASE2"]  # fmt: skip
    perf = found["PERF-PYTORCH-004"]
    assert perf.env == ("NB_C_BIN=./golden_suite_generator/nanoBragg",)
    assert perf.argv[:2] == ("python", "scripts/benchmarks/benchmark_detailed.py")
    assert found["AT-PARALLEL-012"].argv[0] == "-lambda"
    quoted = extract.command(ITEMS["REPO-HYGIENE-002"].reproduction["PyTorch"])
    assert quoted.env == ("KMP_DUPLICATE_LIB_OK=TRUE",)
    assert quoted.argv[-1] == "AT-PARALLEL-021 or AT-PARALLEL-024"
    assert extract.command("`a` and `b`") is None
    assert extract.command("`unbalanced '`") is None
    assert extract.command("n/a, later") is None


def test_test_nodes():
    argv = ("pytest", "tests/a/test_x.py::TestA::test_b[1-2]", "-k", "x", "setup.py")
    assert extract.test_nodes(argv) == [("tests/a/test_x.py", ("TestA", "test_b")), ("setup.py", ())]
