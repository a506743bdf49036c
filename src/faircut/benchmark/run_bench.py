"""One benchmark of edits from settings to files: what ``faircut bench run`` runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from faircut.benchmark.bench import run_bench
from faircut.benchmark.bench_html import write_bench_html
from faircut.benchmark.contestants import get_contestants
from faircut.benchmark.edits import EditBenchmark, load_edits
from faircut.benchmark.files import write_result
from faircut.benchmark.leaderboard import BenchResult, markdown, markdown_pairs, summarise
from faircut.benchmark.prepared import Bench
from faircut.benchmark.settings import BenchRun
from faircut.config.values import to_dict
from faircut.edit.editor import VideoEditor
from faircut.edit.preflight import check_model_steps
from faircut.edit.request import parse_device
from faircut.errors import ConfigError
from faircut.files import GENERATOR, Output, check_outputs, folder_outputs, write_text
from faircut.files.cache import user_cache
from faircut.model.checkpoints import judge_folder
from faircut.model.scorer import load_clip_scorer, scorer_fingerprint
from faircut.report import Environment

__all__ = ["run"]

Stage = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


def run(settings: BenchRun, stage: Stage, json: Path | None = None) -> BenchResult | None:
    """Run a benchmark and write its records, pictures, figures, leaderboard and report.

    Args:
        settings: of the benchmark.
        stage: opens a progress bar of so many steps.
        json: another place for the figures.

    Returns:
        What it found; None for a shard.

    Raises:
        FaircutError: something that was given cannot be used.
    """
    contestants = get_contestants(settings.methods)
    benchmark = load_edits(settings.benchmark).limited(settings.limit)
    folder = Path(settings.output)
    clips = [Path(benchmark.folder) / n for item in benchmark.items for n in (item.clip, item.mask) if n is not None]
    check_outputs(
        [
            *folder_outputs(folder, ("bench.json", "leaderboard.md", "report.html")),
            *([] if json is None else [Output(json, "--json")]),
        ],
        [settings.benchmark, settings.model, settings.clip, *clips],
    )
    cache = user_cache()
    check_model_steps(settings.model, settings.steps)
    device, dtype = parse_device(settings.device, settings.dtype)
    editor = VideoEditor.from_pretrained(settings.model, dtype=dtype).to(device)
    editor.set_progress_bar_config(disable=True)
    bench = Bench(
        editor, load_clip_scorer(settings.clip), _judge(settings.model), settings.steps, settings.seed, cache,
        settings.tuning_steps, settings.keep_clips,
    )  # fmt: skip
    records, failed = run_bench(bench, benchmark, contestants, folder, shard=settings.shard, stage=stage)
    if settings.shard != (0, 1):
        return None
    if not records:
        raise ConfigError(
            f"no edit could be made; the first failure: {failed[0] if failed else 'no method edits such items'}"
        )
    facts = _provenance(settings, bench, benchmark, device)
    result = BenchResult(**summarise(records, settings.seed), provenance=facts, failed=tuple(failed))
    for path in (folder / "bench.json", json):
        if path is not None:
            write_result(result, path)
    write_text(folder / "leaderboard.md", f"<!-- {GENERATOR} -->\n{_leaderboard(result)}")
    write_bench_html(result, records, {item.name: item for item in benchmark.items}, folder)
    return result


def _leaderboard(result: BenchResult) -> str:
    """Write the leaderboard and, where there is a FateZero, the differences from it."""
    if not result.pairs:
        return markdown(result)
    return f"{markdown(result)}\nFateZero's figure less the method's, clip by clip:\n\n{markdown_pairs(result)}"


def _judge(model: str) -> Any:
    """Load the judge that comes with a pocket model; None for other models."""
    folder = judge_folder(model)
    if folder is None:
        return None
    from faircut.pocket.judge import load_judge

    return load_judge(folder)


def _provenance(settings: BenchRun, bench: Bench, benchmark: EditBenchmark, device: Any) -> dict[str, Any]:
    return {
        "settings": to_dict(settings),
        "benchmark": {"name": benchmark.name, "hash": benchmark.hash, "items": len(benchmark.items)},
        "model": {"name": settings.model, "fingerprint": bench.editor.fingerprint},
        "clip": {"name": bench.clip.name, "fingerprint": scorer_fingerprint(bench.clip)},
        "environment": to_dict(Environment.of(device, bench.editor.unet.dtype)),
    }
