"""What an audit asks for: which value of every person, by policy."""

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
"""Policies of an audit; ``"explicit"`` asks for every value in turn."""


@dataclass(frozen=True)
class Cell:
    """One request of one policy.

    Attributes:
        policy: whose.
        case: of which case.
        value: what is asked for; None where nothing is, because the source is unclear.
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
    """Decide what a policy asks of every case.

    Args:
        policy: one of `POLICIES`.
        cases: the cases.
        seen: what is perceived in each source.
        attribute: the values.
        seed: of the draws of ``"balanced"``, which are exact within every profession.
        calibration: knows the model's priors, for ``"minority"``.

    Raises:
        ConfigError: there is no such policy, or it lacks a calibration.
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
                raise ConfigError(f"it is not known what the model renders for {case.profession!r}; calibrate it first")
            value = targets.choose_value(attribute, policy, prompt=case.profession, prior=prior)
            cells.append(Cell(policy, case, value))
        return cells
    raise ConfigError(f"no policy {policy!r}: {choices(policy, POLICIES)}")
