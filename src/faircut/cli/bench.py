"""``faircut bench``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.benchmark.settings import BenchRun
from faircut.cli.console import Bars, quiet_libraries, say, show_table, show_text
from faircut.cli.lazy import Group
from faircut.cli.shared import (
    Clip,
    Device,
    Dtype,
    Json,
    KeepClips,
    Model,
    Output,
    Shard,
    Steps,
    shard_text,
    show_failures,
)
from faircut.cli.typed import commas, shard_of

__all__ = ["bench"]

bench = typer.Typer(cls=Group, help="Compare editing methods over a list of edits.", no_args_is_help=True)

_SHARD = shard_text(BenchRun.shard)


def _run(
    benchmark: Annotated[
        str,
        typer.Argument(help="pocket-edit, a YAML task file, or a folder: TGVE, V2VBench, or clips with text files."),
    ] = BenchRun.benchmark,
    methods: Annotated[
        str, typer.Option("--methods", help="Names of methods, separated by commas, or all.")
    ] = ",".join(BenchRun.methods),
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="Use only N items, spread evenly over the kinds of edits.", show_default="all"),
    ] = BenchRun.limit,
    seed: Annotated[
        int, typer.Option("--seed", help="Seed of the noise and the confidence intervals.")
    ] = BenchRun.seed,
    model: Model = BenchRun.model,
    clip: Clip = BenchRun.clip,
    steps: Steps = BenchRun.steps,
    tuning_steps: Annotated[
        int, typer.Option("--tuning-steps", help="Training steps for methods that fine-tune the model on each clip.")
    ] = BenchRun.tuning_steps,
    keep_clips: KeepClips = BenchRun.keep_clips,
    shard: Shard = _SHARD,
    output: Output = Path(BenchRun.output),
    json: Json = None,
    device: Device = BenchRun.device,
    dtype: Dtype = BenchRun.dtype,
) -> None:
    """Edit every item with every method, and write figures, a leaderboard and a report.

    To continue a stopped run, run the same command again: it makes only what the output folder lacks.
    """
    from faircut.benchmark.edits.run import BenchWing
    from faircut.benchmark.run import run

    settings = BenchRun(
        benchmark=benchmark,
        methods=commas(methods),
        limit=limit,
        seed=seed,
        model=model,
        clip=clip,
        steps=steps,
        tuning_steps=tuning_steps,
        keep_clips=keep_clips,
        shard=shard_of(shard),
        output=str(output),
        device=device,
        dtype=dtype,
    )
    quiet_libraries()
    with Bars() as bars:
        result = run(BenchWing(settings), bars.stage, json)
    if result is None:
        say(
            f"part {shard} is done; when all parts are, run the same command without --shard for the report",
            "bold green",
        )
        return
    _show_leaderboard(result)
    say(str(output / "report.html"), "bold green")


def _show(
    result: Annotated[Path, typer.Argument(help="Folder of a run, or its bench.json.")],
    full: Annotated[bool, typer.Option("--full", help="Print all metrics with intervals, as Markdown.")] = False,
    pairs: Annotated[
        bool,
        typer.Option("--pairs", help="Print the paired differences between FateZero and each method, as Markdown."),
    ] = False,
) -> None:
    """Print the leaderboard of a run."""
    from faircut.benchmark.edits.leaderboard import load_leaderboard, markdown, markdown_pairs
    from faircut.errors import ConfigError

    shown = load_leaderboard(_file(result))
    if pairs and not shown.pairs:
        raise ConfigError(
            f"{result} has no pairs, because it lacks FateZero or a second method; run the benchmark with both"
        )
    if full:
        show_text(markdown(shown))
    if pairs:
        show_text(markdown_pairs(shown))
    if not full and not pairs:
        _show_leaderboard(shown)


def _compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run, or its bench.json.")],
    second: Annotated[Path, typer.Argument(help="Folder of another run, or its bench.json.")],
) -> None:
    """Compare the methods that two runs have in common, and mark metrics whose intervals do not overlap."""
    from faircut.benchmark.edits.leaderboard import compare, load_leaderboard
    from faircut.errors import ConfigError
    from faircut.evaluate import metrics_of

    rows = compare(load_leaderboard(_file(first)), load_leaderboard(_file(second)))
    if not rows:
        raise ConfigError(f"{first} and {second} have no method in common, so there is nothing to compare")
    table, shown = metrics_of("bench"), []
    for method, name, *estimates, apart in rows:
        cells = (f"{e.value:.4g} ({e.low:.4g} to {e.high:.4g}) {e.n}" for e in estimates)
        shown.append((method, table[name].label, *cells, "yes" if apart else ""))
    show_table(("method", "metric", str(first), str(second), "apart"), shown, "llrrr")


def _file(path: Path) -> Path:
    return (
        path / "bench.json" if os.path.isdir(path) else path
    )  # os.path.isdir returns False for a name that is too long.


def _show_leaderboard(result: Any) -> None:
    """Print the headline metrics, the most successful method first."""
    import math

    from faircut.benchmark.edits.leaderboard import ranked
    from faircut.evaluate import metrics_of

    measured = {name for by in result.results.values() for name in by}
    metrics = [metric for metric in metrics_of("bench").values() if metric.headline and metric.name in measured]
    rows = []
    for method in ranked(result):
        by = result.results[method]
        cells = ("-" if math.isnan(by[m.name].value) else f"{by[m.name].value:.4g}" for m in metrics)
        rows.append((method, str(max(e.n for e in by.values())), *cells))
    show_table(("method", "n", *(metric.label for metric in metrics)), rows, "lr" + "r" * len(metrics))
    show_failures(result.failed)


for _name, _command in (("run", _run), ("show", _show), ("compare", _compare)):
    bench.command(_name)(_command)
