"""What an edit costs in time."""

from __future__ import annotations

import math

from faircut.metrics.registry import Metric, register

__all__ = ["seconds", "time_ratio"]


def seconds(edit: float, preparing: float) -> float:
    """Return how long an edit takes, with what its method needs once for a clip.

    Args:
        edit: seconds of the edit.
        preparing: seconds of what the method needs once for the clip, beside the plain inversion.

    Returns:
        Their sum. Lower is better.
    """
    return edit + preparing


def time_ratio(seconds: float, reference: float) -> float:
    """Return how long an edit takes as a multiple of FateZero's time for the same clip.

    On the same clip, because clips differ, and so does what else a computer does in an hour.

    Args:
        seconds: of the edit.
        reference: of FateZero's.

    Returns:
        The quotient; NaN where FateZero took no time. Lower is better.
    """
    return seconds / reference if reference else math.nan


register(
    Metric(
        "seconds", "seconds", "of the edit, and what its method needs once for a clip", better="lower", aspect="cost",
        needs=("edit_seconds", "preparing_seconds"), function=seconds, tables=("bench", "audit"),
    )
)  # fmt: skip
register(
    Metric(
        "time_ratio", "of FateZero's time", "time as a multiple of FateZero's", better="lower", aspect="cost",
        needs=("seconds", "reference_seconds"), function=time_ratio, tables=("bench",),
    )
)  # fmt: skip
