"""What a benchmark of edits found, as a typed value: every metric of every method with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faircut.benchmark.bench import EditRecord
from faircut.benchmark.files import read_result
from faircut.errors import ConfigError, choices
from faircut.metrics import Estimate, estimate, macro_average

__all__ = ["COLUMNS", "BenchResult", "compare", "load_leaderboard", "markdown", "markdown_pairs", "ranked", "summarise"]

_FORMAT = 2

COLUMNS: dict[str, tuple[str, bool | None]] = {
    "edit_success": ("edit success", True),
    "reached": ("reached", True),
    "kept": ("rest kept", True),
    "clip_t": ("CLIP-T", True),
    "frame_acc": ("Frame-Acc", True),
    "tem_con": ("Tem-Con", True),
    "tem_con_ratio": ("Tem-Con / source's", True),
    "warp_error": ("Warp-Err", False),
    "warp_ssim": ("WarpSSIM", True),
    "q_edit": ("Q-edit", True),
    "background_psnr": ("background PSNR", True),
    "psnr": ("PSNR to source", None),
    "ssim": ("SSIM to source", None),
    "seconds": ("seconds", False),
    "time_ratio": ("of FateZero's time", False),
}
"""Every metric: what the leaderboard calls it, and whether more of it is better; None where neither is."""

_REFERENCE = "fatezero"
_PAIRED = tuple(
    name for name, (_, better) in COLUMNS.items() if better is not None and name not in ("seconds", "time_ratio")
)


@dataclass(frozen=True)
class BenchResult:
    """What a benchmark found, and with what.

    Attributes:
        results: by method and metric the estimate, averaged over kinds of edits.
        kinds: by method and kind the share of edits that succeeded, and how many there were; empty where nobody judges.
        curves: by method and metric, frame by frame, the mean over items.
        pairs: by method and metric FateZero's figure less the method's, clip by clip, averaged over kinds; empty without
            FateZero.
        provenance: benchmark, model, settings, instruments, versions.
        failed: one line for each edit that could not be made.
        format: version of this layout.
    """

    results: Mapping[str, Mapping[str, Estimate]]
    kinds: Mapping[str, Mapping[str, Mapping[str, float]]]
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(metadata={"finite": False})
    pairs: Mapping[str, Mapping[str, Estimate]]
    provenance: Mapping[str, Any]
    failed: tuple[str, ...] = ()
    format: int = field(default=_FORMAT)

    def __post_init__(self) -> None:
        for part, wanted in (("results", tuple(COLUMNS)), ("pairs", _PAIRED)):
            for method, by in getattr(self, part).items():
                for name in wanted:
                    if name not in by:
                        raise ConfigError(f"{part}.{method} lacks the metric {name}; run it again")
                for name in by:
                    if name not in COLUMNS:
                        raise ConfigError(f"{part}.{method} has no metric {name!r}: {choices(name, COLUMNS)}")
                if min(estimate.n for estimate in by.values()) < 0:
                    raise ConfigError(f"{part}.{method} has an n below 0; run it again")


def summarise(records: Sequence[EditRecord], seed: int = 0) -> dict[str, Any]:
    """Estimate every metric of every method.

    Args:
        records: of all edits.
        seed: of the bootstrap, which draws clips within kinds.

    Returns:
        ``results``, ``kinds``, ``curves`` and ``pairs`` of a `BenchResult`.
    """
    by_method: dict[str, list[EditRecord]] = {}
    # On the same clip, for clips differ, and so does what else a machine does in an hour.
    reference = {record.item: record for record in records if record.method == _REFERENCE}
    clock = {item: _seconds(record) for item, record in reference.items()}
    for record in records:
        by_method.setdefault(record.method, []).append(record)
    results: dict[str, dict[str, Estimate]] = {}
    kinds: dict[str, dict[str, dict[str, float]]] = {}
    pairs: dict[str, dict[str, Estimate]] = {}
    for method, rows in by_method.items():
        groups: dict[str, list[EditRecord]] = {}
        for row in rows:
            groups.setdefault(row.kind, []).append(row)
        results[method] = {
            name: _estimated([[_figure(row, name, clock) for row in group] for group in groups.values()], seed)
            for name in COLUMNS
        }
        if reference and method != _REFERENCE:
            pairs[method] = {name: _paired(groups.values(), name, reference, seed) for name in _PAIRED}
        kinds[method] = {
            kind: {"edit_success": sum(s) / len(s), "n": float(len(s))}
            for kind, group in groups.items()
            if (s := [row.figures["edit_success"] for row in group if "edit_success" in row.figures])
        }
    curves = {method: _curves(rows) for method, rows in by_method.items()}
    return {"results": results, "kinds": kinds, "curves": curves, "pairs": pairs}


def _paired(
    groups: Iterable[Sequence[EditRecord]], name: str, reference: Mapping[str, EditRecord], seed: int
) -> Estimate:
    """Estimate by how much the reference differs, clip by clip: what is hard about a clip is hard for both."""
    return _estimated(
        [
            [
                reference[row.item].figures.get(name, math.nan) - row.figures.get(name, math.nan)
                for row in group
                if row.item in reference
            ]
            for group in groups
        ],
        seed,
    )


def _estimated(groups: Sequence[Sequence[float]], seed: int) -> Estimate:
    """Average kinds, and draw clips within them; where a kind has one clip, the kinds are drawn instead.

    One clip says nothing of how clips of its kind differ, and an interval that is a point would be read as certainty.
    """
    known = [[value for value in group if not math.isnan(value)] for group in groups]
    known = [group for group in known if group]
    if not known or min(map(len, known)) > 1:
        return estimate(known, macro_average, seed=seed)
    drawn = estimate([[sum(group) / len(group) for group in known]], macro_average, seed=seed)
    return replace(drawn, n=sum(map(len, known)))


def _seconds(record: EditRecord) -> float:
    return record.seconds + record.preparing


def _figure(record: EditRecord, name: str, clock: Mapping[str, float]) -> float:
    if name == "seconds":
        return _seconds(record)
    if name == "time_ratio":
        return _seconds(record) / clock[record.item] if record.item in clock else math.nan
    return record.figures.get(name, math.nan)


def _curves(rows: Sequence[EditRecord]) -> dict[str, list[float]]:
    """Average the curves of clips that are as long as the longest."""
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row.curves):
        curves = [row.curves[name] for row in rows if name in row.curves]
        longest = max(map(len, curves))
        whole = [curve for curve in curves if len(curve) == longest]
        found[name] = [sum(values) / len(whole) for values in zip(*whole, strict=True)]
    return found


def markdown(result: BenchResult, columns: Sequence[str] | None = None) -> str:
    """Write the leaderboard as a Markdown table, the most successful method first.

    Args:
        result: what was found.
        columns: metrics; by default all that were measured.
    """
    return _table(result.results, ranked(result), columns or tuple(COLUMNS), arrows=True)


def markdown_pairs(result: BenchResult) -> str:
    """Write by how much FateZero differs from every other method, clip by clip, as a Markdown table."""
    return _table(result.pairs, [method for method in ranked(result) if method in result.pairs], _PAIRED, arrows=False)


def _table(
    results: Mapping[str, Mapping[str, Estimate]], methods: Sequence[str], columns: Sequence[str], *, arrows: bool
) -> str:
    """Write what was measured of some methods."""
    known = [name for name in columns if any(_is_known(results[method][name]) for method in methods)]
    signs = {True: " ↑", False: " ↓", None: ""} if arrows else {}
    lines = [
        "| method | n | " + " | ".join(COLUMNS[name][0] + signs.get(COLUMNS[name][1], "") for name in known) + " |",
        "| --- | ---: | " + " | ".join("---:" for _ in known) + " |",
    ]
    for method in methods:
        by = results[method]
        n = max(estimate.n for estimate in by.values())
        lines.append(f"| {method} | {n} | " + " | ".join(_cell(by[name]) for name in known) + " |")
    return "\n".join(lines) + "\n"


def _is_known(estimate: Estimate) -> bool:
    return estimate.n > 0 and not math.isnan(estimate.value)


def ranked(result: BenchResult) -> list[str]:
    """Return the methods, the most successful first; where nobody judges, those that agree best with the prompt."""

    def worth(method: str) -> tuple[float, float]:
        by = result.results[method]
        return tuple(-math.inf if math.isnan(by[name].value) else by[name].value for name in ("edit_success", "clip_t"))  # type: ignore[return-value]

    return sorted(result.results, key=worth, reverse=True)


def _cell(estimate: Estimate) -> str:
    if not _is_known(estimate):
        return "-"
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"


def compare(first: BenchResult, second: BenchResult) -> list[tuple[str, str, Estimate, Estimate, bool]]:
    """Compare what two runs have in common.

    Returns:
        (method, metric, the first's estimate, the second's, whether their intervals are apart), in the first's order.
    """
    rows = []
    for method, by in first.results.items():
        for name, ours in by.items():
            theirs = second.results.get(method, {}).get(name)
            if theirs is not None and ours.n and theirs.n:
                rows.append((method, name, ours, theirs, ours.high < theirs.low or theirs.high < ours.low))
    return rows


def load_leaderboard(path: str | Path) -> BenchResult:
    """Read a result.

    Raises:
        ConfigError: it cannot be read.
    """
    return read_result(path, "the benchmark's result", _FORMAT, BenchResult)
