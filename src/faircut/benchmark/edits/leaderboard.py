"""The result of a benchmark of edits: every metric of every method, with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faircut.benchmark.edits.jobs import BenchRecord
from faircut.benchmark.results import figures_of, is_measured, read_result
from faircut.errors import ConfigError, choices
from faircut.evaluate import metrics_of
from faircut.metrics import Estimate, Metric, estimate, macro_average

__all__ = ["BenchResult", "compare", "load_leaderboard", "markdown", "markdown_pairs", "ranked", "summarise"]

_FORMAT = 2
_REFERENCE = "fatezero"


def _paired_metrics() -> dict[str, Metric]:
    """Return the metrics for which the difference between FateZero and a method is meaningful."""
    metrics = metrics_of("bench")
    return {name: metric for name, metric in metrics.items() if metric.better != "none" and metric.aspect != "cost"}


@dataclass(frozen=True)
class BenchResult:
    """The result of a benchmark, with its provenance.

    Attributes:
        results: Estimates, averaged over kinds of edits, by method and metric.
        kinds: Share of successful edits and their number, by method and kind; empty without a judge.
        curves: Means over items, frame by frame, by method and metric.
        pairs: FateZero's figure minus the method's, clip by clip and averaged over kinds, by method and metric; empty
            without FateZero.
        provenance: Benchmark, model, settings, CLIP and versions.
        failed: One line for each failed edit.
        format: Version of the file's layout.
    """

    results: Mapping[str, Mapping[str, Estimate]]
    kinds: Mapping[str, Mapping[str, Mapping[str, float]]]
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(metadata={"finite": False})
    pairs: Mapping[str, Mapping[str, Estimate]]
    provenance: Mapping[str, Any]
    failed: tuple[str, ...] = ()
    format: int = field(default=_FORMAT)

    def __post_init__(self) -> None:
        table = metrics_of("bench")
        for part, metrics in (("results", table), ("pairs", _paired_metrics())):
            for method, by in getattr(self, part).items():
                for name, metric in metrics.items():
                    # A metric of another package may have been installed after the run.
                    if name not in by and metric.built_in:
                        raise ConfigError(f"{part}.{method} lacks the metric {name}; run the benchmark again")
                for name in by:
                    if name not in table:
                        raise ConfigError(
                            f"{part}.{method}: there is no metric {name!r}: {choices(name, table)}; if another package "
                            "provides it, install that package"
                        )
                if min(estimate.n for estimate in by.values()) < 0:
                    raise ConfigError(f"{part}.{method} has an n below 0; run the benchmark again")


def summarise(records: Sequence[BenchRecord], seed: int = 0) -> dict[str, Any]:
    """Estimate every metric of every method.

    Args:
        records: Records of all edits.
        seed: Seed of the bootstrap, which draws clips within kinds.

    Returns:
        ``results``, ``kinds``, ``curves`` and ``pairs`` of a `BenchResult`.
    """
    by_method: dict[str, list[BenchRecord]] = {}
    for record in records:
        by_method.setdefault(record.method, []).append(record)
    reference = {record.item: record for record in by_method.get(_REFERENCE, [])}
    results: dict[str, dict[str, Estimate]] = {}
    kinds: dict[str, dict[str, dict[str, float]]] = {}
    pairs: dict[str, dict[str, Estimate]] = {}
    for method, rows in by_method.items():
        groups: dict[str, list[BenchRecord]] = {}
        for row in rows:
            groups.setdefault(row.kind, []).append(row)
        figures = [[figures_of(row, "bench", _facts(row, reference)) for row in group] for group in groups.values()]
        results[method] = {
            name: _estimated([[edit[name] for edit in group] for group in figures], metric, seed)
            for name, metric in metrics_of("bench").items()
        }
        if reference and method != _REFERENCE:
            pairs[method] = {
                name: _paired(groups.values(), metric, reference, seed) for name, metric in _paired_metrics().items()
            }
        kinds[method] = {
            kind: {"edit_success": sum(s) / len(s), "n": float(len(s))}
            for kind, group in groups.items()
            if (s := [row.figures["edit_success"] for row in group if "edit_success" in row.figures])
        }
    curves = {method: _curves(rows) for method, rows in by_method.items()}
    return {"results": results, "kinds": kinds, "curves": curves, "pairs": pairs}


def _facts(record: BenchRecord, reference: Mapping[str, BenchRecord]) -> dict[str, float]:
    """Return FateZero's time for the same clip as an input of metrics, if FateZero edited that clip."""
    same = reference.get(record.item)
    return {} if same is None else {"reference_seconds": same.seconds + same.preparing}


