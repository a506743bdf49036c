"""Means with bootstrap intervals, which resample clips within their groups."""

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
        value: The figure; NaN if no clip has one.
        n: Number of clips.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    # NaN is written as null, and null is read as NaN.
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

    Clips are drawn with replacement within their stratum, so that every draw has the benchmark's composition. If one
    value is requested for half of a profession's clips, the same holds for every draw.

    Args:
        rows: For each group, such as a profession, the numbers of its clips; NaN for a clip without a number.
        statistic: Function of the list of groups, (..., clip) each, that keeps leading axes.
        strata: For each group the stratum of each clip, such as its requested value. None makes each group one stratum.
        level: Confidence level of the interval, 0 to 1.
        draws: Number of resamplings.
        seed: Seed of the resampling.

    Returns:
        The estimate. Groups without any number are left out.
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
    resampled = statistic(
        [
            np.concatenate([part[rng.integers(len(part), size=(draws, len(part)))] for part in group], axis=-1)
            for group in groups
        ]
    )
    tail = 50 * (1 - level)
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Estimate(float(statistic([np.concatenate(group) for group in groups])), n, float(low), float(high))


def macro_average(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Average each group, then the groups, so that larger groups do not count more.

    Args:
        groups: One array (..., clip) for each group. Leading axes, such as resamplings, are kept.

    Returns:
        (...,), the mean of the groups' means.
    """
    return np.mean([group.mean(-1) for group in groups], axis=0)
