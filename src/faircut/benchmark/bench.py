"""Running a benchmark of edits: methods x items, each edit made once, kept at once, and never made again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from faircut.benchmark.contestants import Contestant
from faircut.benchmark.edits import EditBenchmark, EditItem, ItemClip
from faircut.benchmark.store import Store, key_of
from faircut.config import SpatialTemporal, to_dict
from faircut.editor import VideoEditor
from faircut.errors import FaircutError
from faircut.evaluate import measure_edit
from faircut.inversion import Inversion
from faircut.methods.base import Method
from faircut.metrics.clip import ClipScorer
from faircut.pocket.evaluate_edits import judge_edit
from faircut.pocket.judge import Judge

__all__ = ["Bench", "EditRecord", "run_bench"]

Advance = Callable[[], None]
Stage = Callable[[str, int], AbstractContextManager[Advance]]


@dataclass(frozen=True)
class Bench:
    """What decides every edit of a benchmark, and what it is measured with.

    Attributes:
        editor: the model.
        clip: embeds frames and prompts.
        judge: reads drawn clips; None for models that have none.
        steps: N of inversion and edit.
        seed: of methods that draw noise; the item's place is added to it.
        cache: folder of inversions, which every method and every later run shares; None for none.
    """

    editor: VideoEditor
    clip: ClipScorer
    judge: Judge | None
    steps: int
    seed: int
    cache: Path | None = None


@dataclass(frozen=True)
class EditRecord:
    """What one edit measured.

    Attributes:
        key: names the edit by all that decides it, and its files.
        item: name of the item.
        kind: of edit.
        method: name of the contestant.
        figures: by metric; what does not apply is missing.
        curves: by metric, a figure for each frame or pair of neighbours.
        seconds: of the edit.
        preparing: seconds of what the method needs once a clip beside the plain inversion, such as null-text inversion.
    """

    key: str
    item: str
    kind: str
    method: str
    figures: Mapping[str, float]
    curves: Mapping[str, tuple[float, ...]]
    seconds: float
    preparing: float


def run_bench(
    bench: Bench,
    benchmark: EditBenchmark,
    contestants: Sequence[Contestant],
    folder: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    stage: Stage,
) -> tuple[list[EditRecord], list[str]]:
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
    weights, store = bench.editor.weights_fingerprint, Store(folder, EditRecord)
    records: list[EditRecord] = []
    failed: list[str] = []
    ours = list(enumerate(benchmark.items))[shard[0] :: shard[1]]
    with stage("Editing", len(ours) * len(contestants)) as advance:
        for place, item in ours:
            work = _Item(bench, benchmark, item, bench.seed + place)
            for contestant in contestants:
                method = contestant.build(item)
                if method is not None:
                    key = work.key(weights, contestant, method)
                    try:
                        record = store.find(key) or work.edit(key, contestant, method, store)
                        records.append(record)
                    except FaircutError as error:
                        # One clip that cannot be edited must not cost the others; it is tried again next time.
                        failed.append(f"{item.name}, {contestant.name}: {error}")
                advance()
    return records, failed


class _Item:
    """One item, whose clip is read, and inverted in every way that is asked for, once and only if something is missing."""

    def __init__(self, bench: Bench, benchmark: EditBenchmark, item: EditItem, seed: int) -> None:
        self.bench, self.benchmark, self.item, self.seed = bench, benchmark, item, seed
        self.guidance = float(benchmark.guidance.get(item.kind, 7.5))
        self._clip: ItemClip | None = None
        self._inversions: dict[tuple[SpatialTemporal, bool], tuple[Inversion, float]] = {}

    def key(self, weights: str, contestant: Contestant, method: Method) -> str:
        """Name an edit by all that decides it and its figures."""
        bench, item = self.bench, to_dict(self.item)
        return key_of(
            weights, item, self.benchmark.num_frames, self.benchmark.size, self.guidance, contestant.name,
            to_dict(method), bench.steps, self.seed, bench.clip.name,
        )  # fmt: skip

    @property
    def clip(self) -> ItemClip:
        """The clip."""
        if self._clip is None:
            self._clip = self.benchmark.load(self.item)
        return self._clip

    def inversion(self, method: Method) -> tuple[Inversion, float]:
        """Return what a method edits, and the seconds that it took beside the plain inversion."""
        temporal = method.temporal or SpatialTemporal()
        if (temporal, False) not in self._inversions:
            inversion = self.bench.editor.invert(
                self.clip.frames, self.item.source_prompt, num_inference_steps=self.bench.steps, temporal=temporal,
                supplier="live", cache=self.bench.cache,
            )  # fmt: skip
            self._inversions[temporal, False] = inversion, 0.0
        if method.null_text and (temporal, True) not in self._inversions:
            started = time.perf_counter()
            inversion = self.bench.editor.optimise_null_text(
                self._inversions[temporal, False][0], guidance_scale=self.guidance
            )
            self._inversions[temporal, True] = inversion, time.perf_counter() - started
        return self._inversions[temporal, method.null_text]

    def edit(self, key: str, contestant: Contestant, method: Method, store: Store[EditRecord]) -> EditRecord:
        """Make, measure and keep an edit."""
        inversion, preparing = self.inversion(method)
        started = time.perf_counter()
        result = self.bench.editor.edit(
            inversion,
            self.item.prompt,
            method,
            guidance_scale=self.guidance,
            generator=torch.Generator().manual_seed(self.seed),
        )
        seconds = time.perf_counter() - started
        assert result.video is not None
        source, edited = (self.clip.frames + 1) / 2, (result.video.frames + 1) / 2
        measures = measure_edit(
            edited, source, (self.item.source_prompt, self.item.prompt), self.bench.clip, self.clip.region
        )
        figures = {name: m.value for name, m in measures.items() if m.value is not None}
        own = measures["tem_con"]
        if own.value is not None and own.source:
            figures["tem_con_ratio"] = own.value / own.source
        curves = {
            name: tuple(value for value in m.series if value is not None) for name, m in measures.items() if m.series
        }
        record = EditRecord(
            key, self.item.name, self.item.kind, contestant.name, {**figures, **self._judged(edited)}, curves, seconds,
            preparing,
        )  # fmt: skip
        store.keep(key, record, source, edited)
        return record

    def _judged(self, edited: torch.Tensor) -> dict[str, float]:
        """Say whether the edit did what was asked, and nothing else, where the world knows it."""
        if self.bench.judge is None or self.clip.case is None:
            return {}
        reached, kept = judge_edit(self.bench.judge, edited, self.clip.case)
        return {"edit_success": float(reached and kept), "reached": float(reached), "kept": float(kept)}
