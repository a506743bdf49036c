"""What the reports of all benchmarks share: estimates in tables, error bars, lists of failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faircut.benchmark.results import is_measured
from faircut.metrics import Estimate
from faircut.report.page import text

__all__ = ["MARKERS", "error_bars", "estimate_cell", "failures", "show_legend"]

MARKERS = "osD^vPX*"
"""Shapes of points in plots."""


def estimate_cell(estimate: Estimate) -> str:
    """Return an estimate as HTML: the figure, its 95% interval and how many clips it is of."""
    if not is_measured(estimate):
        return "-"
    return f"{estimate.value:.3g}<br><small>{estimate.low:.3g} to {estimate.high:.3g}, n {estimate.n}</small>"


def error_bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Return how far the intervals reach below and above the figures, as matplotlib takes them."""
    return [[max(0.0, e.value - e.low) for e in estimates], [max(0.0, e.high - e.value) for e in estimates]]


def failures(lines: Sequence[str]) -> list[str]:
    """Return the list of edits that could not be made as HTML; nothing where there are none."""
    if not lines:
        return []
    return ["<h2>Edits that could not be made</h2><ul>", *(f"<li>{text(line)}</li>" for line in lines), "</ul>"]


def show_legend(drawn: Any, panel: int, where: str, **options: Any) -> None:
    """Draw one legend for a whole Figure.

    Args:
        drawn: a matplotlib Figure.
        panel: number of the panel whose lines it names.
        where: beside the panels, such as ``"outside lower center"``.
        options: of matplotlib's ``legend``.
    """
    handles, labels = drawn.axes[panel].get_legend_handles_labels()
    drawn.legend(handles, labels, loc=where, **options)
