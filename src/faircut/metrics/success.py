"""Metrics of whether an edit succeeded, as the judge of a drawn clip sees it."""

from __future__ import annotations

from faircut.metrics.registry import Metric, register

__all__ = ["as_share", "edit_success"]


def edit_success(reached: bool, kept: bool) -> float:
    """Return whether an edit succeeded: it shows the requested change, and everything else is unchanged.

    Args:
        reached: Whether the requested change is seen.
        kept: Whether everything else is seen as in the source.

    Returns:
        1 or 0.
    """
    return float(reached and kept)


def as_share(seen: bool) -> float:
    """Return 1 for True and 0 for False, so that the mean over clips is a share."""
    return float(seen)


register(
    Metric(
        "edit_success", "edit success", "requested change is seen, everything else is unchanged", better="higher",
        aspect="success", needs=("reached", "kept"), function=edit_success, tables=("bench",),
    )
)  # fmt: skip
for _name, _label, _meaning in (
    ("reached", "reached", "requested change is seen"),
    ("kept", "rest kept", "everything else is unchanged"),
):
    register(
        Metric(
            _name, _label, _meaning, better="higher", aspect="success", needs=(_name,), function=as_share,
            tables=("bench",), headline=False,
        )
    )  # fmt: skip
