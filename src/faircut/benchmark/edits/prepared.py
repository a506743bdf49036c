"""The preparation that the edits of one item share: the clip, a model tuned to it, and its layered atlas."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from faircut.atlas import Atlas, edit_atlas, fit_atlas
from faircut.benchmark.edits.contestants import Contestant
from faircut.benchmark.edits.items import EditBenchmark, EditItem, ItemClip
from faircut.benchmark.runner import Made, instruments_of, make_edit, seed_of
from faircut.edit.editor import VideoEditor
from faircut.edit.request import EditRequest
from faircut.edit.session import Session
from faircut.methods.base import Method
from faircut.metrics.clip import ClipScorer
from faircut.model.fingerprint import fingerprint, key_of
from faircut.model.scorer import scorer_fingerprint
from faircut.pocket.judge import Judge
from faircut.tune import TuneSettings, tune
from faircut.video import Video

__all__ = ["Bench", "PreparedItem"]


@dataclass(frozen=True)
class Bench:
    """The settings of all edits of a benchmark, and the models that make and measure them.

    Attributes:
        session: Session with the model, and with the inversions that all methods and later runs share.
        clip: CLIP that embeds frames and prompts.
        judge: Judge that reads drawn clips; None for models without one.
        steps: Number of denoising steps, for inversion and edit.
        seed: Seed of methods that draw noise. Every item has its own noise, which does not depend on the other items.
        tuning_steps: Number of training steps for contestants whose model is tuned to the clip.
        keep_clips: Whether to store all frames of every edit, so that other models can measure the same edits.
    """

    session: Session
    clip: ClipScorer
    judge: Judge | None
    steps: int
    seed: int
    tuning_steps: int = TuneSettings.steps
    keep_clips: bool = False

    @cached_property
    def instruments(self) -> str:
        """Fingerprint of CLIP, judge and metrics. Records with another fingerprint are measured again."""
        judge = [] if self.judge is None else [fingerprint(self.judge)]
        return instruments_of("bench", scorer_fingerprint(self.clip), *judge)


class PreparedItem:
    """One item, whose clip is read, used for tuning and decomposed into an atlas at most once, and only if needed."""

    def __init__(self, bench: Bench, benchmark: EditBenchmark, item: EditItem) -> None:
        self.bench, self.benchmark, self.item = bench, benchmark, item

    @cached_property
    def clip(self) -> ItemClip:
        """The clip of the item."""
        return self.benchmark.load(self.item)

    @cached_property
    def _digest(self) -> str:
        """Hash of the clip and its ground truth, independent of its path and name."""
        return key_of(frames=self.clip.frames, region=self.clip.region, drawn=self.item.drawn)

    def request(self, method: Method | None) -> EditRequest:
        """Return the request for the item's edit by a method; None requests only the inversion."""
        bench, item = self.bench, self.item
        return EditRequest(
            item.source_prompt, item.prompt, method, num_inference_steps=bench.steps,
            guidance_scale=float(self.benchmark.guidance.get(item.kind, 7.5)), seed=seed_of(bench.seed, item.name),
            supplier="live",
        )  # fmt: skip

    def key(self, contestant: Contestant, method: Method) -> str:
        """Return an edit's key: a hash of everything that decides its result.

        Raises:
            VideoError: If the clip cannot be read.
        """
        more: dict[str, Any] = {"through": contestant.through, "contestant": contestant.name}
        if contestant.through == "tuned":
            more["tuning"] = self._tuning
        if contestant.through == "atlas":
            more["where"] = self.item.blend
        return self.bench.session.key(self.request(method), self._digest, item=(self.item.name, self.item.kind), **more)

    @property
    def _tuning(self) -> TuneSettings:
        return TuneSettings(steps=self.bench.tuning_steps, seed=self.bench.seed)

    def edit(self, contestant: Contestant, method: Method) -> Made:
        """Edit the clip.

        Raises:
            FaircutError: If the contestant cannot edit the clip.
        """
        request, session, preparing = self.request(method), self.bench.session, 0.0
        if contestant.through == "atlas":
            atlas, preparing = self._atlas
            started = session.clock()
            # A separate session, because the layer is another clip, and the item's inversions are needed again.
            video = edit_atlas(Session(session.editor), atlas, request).video
            return Made(video.frames, session.clock() - started, preparing)
        if contestant.through == "tuned":
            session, preparing = self._tuned
        made = make_edit(session, request, self.clip.frames)[1]
        return replace(made, preparing=made.preparing + preparing)

    @cached_property
    def _tuned(self) -> tuple[Session, float]:
        """A session with a copy of the model that is fine-tuned on the clip, and the seconds that tuning took."""
        session = self.bench.session
        components = session.editor.components
        editor = VideoEditor(**{**components, "unet": copy.deepcopy(components["unet"])})
        editor.to(session.device)
        editor.set_progress_bar_config(disable=True)
        started = session.clock()
        with tempfile.TemporaryDirectory() as folder:
            video = Video.from_frames(self.clip.frames)
            tune(editor, video, self.item.source_prompt, self._tuning, Path(folder) / "tuned")
        return Session(editor, clock=session.clock), session.clock() - started

    @cached_property
    def _atlas(self) -> tuple[Atlas, float]:
        """The clip's atlas, with the foreground located by the subject's words, and the seconds that fitting took."""
        session, blend = self.bench.session, self.item.blend
        assert blend is not None
        started = session.clock()
        inversion = session.prepare(self.request(None), self.clip.frames).inversion
        atlas = fit_atlas(self.clip.frames, session.locate(inversion, [blend[0]]))
        return atlas, session.clock() - started
