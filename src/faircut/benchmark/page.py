"""HTML parts that the reports of all benchmarks share: table cells, error bars, legends, lists of failed edits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faircut.benchmark.results import is_measured
from faircut.metrics import Estimate
from faircut.report.page import text

__all__ = ["MARKERS", "error_bars", "estimate_cell", "failures", "show_legend"]

MARKERS = "osD^vPX*"
"""Marker shapes for plots, as matplotlib names them."""


def estimate_cell(estimate: Estimate) -> str:
    """Return an estimate as HTML: the value, its 95% interval and the number of clips."""
    if not is_measured(estimate):
        return "-"
    return f"{estimate.value:.3g}<br><small>{estimate.low:.3g} to {estimate.high:.3g}, n {estimate.n}</small>"


def error_bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Return the distances from the values to the lower and upper ends of their intervals, as matplotlib takes them."""
    return [[max(0.0, e.value - e.low) for e in estimates], [max(0.0, e.high - e.value) for e in estimates]]


def failures(lines: Sequence[str]) -> list[str]:
    """Return the list of failed edits as HTML parts, or an empty list if there are none."""
    if not lines:
        return []
    return ["<h2>Failed edits</h2><ul>", *(f"<li>{text(line)}</li>" for line in lines), "</ul>"]


def show_legend(drawn: Any, panel: int, where: str, **options: Any) -> None:
    """Draw one legend for a whole matplotlib Figure.

    Args:
        drawn: The matplotlib Figure.
        panel: Index of the panel whose lines the legend names.
        where: Position of the legend, such as ``"outside lower center"``.
        options: Keyword arguments for matplotlib's ``legend``.
    """
    handles, labels = drawn.axes[panel].get_legend_handles_labels()
    drawn.legend(handles, labels, loc=where, **options)
