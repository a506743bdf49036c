"""What the methods of a benchmark edit: a clip, inverted, with a model tuned to it, or taken apart into an atlas."""

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
    """What decides every edit of a benchmark, and what it is measured with.

    Attributes:
        session: holds the model, and the inversions that every method and every later run share.
        clip: embeds frames and prompts.
        judge: reads drawn clips; None for models that have none.
        steps: N of inversion and edit.
        seed: of methods that draw noise; every item has its own noise, the same in a part of the benchmark as in all of
            it.
        tuning_steps: of contestants whose model is tuned to the clip.
        keep_clips: whether all frames of every edit are kept, so that other instruments can measure the same edits.
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
        """Identifies the CLIP, the judge and the metrics: what others have measured is measured anew."""
        judge = [] if self.judge is None else [fingerprint(self.judge)]
        return instruments_of("bench", scorer_fingerprint(self.clip), *judge)


class PreparedItem:
    """One item: its clip is read, tuned to and taken apart once each, and only where a method asks for it."""

    def __init__(self, bench: Bench, benchmark: EditBenchmark, item: EditItem) -> None:
        self.bench, self.benchmark, self.item = bench, benchmark, item

    @cached_property
    def clip(self) -> ItemClip:
        """The clip."""
        return self.benchmark.load(self.item)

    @cached_property
    def _digest(self) -> str:
        """What the clip and its truth are: not where the clip lies or what it is called."""
        return key_of(frames=self.clip.frames, region=self.clip.region, drawn=self.item.drawn)

    def request(self, method: Method | None) -> EditRequest:
        """Return the edit of the item by a method; None asks for the inversion alone."""
        bench, item = self.bench, self.item
        return EditRequest(
            item.source_prompt, item.prompt, method, num_inference_steps=bench.steps,
            guidance_scale=float(self.benchmark.guidance.get(item.kind, 7.5)), seed=seed_of(bench.seed, item.name),
            supplier="live",
        )  # fmt: skip

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
        return self.bench.session.key(self.request(method), self._digest, item=(self.item.name, self.item.kind), **more)

    @property
    def _tuning(self) -> TuneSettings:
        return TuneSettings(steps=self.bench.tuning_steps, seed=self.bench.seed)

    def edit(self, contestant: Contestant, method: Method) -> Made:
        """Edit the clip.

        Raises:
            FaircutError: it cannot be edited so.
        """
        request, session, preparing = self.request(method), self.bench.session, 0.0
        if contestant.through == "atlas":
            atlas, preparing = self._atlas
            started = session.clock()
            # A session of its own: the layer's picture is another clip, and the item's inversions are wanted again.
            video = edit_atlas(Session(session.editor), atlas, request).video
            return Made(video.frames, session.clock() - started, preparing)
        if contestant.through == "tuned":
            session, preparing = self._tuned
        made = make_edit(session, request, self.clip.frames)[1]
        return replace(made, preparing=made.preparing + preparing)

    @cached_property
    def _tuned(self) -> tuple[Session, float]:
        """A copy of the model that has learnt the clip, in a session of its own, and the seconds that learning took."""
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
        """The clip's atlas, whose foreground is where the subject's words are, and its seconds."""
        session, blend = self.bench.session, self.item.blend
        assert blend is not None
        started = session.clock()
        inversion = session.prepare(self.request(None), self.clip.frames).inversion
        atlas = fit_atlas(self.clip.frames, session.locate(inversion, [blend[0]]))
        return atlas, session.clock() - started
