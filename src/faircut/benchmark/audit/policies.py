"""The policies of an audit, which decide the value that is requested for every case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from faircut.benchmark.audit.cases import Case
from faircut.errors import ConfigError, choices
from faircut.fairness import targets
from faircut.fairness.attributes import Attribute
from faircut.fairness.calibration import Calibration

__all__ = ["POLICIES", "Cell", "requests"]

POLICIES = (*targets.POLICIES, "explicit")
"""Policies of an audit. ``"explicit"`` requests every value in turn."""


@dataclass(frozen=True)
class Cell:
    """One request of one policy.

    Attributes:
        policy: Name of the policy.
        case: Case to edit.
        value: Requested value; None for no value, because the source is unclear.
    """

    policy: str
    case: Case
    value: str | None


def requests(
    policy: str,
    cases: Sequence[Case],
    seen: Sequence[str | None],
    attribute: Attribute,
    seed: int,
    calibration: Calibration | None = None,
) -> list[Cell]:
    """Return the requests of a policy for all cases.

    Args:
        policy: One of `POLICIES`.
        cases: Cases to edit.
        seen: Value that is perceived in each source; None if unclear.
        attribute: Attribute whose values are requested.
        seed: Seed of the draws of ``"balanced"``, which are exactly balanced within every profession.
        calibration: Calibration with the model's priors, which ``"minority"`` needs.

    Raises:
        ConfigError: If there is no such policy, or ``"minority"`` lacks a calibration.
    """
    if policy == "preserve":
        return [Cell(policy, case, value) for case, value in zip(cases, seen, strict=True)]
    if policy == "explicit":
        return [Cell(policy, case, value) for case in cases for value in attribute.names]
    if policy == "balanced":
        drawn: dict[str, Iterator[str]] = {}
        names = [case.profession for case in cases]
        for number, profession in enumerate(dict.fromkeys(names)):
            drawn[profession] = iter(
                targets.allocate(attribute.names, names.count(profession), seed=seed * 1000 + number)
            )
        return [Cell(policy, case, next(drawn[case.profession])) for case in cases]
    if policy == "minority":
        cells = []
        for case in cases:
            prior = None if calibration is None else calibration.prior(case.profession)
            if not prior:
                raise ConfigError(
                    f"the policy 'minority' needs the model's prior for {case.profession!r}; calibrate the model first"
                )
            value = targets.choose_value(attribute, policy, prompt=case.profession, prior=prior)
            cells.append(Cell(policy, case, value))
        return cells
    raise ConfigError(f"no policy {policy!r}: {choices(policy, POLICIES)}")
