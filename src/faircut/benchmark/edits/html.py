"""The HTML report of a benchmark of edits, with the leaderboard, plots and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faircut.benchmark.edits.items import EditItem
from faircut.benchmark.edits.jobs import BenchRecord
from faircut.benchmark.edits.leaderboard import BenchResult, ranked
from faircut.benchmark.page import MARKERS, error_bars, estimate_cell, failures, show_legend
from faircut.evaluate import metrics_of
from faircut.report.page import figure, image, picture, text, write_page

__all__ = ["plot_agreement", "plot_frames", "write_html"]

_SHOWN_PICTURES = 3
_CURVES = ("tem_con", "clip_t", "warp_error", "background_psnr")


def write_html(
    result: BenchResult, records: Sequence[BenchRecord], items: Mapping[str, EditItem], folder: Path
) -> Path:
    """Write ``report.html`` as one self-contained file.

    Args:
        result: Result of the benchmark.
        records: Records of the edits. The pictures are in ``folder/records``.
        items: Items by name.
        folder: Folder of the run.

    Returns:
        Path of the file.
    """
    facts = result.provenance
    parts = [
        f"<h1>Benchmark: {text(facts['benchmark']['name'])}</h1>",
        f"<p>{facts['benchmark']['items']} edits (<small>{text(facts['benchmark']['hash'])}</small>), model <b>"
        f"{text(facts['model']['name'])}</b> (<small>{text(facts['model']['fingerprint'])}</small>), "
        f"{facts['settings']['steps']} steps, seed {facts['settings']['seed']}; "
        f"CLIP is {text(facts['clip']['name'])}.</p>",
        "<p>Means over kinds of edits with 95% intervals (clips resampled within kinds). Consistency means little "
        "without agreement: an edit that changes nothing is as consistent as its source.</p>",
        _table(result),
        _kinds(result),
        "<h2>Plots</h2>",
        image(plot_agreement(result), "Consistency and preservation over agreement; right and up is better."),
        image(plot_frames(result), "Mean over clips, frame by frame."),
        "<h2>Best and worst</h2><p>First, middle and last frame, the source above and the edit below.</p>",
        *_pictures(result, records, items, folder),
        *failures(result.failed),
    ]
    return write_page("Benchmark", parts, folder / "report.html")


def _table(result: BenchResult) -> str:
    table = {name: m for name, m in metrics_of("bench").items() if any(name in by for by in result.results.values())}
    head = "".join(f"<th>{text(metric.heading)}</th>" for metric in table.values())
    rows = "".join(
        f"<tr><td>{text(method)}</td>"
        + "".join(f"<td>{estimate_cell(by[name]) if name in by else '-'}</td>" for name in table)
        + "</tr>"
        for method in ranked(result)
        for by in [result.results[method]]
    )
    return f"<table><tr><th>method</th>{head}</tr>{rows}</table>"


def _kinds(result: BenchResult) -> str:
    """Return a table of the share of successful edits, by kind."""
    kinds = list(dict.fromkeys(kind for by in result.kinds.values() for kind in by))
    if not kinds:
        return ""
    rows = "".join(
        f"<tr><td>{text(method)}</td>"
        + "".join(
            f"<td>{by[kind]['edit_success']:.2f} <small>of {by[kind]['n']:.0f}</small></td>"
            if kind in by
            else "<td>-</td>"
            for kind in kinds
        )
        + "</tr>"
        for method in ranked(result)
        if (by := result.kinds[method])
    )
    head = "".join(f"<th>{text(kind)}</th>" for kind in kinds)
    return f"<h3>Edit success by kind</h3><table><tr><th></th>{head}</tr>{rows}</table>"


def _pictures(
    result: BenchResult, records: Sequence[BenchRecord], items: Mapping[str, EditItem], folder: Path
) -> list[str]:
    parts = []
    for method in ranked(result):
        ordered = sorted((r for r in records if r.method == method), key=_worth, reverse=True)
        ends = (("best", ordered[:_SHOWN_PICTURES]), ("worst", ordered[_SHOWN_PICTURES:][-_SHOWN_PICTURES:]))
        for title, end in ends:
            if end:
                parts.append(f"<h3>{text(method)}: {title}</h3>")
            for record in end:
                item = items[record.item]
                parts.append(
                    picture(
                        folder / "records" / f"{record.key}.webp",
                        f"{item.source_prompt} → {item.prompt} ({_caption(record)})",
                    )
                )
    return parts


def _worth(record: BenchRecord) -> tuple[float, float, float]:
    """Return the sorting key of an edit: success first, then agreement with the prompt, then preservation."""
    figures = (record.figures.get(name, math.nan) for name in ("edit_success", "frame_acc", "background_psnr"))
    first, second, third = (-math.inf if math.isnan(value) else value for value in figures)
    return first, second, third


def _caption(record: BenchRecord) -> str:
    table = metrics_of("bench")
    return ", ".join(
        f"{table[name].label} {record.figures[name]:.3g}"
        for name in ("reached", "kept", "clip_t", "tem_con", "background_psnr")
        if name in record.figures
    )


def plot_agreement(result: BenchResult) -> Any:
    """Plot consistency and preservation over agreement, with a point for each method; return a matplotlib Figure."""
    table, drawn = metrics_of("bench"), figure(13, 4.5)
    judged = any(by["edit_success"].n for by in result.results.values())
    across = "edit_success" if judged else "clip_t"
    for axes, name in zip(drawn.subplots(1, 3), ("tem_con", "background_psnr", "warp_ssim"), strict=True):
        for number, method in enumerate(result.results):
            x, y = (result.results[method][key] for key in (across, name))
            if x.n and y.n:
                axes.errorbar(
                    x.value, y.value, error_bars([y]), error_bars([x]), fmt=MARKERS[number % len(MARKERS)],
                    color=f"C{number % 10}", capsize=2, lw=0.8, label=method,
                )  # fmt: skip
        axes.set_xlabel(table[across].label)
        axes.set_title(table[name].label)
        axes.grid(alpha=0.3)
    show_legend(drawn, 0, "outside right upper", fontsize=8)
    return drawn


def plot_frames(result: BenchResult) -> Any:
    """Plot metrics over the frames, with a line for each method; return a matplotlib Figure."""
    names = [name for name in _CURVES if any(name in by for by in result.curves.values())]
    table, drawn = metrics_of("bench"), figure(13, 3.6)
    for axes, name in zip(drawn.subplots(1, max(1, len(names)), squeeze=False).flat, names, strict=False):
        for number, (method, by) in enumerate(result.curves.items()):
            if name in by:
                # The value of a pair of frames is drawn between the two frames.
                positions = [i + 0.5 * (table[name].per == "pair") for i in range(len(by[name]))]
                style = "-" if number < 10 else "--"
                axes.plot(positions, by[name], style, color=f"C{number % 10}", lw=1.2, label=method)
        axes.set_title(table[name].label, fontsize=10)
        axes.grid(alpha=0.3)
    show_legend(drawn, 0, "outside right upper", fontsize=8)
    return drawn
