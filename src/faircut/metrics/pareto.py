"""The Pareto front: the best trade-offs between several figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["pareto_front"]


def pareto_front(points: Sequence[tuple[float, ...]]) -> list[bool]:
    """Return which points are on the Pareto front: no other point is as good in all figures and better in one.

    Args:
        points: Figures for which higher is better. A point with NaN is never on the front.

    Returns:
        For each point, whether it is on the front. Equal points are on the front together.
    """

    def is_dominated(point: tuple[float, ...]) -> bool:
        return any(
            all(b >= a for a, b in zip(point, other, strict=True)) and other != point
            for other in points
            if not any(map(math.isnan, other))
        )

    return [not any(map(math.isnan, point)) and not is_dominated(point) for point in points]
