"""The benchmark of edits, from settings to files, as ``faircut bench run`` runs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from faircut.benchmark.edits.contestants import Contestant, get_contestants
from faircut.benchmark.edits.html import write_html
from faircut.benchmark.edits.items import EditBenchmark
from faircut.benchmark.edits.jobs import BenchRecord, run_bench
from faircut.benchmark.edits.leaderboard import BenchResult, markdown, markdown_pairs, summarise
from faircut.benchmark.edits.prepared import Bench
from faircut.benchmark.edits.task_files import load_edits
from faircut.benchmark.run import Wing
from faircut.benchmark.runner import Stage
from faircut.benchmark.settings import BenchRun
from faircut.edit.session import Session
from faircut.files import GENERATOR, write_text
from faircut.files.cache import user_cache
from faircut.metrics.clip import ClipScorer
from faircut.model.checkpoints import judge_folder
from faircut.model.scorer import load_clip_scorer, scorer_fingerprint

__all__ = ["BenchWing"]

Edits = list[BenchRecord]


@dataclass
class BenchWing(Wing[BenchRun, Edits, BenchResult]):
    """The benchmark of all pairs of methods and items."""

    file: ClassVar[str] = "bench.json"
    contestants: list[Contestant] = field(init=False)
    benchmark: EditBenchmark = field(init=False)
    clip: ClipScorer = field(init=False)
    judge: Any = field(init=False)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that the run may write."""
        return (self.file, "leaderboard.md", "report.html")

    def check(self) -> list[Any]:
        """Read the list of edits, and check everything that needs no model; see `Wing`."""
        settings = self.settings
        self.contestants = get_contestants(settings.methods)
        self.benchmark = load_edits(settings.benchmark).limited(settings.limit)
        self.cache = user_cache()
        folder, items = Path(self.benchmark.folder), self.benchmark.items
        return [settings.benchmark, *(folder / n for item in items for n in (item.clip, item.mask) if n is not None)]

    def load(self) -> None:
        """Load the CLIP, and the judge that comes with a pocket model."""
        self.clip, self.judge = load_clip_scorer(self.settings.clip), _judge(self.settings.model)

    def make(self, session: Session, stage: Stage) -> tuple[Edits, list[str]]:
        """Make and measure every edit that is not stored yet; see `Wing`."""
        settings = self.settings
        bench = Bench(
            session, self.clip, self.judge, settings.steps, settings.seed, settings.tuning_steps, settings.keep_clips,
        )  # fmt: skip
        return run_bench(
            bench, self.benchmark, self.contestants, Path(settings.output), shard=settings.shard, stage=stage
        )

    def result(self, edits: Edits, failed: list[str], facts: dict[str, Any]) -> BenchResult:
        """Estimate every metric of every method; see `Wing`."""
        benchmark = self.benchmark
        provenance = {
            **facts,
            "benchmark": {"name": benchmark.name, "hash": benchmark.hash, "items": len(benchmark.items)},
            "clip": {"name": self.clip.name, "fingerprint": scorer_fingerprint(self.clip)},
        }
        return BenchResult(**summarise(edits, self.settings.seed), provenance=provenance, failed=tuple(failed))

    def report(self, result: BenchResult, edits: Edits, folder: Path) -> None:
        """Write the leaderboard and ``report.html``; see `Wing`."""
        write_text(folder / "leaderboard.md", f"<!-- {GENERATOR} -->\n{_leaderboard(result)}")
        write_html(result, edits, {item.name: item for item in self.benchmark.items}, folder)


def _leaderboard(result: BenchResult) -> str:
    """Return the leaderboard in Markdown, with the paired differences if FateZero is in it."""
    if not result.pairs:
        return markdown(result)
    return f"{markdown(result)}\nFateZero's figure minus the method's, clip by clip:\n\n{markdown_pairs(result)}"


def _judge(model: str) -> Any:
    """Load the judge that comes with a pocket model; None for other models."""
    folder = judge_folder(model)
    if folder is None:
        return None
    from faircut.pocket.judge import load_judge

    return load_judge(folder)
