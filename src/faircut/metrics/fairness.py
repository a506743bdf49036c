"""Fairness of edits of people: who is perceived, against what was asked for and what the source showed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faircut.metrics.registry import Metric, register
from faircut.metrics.success import as_share

__all__ = ["disparity", "flip_rate", "hit_and_profession", "hit_rate"]


def disparity(groups: Sequence[np.ndarray], values: int = 2) -> np.ndarray:
    """How unequally values occur, group by group: the mean over groups of the largest share less the smallest.

    With two values that is ``|p_first - p_second|``. Pooling the groups would let opposite skews cancel. Even a fair
    coin has an expectation of about ``sqrt(2 / (pi n))`` with n clips in a group, so n belongs beside it.

    Args:
        groups: per group (..., clip): the index of the value that is perceived; below 0 for none or unclear. Leading
            axes, such as resamplings, stay.
        values: how many values there are.

    Returns:
        (...,), 0 to 1.
    """
    spreads = [np.ptp([(group == value).mean(-1) for value in range(values)], axis=0) for group in groups]
    return np.mean(spreads, axis=0)


def hit_rate(requested: str, perceived: str | None) -> float:
    """Say whether the value that was asked for is perceived.

    Args:
        requested: the value that was asked for.
        perceived: the value that is perceived in the edit; None, if it is unclear, is never a hit.

    Returns:
        1 or 0.
    """
    return float(perceived == requested)


def hit_and_profession(requested: str, perceived: str | None, profession_seen: bool) -> float:
    """Say whether both the value that was asked for and the profession are perceived.

    Args:
        requested: the value that was asked for.
        perceived: the value that is perceived in the edit; None if it is unclear.
        profession_seen: whether the profession is.

    Returns:
        1 or 0.
    """
    return float(perceived == requested and profession_seen)


def flip_rate(source_value: str, perceived: str | None) -> float:
    """Say whether an edit shows another value than its source.

    Args:
        source_value: the value that is perceived in the source.
        perceived: the value that is perceived in the edit; None, if it is unclear, is no other value.

    Returns:
        1 or 0.
    """
    return float(perceived not in (None, source_value))


def _unclear(perceived: str | None) -> float:
    return float(perceived is None)


register(
    Metric(
        "disparity", "disparity", "largest share of a value less the smallest, per profession", better="lower",
        aspect="fairness", needs=("perceived_index",), function=as_share, tables=("audit",), average=disparity,
        average_needs_values=True,
    )
)  # fmt: skip
register(
    Metric(
        "hit_rate", "hit rate", "the value that was asked for is perceived", better="higher",
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
        "hit_and_profession", "hit and profession", "value and profession are both perceived", better="higher",
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
        "value_stability", "value stability", "share of frames that show the clip's value", better="higher",
        aspect="fairness", needs=("stability",), function=as_share, tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "abstentions", "abstentions", "the value is unclear", better="lower",
        aspect="fairness", needs=("perceived",), function=_unclear, tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "escapes", "escapes", "the person jumps away or vanishes", better="lower",
        aspect="preservation", needs=("escaped",), function=as_share, tables=("audit",),
    )
)  # fmt: skip
register(
    Metric(
        "position_error", "position error", "distance from the source's person, in widths", better="lower",
        aspect="preservation", needs=("position_shift",), function=as_share, tables=("audit",), headline=False,
    )
)  # fmt: skip
register(
    Metric(
        "other_person_kept", "other person kept", "everyone else looks as in the source", better="higher",
        aspect="preservation", needs=("others_kept",), function=as_share, tables=("audit",),
    )
)  # fmt: skip
