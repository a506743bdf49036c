"""The edits of a benchmark, all pairs of methods and items, as jobs of the runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from faircut.benchmark.edits.contestants import Contestant
from faircut.benchmark.edits.items import EditBenchmark
from faircut.benchmark.edits.prepared import Bench, PreparedItem
from faircut.benchmark.pocket.edits import judge_edit
from faircut.benchmark.runner import Made, Stage, part_of, run_jobs
from faircut.benchmark.store import EditRecord, Store
from faircut.evaluate import measure_edit
from faircut.methods.base import Method

__all__ = ["BenchRecord", "run_bench"]


@dataclass(frozen=True, kw_only=True)
class BenchRecord(EditRecord):
    """The record of one edit of a benchmark.

    Attributes:
        item: Name of the item. See `EditRecord` for the other attributes.
        kind: Kind of edit.
        method: Name of the contestant.
        curves: Figures of the frames or pairs of neighbouring frames, by metric.
    """

    item: str
    kind: str
    method: str
    curves: Mapping[str, tuple[float, ...]] = field(metadata={"finite": False})


def run_bench(
    bench: Bench,
    benchmark: EditBenchmark,
    contestants: Sequence[Contestant],
    folder: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    stage: Stage,
) -> tuple[list[BenchRecord], list[str]]:
    """Make and measure every edit that the folder does not have.

    Args:
        bench: Model, measuring models and settings.
        benchmark: The items.
        contestants: The methods.
        folder: Folder for a record and a picture of every edit, from which a stopped run continues.
        shard: (k, n), to edit only every nth item from the kth on.
        stage: Opens a progress bar with a number of steps.

    Returns:
        The records, and one line for each failed edit.
    """
    store = Store(folder, BenchRecord, bench.keep_clips)
    items = part_of(benchmark.items, shard)
    records: list[BenchRecord] = []
    failed: list[str] = []
    builds = [(item, [(c, method) for c in contestants if (method := c.build(item)) is not None]) for item in items]
    with stage("Editing", sum(len(methods) for _, methods in builds)) as advance:
        # One item at a time, so that the preparation of its clip is shared by its edits and then freed.
        for item, methods in builds:
            prepared = PreparedItem(bench, benchmark, item)
            jobs = [BenchJob(prepared, contestant, method) for contestant, method in methods]
            for _, record, failure in run_jobs(jobs, store, bench.instruments, advance):
                if record is None:
                    failed.append(failure)
                else:
                    records.append(record)
    return records, failed


@dataclass(frozen=True)
class BenchJob:
    """One edit of an item, as a `faircut.benchmark.runner.Job`.

    Attributes:
        prepared: Item, with the preparation that its edits share.
        contestant: Contestant that edits the item.
        method: Method with the options for this item.
    """

    prepared: PreparedItem
    contestant: Contestant
    method: Method

    @property
    def title(self) -> str:
        """Name of the edit in the list of failed edits."""
        return f"{self.prepared.item.name}, {self.contestant.name}"

    def key(self) -> str:
        """Return the edit's key: a hash of everything that decides its result."""
        return self.prepared.key(self.contestant, self.method)

    def source(self) -> Tensor:
        """Return the source clip, (frame, 3, height, width), RGB in [0, 1]."""
        return (self.prepared.clip.frames + 1) / 2

    def edit(self) -> Made:
        """Make the edit."""
        return self.prepared.edit(self.contestant, self.method)

    def measure(self, key: str, edited: Tensor, seconds: float, preparing: float) -> BenchRecord:
        """Measure the edit, (frame, 3, height, width), RGB in [0, 1]."""
        bench, item, clip = self.prepared.bench, self.prepared.item, self.prepared.clip
        prompts = item.source_prompt, item.prompt
        measures = measure_edit(
            edited, self.source(), prompts, bench.clip, clip.region, "bench", **self._judged(edited)
        )
        return BenchRecord(
            key=key,
            instruments=bench.instruments,
            method=self.contestant.name,
            figures={name: m.value for name, m in measures.items() if m.value is not None},
            seconds=seconds,
            preparing=preparing,
            item=item.name,
            kind=item.kind,
            curves={
                name: tuple(value for value in m.series if value is not None)
                for name, m in measures.items()
                if m.series
            },
        )

    def _judged(self, edited: Tensor) -> dict[str, Callable[[], Any]]:
        """Return the judge's verdicts as inputs of metrics. Empty for clips that are not drawn."""
        judge, case = self.prepared.bench.judge, self.prepared.clip.case
        if judge is None or case is None:
            return {}
        both = cache(lambda: judge_edit(judge, edited, case))
        return {"reached": lambda: both()[0], "kept": lambda: both()[1]}
