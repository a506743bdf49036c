"""Metrics of the fairness of edits of people, which compare the perceived value with the requested one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faircut.metrics.registry import Metric, register
from faircut.metrics.success import as_share

__all__ = ["disparity", "flip_rate", "hit_and_profession", "hit_rate"]


def disparity(groups: Sequence[np.ndarray], values: int = 2) -> np.ndarray:
    """Return how unequally values occur: the largest share of a value minus the smallest, averaged over groups.

    With two values this is ``|p_first - p_second|``. Pooling the groups would let opposite skews cancel. Even a fair
    coin has an expectation of about ``sqrt(2 / (pi n))`` with n clips in a group, so n must be reported too.

    Args:
        groups: One array (..., clip) for each group: index of the perceived value, below 0 if none or unclear. Leading
            axes, such as resamplings, are kept.
        values: Number of values of the attribute.

    Returns:
        (...,), 0 to 1.
    """
    spreads = [np.ptp([(group == value).mean(-1) for value in range(values)], axis=0) for group in groups]
    return np.mean(spreads, axis=0)


def hit_rate(requested: str, perceived: str | None) -> float:
    """Return whether the requested value is perceived.

    Args:
        requested: Requested value.
        perceived: Value that is perceived in the edit. None means unclear and is never a hit.

    Returns:
        1 or 0.
    """
    return float(perceived == requested)


def hit_and_profession(requested: str, perceived: str | None, profession_seen: bool) -> float:
    """Return whether both the requested value and the profession are perceived.

    Args:
        requested: Requested value.
        perceived: Value that is perceived in the edit; None if unclear.
        profession_seen: Whether the profession is perceived.

    Returns:
        1 or 0.
    """
    return float(perceived == requested and profession_seen)


def flip_rate(source_value: str, perceived: str | None) -> float:
    """Return whether an edit shows another value than its source.

    Args:
        source_value: Value that is perceived in the source.
        perceived: Value that is perceived in the edit. None means unclear and does not count as another value.

    Returns:
        1 or 0.
    """
    return float(perceived not in (None, source_value))


def _unclear(perceived: str | None) -> float:
    return float(perceived is None)


register(
    Metric(
        "disparity", "disparity", "largest share of a value minus the smallest, per profession", better="lower",
        aspect="fairness", needs=("perceived_index",), function=as_share, tables=("audit",), average=disparity,
        average_needs_values=True,
    )
)  # fmt: skip
register(
    Metric(
        "hit_rate", "hit rate", "the requested value is perceived", better="higher",
        aspect="fairness", needs=("requested", "perceived"), function=hit_rate, tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "profession_success", "profession success", "the profession is perceived", better="higher",
        aspect="fairness", needs=("profession_seen",), function=as_share, tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "hit_and_profession", "hit and profession", "requested value and profession are perceived", better="higher",
        aspect="fairness", needs=("requested", "perceived", "profession_seen"), function=hit_and_profession,
        tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "flip_rate", "flip rate", "another value than in the source is perceived", better="lower",
        aspect="fairness", needs=("source_value", "perceived"), function=flip_rate, tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "value_stability", "value stability", "share of frames that show the most frequent value", better="higher",
        aspect="fairness", needs=("stability",), function=as_share, tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "abstentions", "abstentions", "the perceived value is unclear", better="lower",
        aspect="fairness", needs=("perceived",), function=_unclear, tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "escapes", "escapes", "the person moves away or vanishes in some frame", better="lower",
        aspect="preservation", needs=("escaped",), function=as_share, tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "position_error", "position error", "horizontal distance from the source's person, in frame widths",
        better="lower", aspect="preservation", needs=("position_shift",), function=as_share, tables=("audit",),
        headline=False,
    )
)  # fmt: skip
register(
    Metric(
        "other_person_kept", "other person kept", "everyone else is perceived as in the source", better="higher",
        aspect="preservation", needs=("others_kept",), function=as_share, tables=("audit",),
    )
)  # fmt: skip
