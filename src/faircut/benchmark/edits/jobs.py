"""The edits of a benchmark: methods x items, as jobs of the runner."""

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
    """What one edit measured.

    Attributes:
        item: name of the item; see `EditRecord` for what every record has.
        kind: of edit.
        method: name of the contestant.
        curves: by metric, a figure for each frame or pair of neighbours.
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
    """Make and measure every edit, or find it in the folder.

    Args:
        bench: model, instruments and settings.
        benchmark: the items.
        contestants: the methods.
        folder: keeps a record and a picture of every edit; a stopped run goes on from there.
        shard: (k, n): only every nth item, from the kth.
        stage: opens a progress bar of so many steps.

    Returns:
        The records, and one line for each edit that failed.
    """
    store = Store(folder, BenchRecord, bench.keep_clips)
    items = part_of(benchmark.items, shard)
    records: list[BenchRecord] = []
    failed: list[str] = []
    builds = [(item, [(c, method) for c in contestants if (method := c.build(item)) is not None]) for item in items]
    with stage("Editing", sum(len(methods) for _, methods in builds)) as advance:
        # One item at a time: what is prepared of its clip is shared by its edits and then let go.
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
    """One edit of an item, as `faircut.benchmark.runner.Job` wants it.

    Attributes:
        prepared: the item, with what its edits share.
        contestant: how it is edited.
        method: with the options for this item.
    """

    prepared: PreparedItem
    contestant: Contestant
    method: Method

    @property
    def title(self) -> str:
        """What the list of failures calls it."""
        return f"{self.prepared.item.name}, {self.contestant.name}"

    def key(self) -> str:
        """Name the edit by all that decides it."""
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
        """Return what the judge says as inputs of metrics, where the drawn world knows what should be seen."""
        judge, case = self.prepared.bench.judge, self.prepared.clip.case
        if judge is None or case is None:
            return {}
        both = cache(lambda: judge_edit(judge, edited, case))
        return {"reached": lambda: both()[0], "kept": lambda: both()[1]}
