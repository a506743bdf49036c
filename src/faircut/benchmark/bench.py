"""Running a benchmark of edits: methods x items, each edit made once, kept at once, and never made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from faircut.benchmark.contestants import Contestant
from faircut.benchmark.edits import EditBenchmark
from faircut.benchmark.pocket.edits import judge_edit
from faircut.benchmark.prepared import Bench, PreparedItem
from faircut.benchmark.store import Store, as_kept
from faircut.errors import FaircutError
from faircut.evaluate import measure_edit
from faircut.methods.base import Method

__all__ = ["EditRecord", "run_bench"]

Advance = Callable[[], None]
Stage = Callable[[str, int], AbstractContextManager[Advance]]


@dataclass(frozen=True)
class EditRecord:
    """What one edit measured.

    Attributes:
        key: names the edit by all that decides it, and its files.
        instruments: fingerprint of what has measured it.
        item: name of the item.
        kind: of edit.
        method: name of the contestant.
        figures: by metric; what does not apply is missing.
        curves: by metric, a figure for each frame or pair of neighbours.
        seconds: of the edit; of the processor where the edit ran on one, and of the wall elsewhere.
        preparing: seconds of what the method needs once a clip beside the plain inversion, such as null-text inversion.
    """

    key: str
    instruments: str
    item: str
    kind: str
    method: str
    figures: Mapping[str, float] = field(metadata={"finite": False})
    curves: Mapping[str, tuple[float, ...]] = field(metadata={"finite": False})
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
    store = Store(folder, EditRecord, bench.keep_clips)
    records: list[EditRecord] = []
    failed: list[str] = []
    ours = benchmark.items[shard[0] :: shard[1]]
    with stage("Editing", len(ours) * len(contestants)) as advance:
        for item in ours:
            work = PreparedItem(bench, benchmark, item)
            for contestant in contestants:
                method = contestant.build(item)
                if method is not None:
                    try:
                        records.append(_edit(work, work.key(contestant, method), contestant, method, store))
                    except FaircutError as error:
                        # One clip that cannot be edited must not cost the others; it is tried again next time.
                        failed.append(f"{item.name}, {contestant.name}: {error}")
                advance()
    return records, failed


def _edit(work: PreparedItem, key: str, contestant: Contestant, method: Method, store: Store[EditRecord]) -> EditRecord:
    """Make, measure and keep an edit, or what of it is missing."""
    bench, known = work.bench, store.find(key)
    if known is not None and store.is_done(known, bench.instruments):
        return known
    edited = None if known is None else store.find_clip(key, work.clip.frames.shape)
    if known is not None and edited is not None:
        seconds, preparing = known.seconds, known.preparing
    else:
        frames, seconds, preparing = work.edit(contestant, method)
        edited = as_kept(frames)
    source = (work.clip.frames + 1) / 2
    measures = measure_edit(edited, source, (work.item.source_prompt, work.item.prompt), bench.clip, work.clip.region)
    figures = {name: m.value for name, m in measures.items() if m.value is not None}
    own = measures["tem_con"]
    if own.value is not None and own.source:
        figures["tem_con_ratio"] = own.value / own.source
    curves = {name: tuple(value for value in m.series if value is not None) for name, m in measures.items() if m.series}
    record = EditRecord(
        key, bench.instruments, work.item.name, work.item.kind, contestant.name, {**figures, **_judged(work, edited)},
        curves, seconds, preparing,
    )  # fmt: skip
    store.keep(key, record, source, edited)
    return record


def _judged(work: PreparedItem, edited: torch.Tensor) -> dict[str, float]:
    """Say whether the edit did what was asked, and nothing else, where the world knows it."""
    if work.bench.judge is None or work.clip.case is None:
        return {}
    reached, kept = judge_edit(work.bench.judge, edited, work.clip.case)
    return {"edit_success": float(reached and kept), "reached": float(reached), "kept": float(kept)}
