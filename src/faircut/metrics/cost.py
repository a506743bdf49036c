"""Metrics of the time that an edit takes."""

from __future__ import annotations

import math

from faircut.metrics.registry import Metric, register

__all__ = ["seconds", "time_ratio"]


def seconds(edit: float, preparing: float) -> float:
    """Return the time of an edit, including its method's preparation of the clip.

    Args:
        edit: Seconds that the edit takes.
        preparing: Seconds that the method's preparation of the clip takes, beyond the plain inversion.

    Returns:
        Sum of both in seconds. Lower is better.
    """
    return edit + preparing


def time_ratio(seconds: float, reference: float) -> float:
    """Return the time of an edit as a multiple of FateZero's time for the same clip.

    Times are compared clip by clip, because clips differ, and so does the load of the machine over a long run.

    Args:
        seconds: Seconds of the edit.
        reference: Seconds of FateZero's edit.

    Returns:
        Quotient of the two; NaN if the reference is 0. Lower is better.
    """
    return seconds / reference if reference else math.nan


register(
    Metric(
        "seconds", "seconds", "time of the edit and of its method's preparation of the clip", better="lower",
        aspect="cost",
        needs=("edit_seconds", "preparing_seconds"), function=seconds, tables=("bench", "audit"),
    )
)  # fmt: skip
register(
    Metric(
        "time_ratio", "of FateZero's time", "time as a multiple of FateZero's", better="lower", aspect="cost",
        needs=("seconds", "reference_seconds"), function=time_ratio, tables=("bench",),
    )
)  # fmt: skip
