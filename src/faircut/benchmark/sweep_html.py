"""The HTML report of a sweep: a plot of the trade-off and a picture of every edit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faircut.benchmark.page import failures
from faircut.benchmark.store import Store
from faircut.benchmark.sweep_points import Sweep, SweepPoint
from faircut.edit.request import RunSettings
from faircut.evaluate import metrics_of
from faircut.report.page import figure, image, picture, text, write_page

__all__ = ["plot_sweep", "write_html"]


def plot_sweep(sweep: Sweep) -> Any:
    """Plot consistency over agreement with the Pareto front and the source; return a matplotlib Figure."""
    drawn = figure(8, 5)
    axes = drawn.subplots()
    names = sweep.agreement, sweep.consistency

    def at(figures: Mapping[str, float]) -> list[float]:
        return [figures.get(name, math.nan) for name in names]

    axes.scatter(*zip(*(at(p.figures) for p in sweep.points), strict=True), color="0.6", s=18, label="edits")
    front = [p for p in sweep.points if p.front and all(map(math.isfinite, at(p.figures)))]
    if front:
        axes.plot(*zip(*(at(p.figures) for p in front), strict=True), "o-", color="C0", label="front")
    for number, point in enumerate(front):
        axes.annotate(str(number + 1), at(point.figures), xytext=(4, 4), textcoords="offset points", fontsize=9)
    axes.scatter(*at(sweep.source), marker="x", color="C3", label="source")
    table = metrics_of("evaluate")
    axes.set_xlabel(f"{table[names[0]].label}: {table[names[0]].meaning}")
    axes.set_ylabel(f"{table[names[1]].label}: {table[names[1]].meaning}")
    axes.grid(alpha=0.3)
    axes.legend()
    return drawn


def write_html(sweep: Sweep, settings: RunSettings, store: Store[SweepPoint], path: Path) -> None:
    """Write ``sweep.html`` as one self-contained file.

    Args:
        sweep: Result of the sweep.
        settings: Settings of the edits.
        store: Store with the pictures of the edits.
        path: Path of the file.
    """
    front = [point for point in sweep.points if point.front]
    names = sweep.agreement, sweep.consistency
    parts = [
        f"<h1>Sweep of {text(settings.method['name'])}</h1>",
        f"<p>“{text(settings.source_prompt)}” → “{text(settings.prompt)}”, {len(sweep.points)} edits</p>",
        *(
            [
                image(
                    plot_sweep(sweep),
                    "Right is better agreement, up is better consistency; none beats the front in both.",
                )
            ]
            if any(math.isfinite(sum(p.figures.get(n, math.nan) for n in names)) for p in sweep.points)
            else ["<p>There is nothing to plot, because no edit has a figure for both metrics.</p>"]
        ),
        "<h2>The Pareto front</h2><p>First, middle and last frame, the source above and the edit below.</p>",
        *(
            picture(store.picture(point.key), f"{number + 1}: {_caption(point, sweep)}")
            for number, point in enumerate(front)
        ),
        "<h2>All others</h2>",
        *(picture(store.picture(point.key), _caption(point, sweep)) for point in sweep.points if not point.front),
        *failures(sweep.failed),
    ]
    write_page("Sweep", parts, path)


def _caption(point: SweepPoint, sweep: Sweep) -> str:
    options = ", ".join(f"{name} {value}" for name, value in point.options.items())
    table = metrics_of("evaluate")
    figures = ", ".join(
        f"{table[name].label} {point.figures[name]:.3g}"
        for name in (sweep.agreement, sweep.consistency)
        if name in point.figures
    )
    return f"{options} ({figures})"
