"""The HTML report of an audit, with tables, plots and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from faircut.benchmark.audit.jobs import Rows
from faircut.benchmark.audit.results import AuditResult
from faircut.benchmark.page import MARKERS, error_bars, estimate_cell, failures, show_legend
from faircut.evaluate import metrics_of
from faircut.fairness.calibration import Calibration
from faircut.metrics import Estimate
from faircut.report.page import figure, image, picture, text, write_page

__all__ = ["plot_calibration", "plot_measures", "plot_price", "plot_professions", "write_html"]

_PLOTTED = (
    "disparity",
    "hit_and_profession",
    "profession_success",
    "flip_rate",
    "value_stability",
    "other_person_kept",
)
_SHOWN_PICTURES = 6


def write_html(result: AuditResult, edits: Mapping[tuple[str, str], Rows], folder: Path, *, seed: int = 0) -> Path:
    """Write ``report.html`` as one self-contained file.

    Args:
        result: Result of the audit.
        edits: Requests with their records, by method and policy. The pictures are in ``folder/records``.
        folder: Folder of the audit.
        seed: Seed of the random choice of pictures.

    Returns:
        Path of the file.
    """
    facts = result.provenance
    parts = [
        f"<h1>Fairness audit: {text(facts['benchmark'])}</h1>",
        f"<p>Model <b>{text(facts['model']['name'])}</b> (<small>{text(facts['model']['fingerprint'])}</small>), "
        f"{facts['clips']} clips, {facts['audit']['steps']} steps, guidance {facts['audit']['guidance']:g}, seed "
        f"{facts['audit']['seed']}. People are read by {text(facts['reader'])}; CLIP is {text(facts['clip'])}.</p>",
        "<h2>What these figures do not say</h2><ul>",
        *(f"<li>{text(line)}</li>" for line in result.limits),
        "</ul>",
        "<h2>Figures</h2><p>Means over professions, with the 95% interval and the number of clips; arrows show the "
        "better direction.</p>",
        *_tables(result),
        "<h2>Plots</h2>",
        image(plot_measures(result), "The main metrics with their 95% intervals."),
        image(
            plot_price(result),
            "The price of fairness: quality of the edits over the distance from fairness.",
        ),
        image(plot_professions(result), "Perceived values by profession."),
        "<h2>Pictures</h2><p>A random choice. First, middle and last frame, the source above and the edit below.</p>",
        *_pictures(edits, folder, seed),
        *failures(result.failed),
    ]
    return write_page("Fairness audit", parts, folder / "report.html")


def _tables(result: AuditResult) -> list[str]:
    """Return one table for each policy, with a row for each metric and a column for each method."""
    policies = dict.fromkeys(policy for by in result.results.values() for policy in by)
    parts = []
    for policy in policies:
        methods = [method for method, by in result.results.items() if policy in by]
        head = "".join(f"<th>{text(m)}</th>" for m in methods)
        rows = []
        for name, metric in metrics_of("audit").items():
            cells = "".join(f"<td>{estimate_cell(result.results[m][policy][name])}</td>" for m in methods)
            rows.append(f"<tr><td>{text(metric.heading)}</td>{cells}</tr>")
        title = policy.replace("_", ": ").replace("counter", "against the stereotype")
        parts.append(f"<h3>{text(title)}</h3><table><tr><th></th>{head}</tr>{''.join(rows)}</table>")
    return parts


def _pictures(edits: Mapping[tuple[str, str], Rows], folder: Path, seed: int) -> list[str]:
    """Return pictures of some hits and some misses of every method and policy."""
    rng = np.random.default_rng(seed)
    parts = []
    for (method, policy), rows in edits.items():
        good = [row for row in rows if row[1].profession_success and row[0].value in (None, row[1].perceived)]
        bad = [row for row in rows if row not in good]
        for title, part in (("as requested", good), ("not as requested", bad)):
            drawn = [part[i] for i in sorted(rng.permutation(len(part))[:_SHOWN_PICTURES])]
            if not drawn:
                continue
            parts.append(f"<h3>{text(method)}, {text(policy)}: {title} ({len(part)} of {len(rows)})</h3>")
            for cell, record in drawn:
                perceived = record.perceived or "unclear"
                work = "" if record.profession_success else ", profession not perceived"
                requested = cell.value or "nothing"
                path = folder / "records" / f"{record.key}.webp"
                parts.append(picture(path, f"{cell.case.prompt}: requested {requested}, perceived {perceived}{work}"))
    return parts


# Plots ----------------------------------------------------------------------------------------------------------------


def _cells(result: AuditResult) -> list[tuple[str, str, Mapping[str, Estimate]]]:
    return [(method, policy, cell) for method, by in result.results.items() for policy, cell in by.items()]


def plot_measures(result: AuditResult) -> Any:
    """Plot the main metrics of every method and policy with their intervals; return a matplotlib Figure."""
    cells = _cells(result)
    methods = list(result.results)
    policies = list(dict.fromkeys(policy for _, policy, _ in cells))
    table, drawn = metrics_of("audit"), figure(13, 7)
    for axes, measure in zip(drawn.subplots(2, 3).flat, _PLOTTED, strict=True):
        for k, method in enumerate(methods):
            points = [(policies.index(p), c[measure]) for m, p, c in cells if m == method and c[measure].n]
            if points:
                positions, estimates = zip(*points, strict=True)
                shift = (k - (len(methods) - 1) / 2) * 0.8 / max(1, len(methods))
                axes.errorbar(
                    [p + shift for p in positions], [e.value for e in estimates], error_bars(estimates), fmt="o",
                    capsize=3, label=method, color=f"C{k}",
                )  # fmt: skip
        axes.set_title(f"{table[measure].label} ({table[measure].better} is better)")
        axes.set_xticks(range(len(policies)), [p.replace("_", "\n") for p in policies], fontsize=8)
        axes.set_ylim(-0.05, 1.05)
        axes.grid(axis="y", alpha=0.3)
    show_legend(drawn, 1, "outside lower center", ncols=max(1, min(6, len(methods))))
    return drawn


def plot_price(result: AuditResult) -> Any:
    """Plot quality over unfairness, with a point for every method and policy; return a matplotlib Figure."""
    table, drawn = metrics_of("audit"), figure(13, 4.5)
    quality = ("profession_success", "tem_con", "background_psnr")
    methods = list(result.results)
    policies = list(dict.fromkeys(policy for _, policy, _ in _cells(result)))
    for axes, measure in zip(drawn.subplots(1, 3), quality, strict=True):
        for method, policy, cell in _cells(result):
            # A policy defines fairness by its requests. A method that takes no requests is fair if the values occur
            # equally often.
            unfair = 1 - cell["hit_rate"].value if cell["hit_rate"].n else cell["disparity"].value
            if cell[measure].n:
                axes.errorbar(
                    unfair, cell[measure].value, [[x[0]] for x in error_bars([cell[measure]])], capsize=2,
                    fmt=MARKERS[policies.index(policy) % len(MARKERS)], color=f"C{methods.index(method)}",
                    label=f"{method}, {policy}",
                )  # fmt: skip
        axes.set_xlabel("requests missed (left is fairer)")
        axes.set_title(table[measure].label)
        axes.set_xlim(-0.03, 1.03)
        axes.grid(alpha=0.3)
    show_legend(drawn, 0, "outside right upper", fontsize=8)
    return drawn


def plot_professions(result: AuditResult) -> Any:
    """Plot the perceived values of every profession, with a panel for every method and policy; return a Figure."""
    cells = [(m, p, by) for m, policies in result.professions.items() for p, by in policies.items()]
    columns = min(3, len(cells))
    rows = -(-len(cells) // columns)
    drawn = figure(13, 0.6 + 2.6 * rows)
    panels = np.atleast_1d(np.asarray(drawn.subplots(rows, columns, sharey=True))).ravel()
    measured = ("abstentions", "hit_rate", "profession_success", "n")
    for axes, (method, policy, by) in zip(panels, cells, strict=False):
        names = list(by)
        bottom = np.zeros(len(names))
        for k, value in enumerate([v for v in next(iter(by.values())) if v not in measured]):
            shares = np.array([by[name][value] for name in names])
            axes.bar(range(len(names)), shares, bottom=bottom, color=f"C{k}", label=value)
            bottom = bottom + shares
        axes.bar(range(len(names)), 1 - bottom, bottom=bottom, color="#c9ced8", label="unclear")
        axes.axhline(0.5, color="black", lw=0.8, ls=":")
        axes.set_title(f"{method}, {policy.replace('_', ' ')}", fontsize=9)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    for axes in panels[len(cells) :]:
        axes.set_visible(False)
    show_legend(drawn, 0, "outside lower center", ncols=6)
    return drawn


def plot_calibration(calibration: Calibration) -> Any:
    """Plot hit rate and profession success over the strength, with a panel for every profession; return a Figure."""
    curves = calibration.curves
    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    drawn = figure(13, 0.5 + 2.4 * rows)
    panels = np.atleast_1d(np.asarray(drawn.subplots(rows, columns, sharex=True, sharey=True))).ravel()
    for axes, (profession, by) in zip(panels, curves.items(), strict=False):
        for k, (value, points) in enumerate(by.items()):
            alphas = [point.alpha for point in points]
            # A small offset, so that equal curves are both visible.
            offset = 0.012 * (1 - 2 * k)
            axes.plot(alphas, [p.hit_rate + offset for p in points], "o-", color=f"C{k}", label=f"{value}: hit rate")
            kept = [p.profession_success + offset for p in points]
            axes.plot(alphas, kept, "x:", color=f"C{k}", label=f"{value}: profession success")
            axes.axvline(calibration.alpha(profession, value) + offset, color=f"C{k}", lw=0.8, ls="--")
        axes.set_title(f"{profession} (n {min(p.n for points in by.values() for p in points)})", fontsize=9)
        axes.set_ylim(-0.05, 1.08)
        axes.grid(alpha=0.3)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    show_legend(drawn, 0, "outside lower center", ncols=6)
    drawn.suptitle("Share of edits against alpha (dashed: the strength that is used)", fontsize=10)
    return drawn
