"""Policies that decide which value each edit should show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from faircut.errors import ConfigError, choices
from faircut.fairness.attributes import Attribute

__all__ = ["POLICIES", "Policy", "allocate", "choose_value"]

Policy = Literal["preserve", "balanced", "minority"]
POLICIES: tuple[str, ...] = ("preserve", "balanced", "minority")


def allocate(values: Sequence[str], n: int, *, shares: Mapping[str, float] | None = None, seed: int = 0) -> list[str]:
    """Assign a value to each of n edits so that the shares are met exactly.

    If the counts are not whole numbers, the values with the largest remainders get one edit more; ties are broken at
    random with the seed. The order is shuffled with the seed, so that the position of an edit does not reveal its
    value.

    Args:
        values: Names of the values.
        n: Number of edits.
        shares: Relative frequency of each value; they need not sum to 1. The default is equal shares.
        seed: Seed of the shuffle and of the ties.

    Returns:
        The n assigned names.

    Raises:
        ConfigError: If a share is negative or belongs to an unknown value, or if no share is above 0.
    """
    shares = dict.fromkeys(values, 1.0) if shares is None else shares
    for name, share in shares.items():
        if name not in values:
            raise ConfigError(f"shares contains {name!r}: {choices(name, values)}")
        if not 0 <= share < float("inf"):
            raise ConfigError(f"the share of {name!r} is {share}; give 0 or more")
    total = sum(shares.values())
    if total <= 0:
        raise ConfigError("all shares are 0; give at least one value a share above 0")
    rng = np.random.default_rng([seed, n])
    exact = {name: n * shares.get(name, 0.0) / total for name in values}
    counts = {name: int(exact[name]) for name in values}
    tie_break = {name: rng.random() for name in values}
    # Rounded, so that remainders that differ only by floating-point error count as ties.
    order = sorted(values, key=lambda name: (-round(exact[name] - counts[name], 9), tie_break[name]))
    for name in order[: n - sum(counts.values())]:
        counts[name] += 1
    allocated = [name for name in values for _ in range(counts[name])]
    rng.shuffle(allocated)
    return allocated


def choose_value(
    attribute: Attribute,
    target: str,
    *,
    prompt: str,
    perceived: str | None = None,
    prior: Mapping[str, float] | None = None,
    seed: int = 0,
) -> str | None:
    """Decide which value one edit should show.

    Args:
        attribute: Attribute of the person.
        target: Policy, or name of a value.
        prompt: Prompt for the person. A value that it already expresses takes precedence over every policy.
        perceived: Value that was read in the source clip, or None if it is unclear. Used by ``"preserve"``.
        prior: How often the model renders each value for this prompt. Used by ``"minority"``.
        seed: Seed for ``"balanced"``, which is a fair random draw for a single edit.

    Returns:
        Name of the value, or None if no debiasing word should be injected: the prompt already expresses a value, or the
        source should be preserved but is unclear.

    Raises:
        ConfigError: If there is no such policy or value, or if ``"minority"`` has no prior.
    """
    if target not in (*POLICIES, *attribute.names):
        raise ConfigError(f"target is {target!r}: {choices(target, (*POLICIES, *attribute.names))}")
    if attribute.said_in(prompt) is not None:
        return None
    if target in attribute.names:
        return target
    if target == "preserve":
        return perceived
    if target == "balanced":
        return allocate(attribute.names, 1, seed=seed)[0]
    if not prior:
        raise ConfigError(
            "target 'minority' needs to know how often the model renders each value; calibrate it first or give a value"
        )
    return min(attribute.names, key=lambda name: prior.get(name, 0.0))
