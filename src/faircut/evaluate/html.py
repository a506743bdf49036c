"""The HTML report of an evaluation: the table of metrics, their curves and the provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faircut.evaluate.measure import Measure, metrics_of
from faircut.evaluate.run import Evaluation
from faircut.metrics import Metric
from faircut.report.page import figure, image, text, write_page

__all__ = ["plot_curves", "write_html"]


def write_html(evaluation: Evaluation, path: str | Path) -> Path:
    """Write the report as one self-contained page.

    Args:
        evaluation: The evaluation to show.
        path: Path of the file.

    Returns:
        Path of the file.
    """
    settings = evaluation.settings
    table = metrics_of("evaluate")
    rows = [_row(table[name], measure) for name, measure in evaluation.measures.items()]
    clips = [("edit", evaluation.edited), ("source", evaluation.source), ("mask", evaluation.mask)]
    versions = ", ".join(f"{name} {value}" for name, value in evaluation.environment.versions.items())
    parts = [
        f"<h1>Evaluation of {text(Path(settings['edited']).name)}</h1>",
        f"<p>“{text(settings['source_prompt'])}” → “{text(settings['prompt'])}”</p>",
        "<table><tr><th>metric</th><th>edit</th><th>source</th><th>better</th><th>meaning</th></tr>",
        *rows,
        "</table><p><small>The column source shows the same metric, measured on the source clip.</small></p>",
        image(plot_curves(evaluation), "The metrics, frame by frame."),
        "<ul>",
        *(f"<li>{text(note)}</li>" for note in evaluation.notes),
        "</ul><h2>Provenance</h2><ul>",
        *(
            f"<li>{kind}: {text(facts['path'])}, {facts['frames']} frames of {facts['width']}x{facts['height']}, "
            f"<small>{text(facts['hash'])}</small></li>"
            for kind, facts in clips
            if facts is not None
        ),
        f"<li>CLIP: {text(evaluation.clip['name'])}, <small>{text(evaluation.clip['fingerprint'])}</small></li>",
        f"<li>{text(versions)}</li></ul>",
    ]
    return write_page("Evaluation", parts, path)


def plot_curves(evaluation: Evaluation) -> Any:
    """Plot every metric that has a curve over the frames; return a matplotlib Figure."""
    table = metrics_of("evaluate")
    curves = {name: measure for name, measure in evaluation.measures.items() if measure.of != "clip"}
    rows = -(-len(curves) // 2)
    drawn = figure(11, 1.9 * rows)
    for axes, (name, measure) in zip(drawn.subplots(rows, 2, squeeze=False).flat, curves.items(), strict=False):
        # The value of a pair of frames is drawn between the two frames.
        positions = [i + 0.5 * (measure.of == "pair") for i in range(len(measure.series))]
        axes.plot(
            positions, [float("nan") if value is None else value for value in measure.series], "o-", ms=3, color="C0"
        )
        if measure.value is not None:
            axes.axhline(measure.value, color="C0", lw=0.8, ls="--")
        if measure.source is not None:
            axes.axhline(measure.source, color="0.5", lw=0.8, ls=":")
        axes.set_title(table[name].label, fontsize=9)
        axes.set_xlim(-0.5, evaluation.edited["frames"] - 0.5)
        axes.grid(alpha=0.3)
    for axes in drawn.axes[len(curves) :]:
        axes.set_visible(False)
    drawn.suptitle("By frame (dashed: figure of the edited clip; dotted: figure of the source)", fontsize=9)
    return drawn


def _row(metric: Metric, measure: Measure) -> str:
    better = "\u2013" if metric.better == "none" else metric.better
    cells = ("\u2013" if value is None else f"{value:.4g}" for value in (measure.value, measure.source))
    return (
        f"<tr><td>{text(metric.label)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}<td>{better}</td>"
        f"<td>{text(metric.meaning)}</td></tr>"
    )
