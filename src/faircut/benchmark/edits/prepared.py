"""What the methods of a benchmark edit: a clip, inverted, with a model tuned to it, or taken apart into an atlas."""

from __future__ import annotations

import copy
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from faircut.atlas import Atlas, edit_atlas, fit_atlas
from faircut.benchmark.edits.contestants import Contestant
from faircut.benchmark.edits.items import EditBenchmark, EditItem, ItemClip
from faircut.benchmark.runner import Made, instruments_of, seed_of
from faircut.config.values import SpatialTemporal
from faircut.edit.editor import VideoEditor
from faircut.edit.inversion import Inversion
from faircut.edit.request import EditRequest
from faircut.edit.session import Session
from faircut.files.cache import Cache
from faircut.methods.base import Method
from faircut.metrics.clip import ClipScorer
from faircut.model.fingerprint import Recipe, fingerprint, key_of
from faircut.model.scorer import scorer_fingerprint
from faircut.pocket.judge import Judge
from faircut.tune import TuneSettings, tune
from faircut.video import Video

__all__ = ["Bench", "PreparedItem"]


@dataclass(frozen=True)
class Bench:
    """What decides every edit of a benchmark, and what it is measured with.

    Attributes:
        editor: the model.
        clip: embeds frames and prompts.
        judge: reads drawn clips; None for models that have none.
        steps: N of inversion and edit.
        seed: of methods that draw noise; every item has its own noise, the same in a part of the benchmark as in all of it.
        cache: of inversions, which every method and every later run shares; None for none.
        tuning_steps: of contestants whose model is tuned to the clip.
        keep_clips: whether all frames of every edit are kept, so that other instruments can measure the same edits.
    """

    editor: VideoEditor
    clip: ClipScorer
    judge: Judge | None
    steps: int
    seed: int
    cache: Cache | None = None
    tuning_steps: int = TuneSettings.steps
    keep_clips: bool = False

    @cached_property
    def instruments(self) -> str:
        """Identifies the CLIP, the judge and the metrics: what others have measured is measured anew."""
        judge = [] if self.judge is None else [fingerprint(self.judge)]
        return instruments_of("bench", scorer_fingerprint(self.clip), *judge)


class PreparedItem:
    """One item: its clip is read, inverted, tuned to and taken apart once each, and only where a method asks for it."""

    def __init__(self, bench: Bench, benchmark: EditBenchmark, item: EditItem) -> None:
        self.bench, self.benchmark, self.item = bench, benchmark, item
        self.guidance = float(benchmark.guidance.get(item.kind, 7.5))
        self.seed = seed_of(bench.seed, item.name)
        self._inversions: dict[tuple[SpatialTemporal, bool, bool], tuple[Inversion, float]] = {}

    def _clock(self) -> float:
        """Seconds: of the processor on a CPU, so that what else runs there does not count, and of the wall elsewhere."""
        on_cpu = self.bench.editor.execution_device.type == "cpu"
        return time.process_time() if on_cpu else time.perf_counter()

    @cached_property
    def clip(self) -> ItemClip:
        """The clip."""
        return self.benchmark.load(self.item)

    @cached_property
    def _recipe(self) -> Recipe:
        """What decides every edit of the item: not where its clip lies or is called, but what is in it."""
        bench, item = self.bench, self.item
        clip = key_of(frames=self.clip.frames, region=self.clip.region, drawn=item.drawn)
        return bench.editor.recipe(
            clip, item.source_prompt, bench.steps, bench.editor.spatial_temporal, item=(item.name, item.kind)
        )

    def key(self, contestant: Contestant, method: Method) -> str:
        """Name an edit by all that decides it.

        Raises:
            VideoError: the clip cannot be read.
        """
        more: dict[str, Any] = {"through": contestant.through, "contestant": contestant.name}
        if contestant.through == "tuned":
            more["tuning"] = self._tuning
        if contestant.through == "atlas":
            more["where"] = self.item.blend
        return self._recipe.edited(
            self.item.prompt, method, guidance_scale=self.guidance, seed=self.seed, temporal=method.temporal, **more
        ).key

    @property
    def _tuning(self) -> TuneSettings:
        return TuneSettings(steps=self.bench.tuning_steps, seed=self.bench.seed)

    def edit(self, contestant: Contestant, method: Method) -> Made:
        """Edit the clip.

        Raises:
            FaircutError: it cannot be edited so.
        """
        options: dict[str, Any] = {
            "guidance_scale": self.guidance,
            "generator": torch.Generator().manual_seed(self.seed),
        }
        if contestant.through == "atlas":
            atlas, preparing = self._atlas
            started = self._clock()
            request = EditRequest(
                self.item.source_prompt, self.item.prompt, method, num_inference_steps=self.bench.steps,
                guidance_scale=self.guidance, seed=self.seed,
            )  # fmt: skip
            video = edit_atlas(Session(self.bench.editor), atlas, request).video
            return Made(video.frames, self._clock() - started, preparing)
        tuned = contestant.through == "tuned"
        editor, tuning = self._tuned if tuned else (self.bench.editor, 0.0)
        inversion, preparing = self._inverted(editor, method, tuned)
        started = self._clock()
        result = editor.edit(inversion, self.item.prompt, method, **options)
        assert result.video is not None
        return Made(result.video.frames, self._clock() - started, tuning + preparing)

    def _inverted(self, editor: VideoEditor, method: Method, tuned: bool) -> tuple[Inversion, float]:
        """Return what a method edits, and the seconds that it took beside the plain inversion."""
        temporal = method.temporal or editor.spatial_temporal
        if (temporal, False, tuned) not in self._inversions:
            inversion = editor.invert(
                self.clip.frames, self.item.source_prompt, num_inference_steps=self.bench.steps, temporal=temporal,
                supplier="live", cache=None if tuned else self.bench.cache,
            )  # fmt: skip
            self._inversions[temporal, False, tuned] = inversion, 0.0
        if method.null_text and (temporal, True, tuned) not in self._inversions:
            started = self._clock()
            inversion = editor.optimise_null_text(
                self._inversions[temporal, False, tuned][0], guidance_scale=self.guidance
            )
            self._inversions[temporal, True, tuned] = inversion, self._clock() - started
        return self._inversions[temporal, method.null_text, tuned]

    @cached_property
    def _tuned(self) -> tuple[VideoEditor, float]:
        """A model of its own that has learnt the clip, and the seconds that it took."""
        components = self.bench.editor.components
        editor = VideoEditor(**{**components, "unet": copy.deepcopy(components["unet"])})
        editor.to(self.bench.editor.execution_device)
        editor.set_progress_bar_config(disable=True)
        started = self._clock()
        with tempfile.TemporaryDirectory() as folder:
            tune(
                editor,
                Video.from_frames(self.clip.frames),
                self.item.source_prompt,
                self._tuning,
                Path(folder) / "tuned",
            )
        return editor, self._clock() - started

    @cached_property
    def _atlas(self) -> tuple[Atlas, float]:
        """The clip's atlas, whose foreground is where the subject's words are, and its seconds."""
        editor, item = self.bench.editor, self.item
        started = self._clock()
        assert item.blend is not None
        inversion, _ = self._inverted(editor, Method(), tuned=False)
        atlas = fit_atlas(self.clip.frames, editor.locate(inversion, [item.blend[0]]))
        return atlas, self._clock() - started