def _paired(
    groups: Iterable[Sequence[BenchRecord]], metric: Metric, reference: Mapping[str, BenchRecord], seed: int
) -> Estimate:
    """Estimate FateZero's difference from a method clip by clip, so that hard clips count equally for both."""
    name = metric.name
    return _estimated(
        [
            [
                reference[row.item].figures.get(name, math.nan) - row.figures.get(name, math.nan)
                for row in group
                if row.item in reference
            ]
            for group in groups
        ],
        metric,
        seed,
    )


def _estimated(groups: Sequence[Sequence[float]], metric: Metric, seed: int) -> Estimate:
    """Estimate a metric over kinds, with clips resampled within kinds, or kinds resampled if one has a single clip.

    A single clip does not show how clips of its kind vary, and an interval of length 0 would be read as certainty.
    """
    measured = [[value for value in group if not math.isnan(value)] for group in groups]
    measured = [group for group in measured if group]
    if not measured or min(map(len, measured)) > 1:
        return estimate(measured, metric.average, seed=seed)
    drawn = estimate([[sum(group) / len(group) for group in measured]], macro_average, seed=seed)
    return replace(drawn, n=sum(map(len, measured)))


def _curves(rows: Sequence[BenchRecord]) -> dict[str, list[float]]:
    """Average the curves of those clips that have the maximum length."""
    means = {}
    for name in dict.fromkeys(name for row in rows for name in row.curves):
        curves = [row.curves[name] for row in rows if name in row.curves]
        longest = max(map(len, curves))
        whole = [curve for curve in curves if len(curve) == longest]
        means[name] = [sum(values) / len(whole) for values in zip(*whole, strict=True)]
    return means


def markdown(result: BenchResult, columns: Sequence[str] | None = None) -> str:
    """Return the leaderboard as a Markdown table, the most successful method first.

    Args:
        result: Result of the benchmark.
        columns: Names of the metrics to show. None shows all that were measured.
    """
    table = metrics_of("bench")
    names = tuple(table) if columns is None else columns
    return _table(result.results, ranked(result), {name: table[name] for name in names}, arrows=True)


def markdown_pairs(result: BenchResult) -> str:
    """Return FateZero's paired differences from every other method as a Markdown table."""
    methods = [method for method in ranked(result) if method in result.pairs]
    return _table(result.pairs, methods, _paired_metrics(), arrows=False)


def _table(
    results: Mapping[str, Mapping[str, Estimate]],
    methods: Sequence[str],
    metrics: Mapping[str, Metric],
    *,
    arrows: bool,
) -> str:
    """Return a Markdown table of the metrics that were measured for some method."""
    empty = Estimate(math.nan, 0, math.nan, math.nan)
    shown = {
        name: metric
        for name, metric in metrics.items()
        if any(is_measured(results[method].get(name, empty)) for method in methods)
    }
    heads = [metric.heading if arrows else metric.label for metric in shown.values()]
    lines = [
        f"| {' | '.join(['method', 'n', *heads])} |",
        f"| {' | '.join(['---', '---:', *('---:' for _ in shown)])} |",
    ]
    for method in methods:
        by = results[method]
        n = max(estimate.n for estimate in by.values())
        cells = (_cell(by.get(name, empty)) for name in shown)
        lines.append(f"| {' | '.join([method, str(n), *cells])} |")
    return "\n".join(lines) + "\n"


def ranked(result: BenchResult) -> list[str]:
    """Return the methods, the most successful first; without a judge, the best agreement with the prompt first."""

    def worth(method: str) -> tuple[float, float]:
        by = result.results[method]
        return tuple(-math.inf if math.isnan(by[name].value) else by[name].value for name in ("edit_success", "clip_t"))  # type: ignore[return-value]

    return sorted(result.results, key=worth, reverse=True)


def _cell(estimate: Estimate) -> str:
    if not is_measured(estimate):
        return "-"
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"


def compare(first: BenchResult, second: BenchResult) -> list[tuple[str, str, Estimate, Estimate, bool]]:
    """Compare the methods and metrics that two runs have in common.

    Returns:
        (method, metric, estimate of the first run, estimate of the second run, whether the intervals do not overlap),
        in the order of the first run.
    """
    rows = []
    for method, by in first.results.items():
        for name, a in by.items():
            b = second.results.get(method, {}).get(name)
            if b is not None and a.n and b.n:
                rows.append((method, name, a, b, a.high < b.low or b.high < a.low))
    return rows


def load_leaderboard(path: str | Path) -> BenchResult:
    """Read the result of a benchmark.

    Raises:
        ConfigError: If the file cannot be read, or has another format.
    """
    return read_result(path, "the benchmark's result", _FORMAT, BenchResult)
