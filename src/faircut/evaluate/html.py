"""The evaluation as one HTML file: the table, the curves, and where the figures come from."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

from faircut.evaluate.measure import KINDS, Measure
from faircut.evaluate.run import Evaluation
from faircut.files import atomic_path

__all__ = ["plot_curves", "write_html"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330 }
table { border-collapse: collapse; margin: .8rem 0 1.6rem } td, th { padding: .25rem .7rem; text-align: right }
th { border-bottom: 1px solid #9aa4b5 } td:first-child, th:first-child, td:last-child, th:last-child { text-align: left }
small { color: #5b6577 } img { max-width: 100% }
"""


def write_html(evaluation: Evaluation, path: str | Path) -> Path:
    """Write a page with everything in it that it shows.

    Args:
        evaluation: what was found.
        path: where.

    Returns:
        The path.
    """
    settings = evaluation.settings
    rows = [_row(name, measure) for name, measure in evaluation.measures.items()]
    clips = [("edit", evaluation.edited), ("source", evaluation.source), ("mask", evaluation.mask)]
    versions = ", ".join(f"{name} {value}" for name, value in evaluation.environment.versions.items())
    parts = [
        f"<h1>Evaluation of {_text(Path(settings['edited']).name)}</h1>",
        f"<p>“{_text(settings['source_prompt'])}” → “{_text(settings['prompt'])}”</p>",
        "<table><tr><th>metric</th><th>edit</th><th>source</th><th>better</th><th>what it says</th></tr>",
        *rows,
        "</table><p><small>The source's figures are what the same metric finds in the source itself.</small></p>",
        f"<img src='data:image/png;base64,{_png(plot_curves(evaluation))}' alt='The metrics frame by frame'>",
        "<ul>",
        *(f"<li>{_text(note)}</li>" for note in evaluation.notes),
        "</ul><h2>Where the figures come from</h2><ul>",
        *(
            f"<li>{kind}: {_text(facts['path'])}, {facts['frames']} frames of {facts['width']}x{facts['height']}, "
            f"<small>{_text(facts['hash'])}</small></li>"
            for kind, facts in clips
            if facts is not None
        ),
        f"<li>CLIP: {_text(evaluation.clip['name'])}, <small>{_text(evaluation.clip['fingerprint'])}</small></li>",
        f"<li>{_text(versions)}</li></ul>",
    ]
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Evaluation</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def plot_curves(evaluation: Evaluation) -> Any:
    """Draw every metric that has a curve over the frames; returns a matplotlib Figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = {name: measure for name, measure in evaluation.measures.items() if measure.of != "clip"}
    rows = -(-len(curves) // 2)
    figure = Figure(figsize=(11, 1.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, measure) in zip(figure.subplots(rows, 2, squeeze=False).flat, curves.items(), strict=False):
        # A pair's value stands between its two frames.
        places = [i + 0.5 * (measure.of == "pair") for i in range(len(measure.series))]
        axes.plot(
            places, [float("nan") if value is None else value for value in measure.series], "o-", ms=3, color="C0"
        )
        if measure.value is not None:
            axes.axhline(measure.value, color="C0", lw=0.8, ls="--")
        if measure.source is not None:
            axes.axhline(measure.source, color="0.5", lw=0.8, ls=":")
        axes.set_title(KINDS[name].label, fontsize=9)
        axes.set_xlim(-0.5, evaluation.edited["frames"] - 0.5)
        axes.grid(alpha=0.3)
    for axes in figure.axes[len(curves) :]:
        axes.set_visible(False)
    figure.suptitle("By frame (dashed: the clip's figure; dotted: the source's own)", fontsize=9)
    return figure


def _row(name: str, measure: Measure) -> str:
    kind = KINDS[name]
    better = {True: "higher", False: "lower", None: "\u2013"}[kind.higher_is_better]
    cells = ("\u2013" if value is None else f"{value:.4g}" for value in (measure.value, measure.source))
    return (
        f"<tr><td>{kind.label}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}<td>{better}</td>"
        f"<td>{_text(kind.meaning)}</td></tr>"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
