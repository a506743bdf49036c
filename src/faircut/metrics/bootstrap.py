"""Means with intervals: resampling clips, within their groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Estimate", "estimate", "macro_average"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: the figure; NaN if there is nothing to measure.
        n: how many clips it is of.
        low: lower end of the interval.
        high: upper end.
    """

    # Written as null where they are NaN, and read as that again.
    value: float = field(metadata={"finite": False})
    n: int
    low: float = field(metadata={"finite": False})
    high: float = field(metadata={"finite": False})


def estimate(
    rows: Sequence[Sequence[float]],
    statistic: Callable[[list[np.ndarray]], np.ndarray],
    *,
    strata: Sequence[Sequence[Hashable]] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Estimate a statistic of grouped clips, with a percentile bootstrap interval (Efron, 1979).

    Clips are drawn with replacement within their stratum, so that every draw has the benchmark's composition: where
    half of a profession's clips were asked for one value, half of every draw was.

    Args:
        rows: per group, such as a profession, a number for each clip; NaN where there is none.
        statistic: of the groups' numbers, (..., clip) each; it must leave leading axes alone.
        strata: per group what each clip is drawn among, such as its request; None is the whole group.
        level: of the interval.
        draws: how often to resample.
        seed: of the resampling.

    Returns:
        The estimate. Groups without a number do not count.
    """
    groups: list[list[np.ndarray]] = []
    for number, group in enumerate(rows):
        labels = [None] * len(group) if strata is None else strata[number]
        parts: dict[Hashable, list[float]] = {}
        for value, label in zip(group, labels, strict=True):
            if not math.isnan(value):
                parts.setdefault(label, []).append(value)
        if parts:
            groups.append([np.asarray(part, dtype=np.float64) for part in parts.values()])
    n = sum(len(part) for group in groups for part in group)
    if n == 0:
        return Estimate(float("nan"), 0, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    again = statistic(
        [
            np.concatenate([part[rng.integers(len(part), size=(draws, len(part)))] for part in group], axis=-1)
            for group in groups
        ]
    )
    tail = 50 * (1 - level)
    low, high = np.percentile(again, [tail, 100 - tail])
    return Estimate(float(statistic([np.concatenate(group) for group in groups])), n, float(low), float(high))


def macro_average(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Average each group, then the groups, so that no group counts more for being larger.

    Args:
        groups: per group (..., clip); leading axes, such as resamplings, stay.

    Returns:
        (...,), the mean of the groups' means.
    """
    return np.mean([group.mean(-1) for group in groups], axis=0)
