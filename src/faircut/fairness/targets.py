"""Which value is fair: the policies, and how values are allocated to a batch of edits."""

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
    """Give each of n edits a value, so that the shares come out exactly.

    Where n does not divide, the largest remainders get one more; which of equal ones does is drawn from the seed. The order
    is a seeded shuffle, so that nothing about an edit tells its value.

    Args:
        values: names of the values.
        n: number of edits.
        shares: how much of each value, to be brought to a sum of 1; equal ones by default.
        seed: of the shuffle.

    Returns:
        n names.

    Raises:
        ConfigError: a share of an unknown value, a negative one, or none above 0.
    """
    shares = dict.fromkeys(values, 1.0) if shares is None else shares
    for name, share in shares.items():
        if name not in values:
            raise ConfigError(f"a share for {name!r}: {choices(name, values)}")
        if not 0 <= share < float("inf"):
            raise ConfigError(f"the share of {name!r} is {share}; give 0 or more")
    total = sum(shares.values())
    if total <= 0:
        raise ConfigError("all shares are 0; give at least one value a share above 0")
    rng = np.random.default_rng([seed, n])
    exact = {name: n * shares.get(name, 0.0) / total for name in values}
    counts = {name: int(exact[name]) for name in values}
    tie_break = {name: rng.random() for name in values}
    # Rounded, so that remainders which are equal but for float arithmetic are drawn for.
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
    """Decide which value one edit shall show.

    Args:
        attribute: of which attribute.
        target: a policy, or the name of a value.
        prompt: the person's prompt; a value that it already says wins over every policy.
        perceived: the value read in the source, None if it is unclear; for ``"preserve"``.
        prior: how often the model renders each value for this prompt; for ``"minority"``.
        seed: for ``"balanced"``, which for a single edit is a fair draw.

    Returns:
        The value's name, or None where nothing shall be injected: the prompt says it, or the source is unclear and is to
        be preserved.

    Raises:
        ConfigError: no such policy or value, or ``"minority"`` without a prior.
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
            "target 'minority' needs to know how often the model renders each value; calibrate it first, or name a value"
        )
    return min(attribute.names, key=lambda name: prior.get(name, 0.0))
