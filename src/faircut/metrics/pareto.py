"""What is best when more than one figure counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["pareto_front"]


def pareto_front(points: Sequence[tuple[float, ...]]) -> list[bool]:
    """Say which points no other point beats: one at least as good in every figure and better in one (Pareto, 1906).

    Args:
        points: figures of which more is better; a point with NaN is on no front.

    Returns:
        For each point whether it is on the front; of equal points all are.
    """

    def beaten(point: tuple[float, ...]) -> bool:
        return any(
            all(b >= a for a, b in zip(point, other, strict=True)) and other != point
            for other in points
            if not any(map(math.isnan, other))
        )

    return [not any(map(math.isnan, point)) and not beaten(point) for point in points]
