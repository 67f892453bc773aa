"""A finding: what was done to which path, against which rule, and the way out."""

from __future__ import annotations

from dataclasses import asdict, dataclass

ASSET_RULES = {
    "A1": "a protected file was deleted",
    "A2": "a protected file was emptied or shrunk",
    "A3": "a protected file became something else",
    "A4": "a protected file lost its executable bit",
    "A5": "a protected text became binary",
    "A6": "a file of a protected folder was deleted",
    "A7": "an entry of the index was removed",
    "A8": "a document refers to a path that is not tracked",
    "A9": "a protected file was renamed by case only",
    "A10": "a role changed the harness",
}
TEST_RULES = {
    "T1": "a test was removed",
    "T2": "a test makes fewer assertions",
    "T3": "a skip or xfail was added",
    "T4": "a bound was loosened",
    "T5": "the expression of a bound was replaced",
    "T6": "a frozen test was changed, or what would act on it was added",
    "T7": "reference data differ from their manifest",
    "T8": "the options of pytest were relaxed",
    "T9": "a gate or a specified threshold was lowered",
    "T10": "a test file no longer parses",
    "T11": "the product looks at how it is tested",
}
POLICY_RULES = {
    "P1": "a path outside the role's list",
    "P2": "a frozen field of the ledger was changed",
    "P3": "an added file is too large, of a forbidden type or name, or a link",
    "P4": "the change adds too much",
    "P5": "a conflict marker",
    "P6": "the agent committed or moved a ref",
    "P7": "the main checkout changed while the agent ran",
    "P8": "git's configuration, hooks, remotes or HEAD changed, or the runner's memory",
    "P9": "a module that would be imported in place of another",
}
RULES = {**ASSET_RULES, **TEST_RULES, **POLICY_RULES}


@dataclass(frozen=True)
class Finding:
    """severity: E refuses, W reports."""

    code: str
    path: str
    message: str
    remedy: str = ""
    severity: str = "E"

    def as_dict(self) -> dict:
        return {**asdict(self), "rule": RULES.get(self.code, "")}

    @property
    def line(self) -> str:
        way_out = f" Way out: {self.remedy}." if self.remedy else ""
        return f"{self.code} {self.path}: {self.message}.{way_out}"
