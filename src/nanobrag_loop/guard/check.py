"""All guards on one pair of trees, with the exceptions that a person may sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nanobrag_loop.config import Config
from nanobrag_loop.gitio import TreePair
from nanobrag_loop.guard import assets, policy, tests, waivers
from nanobrag_loop.guard.findings import Finding

TRAILER = "Guard-Waiver"


def check(
    pair: TreePair,
    config: Config,
    role: str | None = None,
    route: str = "",
    trailers: Sequence[str] = (),
    committed: bool = True,
) -> list[Finding]:
    """Findings on the change from the first tree to the second, errors first.

    role: who made it, None for a person. For a role nothing is waived. A person's loosened tests are errors once
    committed, unless a waiver or a `Guard-Waiver: CODE PATH reason` trailer stands by them; before there is a commit
    message (committed=False) they are warnings that say so.
    """
    found = [*assets.check(pair, config, role), *policy.check(pair, config, role)]
    loosened = list(tests.check(pair, config, frozen=bool(role) and route in config.tests.frozen_in))
    if role is None:
        loosened = [as_for_a_person(finding, committed) for finding in loosened]
        signed = [*waivers.fresh(pair), *waivers.from_trailers(trailers)]
        return order(waivers.unwaived([*found, *loosened], signed))
    return order([*found, *loosened])


def as_for_a_person(finding: Finding, committed: bool) -> Finding:
    remedy = f"put it back, or sign it: commit trailer `{TRAILER}: {finding.code} {finding.path} reason`"
    severity = finding.severity if committed else "W"
    return replace(finding, remedy=remedy, severity=severity)


def order(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.severity != "E", finding.path, finding.code))
