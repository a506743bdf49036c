"""Whether an edit did what was asked, as the judge of a drawn clip sees it."""

from __future__ import annotations

from faircut.metrics.registry import Metric, register

__all__ = ["as_share", "edit_success"]


def edit_success(reached: bool, kept: bool) -> float:
    """Say whether an edit succeeded: what was asked for is there, and everything else is as it was.

    Args:
        reached: whether what was asked for is seen.
        kept: whether everything else is seen as in the source.

    Returns:
        1 or 0.
    """
    return float(reached and kept)


def as_share(seen: bool) -> float:
    """Return 1 for what is so and 0 for what is not, so that the mean over clips is the share of them."""
    return float(seen)


register(
    Metric(
        "edit_success", "edit success", "what was asked for is there, and the rest stayed", better="higher",
        aspect="success", needs=("reached", "kept"), function=edit_success, tables=("bench",),
    )
)  # fmt: skip
for _name, _label, _meaning in (
    ("reached", "reached", "what was asked for is there"),
    ("kept", "rest kept", "everything else stayed"),
):
    register(
        Metric(
            _name, _label, _meaning, better="higher", aspect="success", needs=(_name,), function=as_share,
            tables=("bench",), headline=False,
        )
    )  # fmt: skip
