"""Tune-A-Video's training: predicting the noise of one clip at random noise levels under its prompt."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from faircut.config.values import to_dict
from faircut.controllers.spatial_temporal import SpatialTemporalAttention
from faircut.edit.editor import VideoEditor
from faircut.edit.request import EditRequest
from faircut.edit.session import Session
from faircut.errors import ConfigError, ModelError, NumericalError, OutOfMemoryError, VideoError
from faircut.files import name_in_errors
from faircut.interrupts import stop_on_signals
from faircut.methods import TuneAVideo
from faircut.model.backbone import backbone_of
from faircut.model.fingerprint import key_of
from faircut.model.predictor import frozen
from faircut.model.temporal import attach_temporal
from faircut.model.unet import UNetBackbone
from faircut.tune.lesson import Lesson, learning_parameters, learns
from faircut.tune.settings import TuneSettings
from faircut.tune.state import Checkpoint, open_folder, publish, published
from faircut.video import Video, side_by_side, write_video

__all__ = ["Log", "Tuned", "tune"]

Log = Callable[[str, dict[str, Any]], None]

# The first two are as published. Of the settings, only those in _DECISIVE influence the weights of a step.
_WEIGHT_DECAY, _LARGEST_NORM = 1e-2, 1.0
_DECISIVE = ("learning_rate", "trainable", "temporal_layers", "seed", "precision")
_LOG_EVERY = 20


@dataclass(frozen=True)
class Tuned:
    """The result of a tuning.

    Attributes:
        folder: Folder of the tuned model.
        step: Number of steps done.
        loss: Mean squared error of the noise over the last steps of this run, or None if there were none.
        seconds: Seconds that all steps took, over all runs.
        validations: Validation clips that were written, in order.
    """

    folder: Path
    step: int
    loss: float | None
    seconds: float
    validations: tuple[Path, ...]


def tune(
    editor: VideoEditor,
    video: Video,
    prompt: str,
    settings: TuneSettings | None = None,
    folder: str | Path = "tuned",
    *,
    fresh: bool = False,
    log: Log | None = None,
) -> Tuned:
    """Tune a model to one clip, or continue an interrupted tuning. The editor's own weights change.

    Frames attend to the first frame and the previous one (`TuneAVideo.temporal`), and norms use the whole clip.
    Afterwards the folder contains a model that `VideoEditor.from_pretrained` loads, including temporal layers. After
    Ctrl-C or a kill, the same call continues from the last checkpoint. On a CPU the result is the same bit for bit.

    Args:
        editor: Editor with a model in float32.
        video: Clip to learn.
        prompt: Prompt that describes the clip.
        settings: Settings of the tuning. None uses the defaults.
        folder: Folder for checkpoints, the log, validation clips and finally the model.
        fresh: Whether to begin again if the folder contains another tuning.
        log: Function that gets the progress: the name of a stage, and a mapping with ``done`` (0 to 1) and figures such
            as ``loss``.

    Returns:
        The result, with the folder of the model.

    Raises:
        ConfigError: If a setting is out of range, or the folder contains other files or another tuning.
        ModelError: If the model is not in float32, or has adapters.
        PromptError: If a prompt cannot be used.
        VideoError: If the clip cannot be used.
        NumericalError: If the loss is no longer finite.
        OutOfMemoryError: If memory runs out.
        KeyboardInterrupt: If the tuning is interrupted, after writing a checkpoint.
    """
    settings, folder, unet = settings or TuneSettings(), Path(folder), editor.unet
    _check(editor, video, prompt, settings)
    settings = settings.resolved(unet)
    facts = {"prompt": prompt, "clip": key_of(clip=video.frames), "model": editor.fingerprint}
    open_folder(folder, facts | {name: to_dict(getattr(settings, name)) for name in _DECISIVE}, fresh=fresh)
    if settings.temporal_layers:
        attach_temporal(unet, settings.seed)
    parameters = learning_parameters(unet, settings.trainable)
    adam = torch.optim.AdamW(parameters.values(), settings.learning_rate or 0.0, weight_decay=_WEIGHT_DECAY)
    checkpoint = Checkpoint(folder, parameters, adam)
    first_step, seconds = checkpoint.load()
    if first_step > settings.steps:
        raise ConfigError(f"{folder} already has {first_step} steps; give at least as many, or begin again with fresh")
    run = _Run(
        editor, video, prompt, settings, folder, log or (lambda stage, line: None), checkpoint, first_step, seconds
    )
    with frozen(unet), stop_on_signals() as stop, _out_of_memory():
        run.learn(parameters, adam, stop.is_set)
    if run.step < settings.steps:
        raise KeyboardInterrupt
    if not published(folder, run.step):
        run.log("Writing", {})
        publish(editor, folder, run.step)
    return Tuned(folder, run.step, run.mean_loss, run.seconds, tuple(run.validations))


class _Run:
    """One run of a tuning, starting from its last checkpoint."""

    def __init__(
        self,
        editor: VideoEditor,
        video: Video,
        prompt: str,
        settings: TuneSettings,
        folder: Path,
        log: Log,
        checkpoint: Checkpoint,
        step: int,
        seconds: float,
    ) -> None:
        self.editor, self.video, self.prompt, self.settings = editor, video, prompt, settings
        self.folder, self.log, self.checkpoint = folder, log, checkpoint
        self.step, self.seconds = step, seconds
        self.validations: list[Path] = []
        self.losses: list[float] = []

    @property
    def mean_loss(self) -> float | None:
        """Mean loss over the last steps of this run, because single losses vary with their noise level."""
        recent = self.losses[-100:]
        return sum(recent) / len(recent) if recent else None

    def learn(
        self, parameters: Mapping[str, nn.Parameter], adam: torch.optim.Optimizer, stopped: Callable[[], bool]
    ) -> None:
        """Take the remaining steps, with checkpoints and validations."""
        settings = self.settings
        lesson = Lesson.of(self.editor, self.video.frames, self.prompt, settings.seed)
        saved = time.monotonic()
        while True:
            if self._validation_due():
                self._validate()
            if self.step >= settings.steps or stopped():
                break
            started = time.monotonic()
            loss = self._step(lesson, parameters, adam)
            self.step += 1
            self.seconds += time.monotonic() - started
            self._note(loss)
            ends = self.step >= settings.steps or stopped()
            if ends or self._validation_due() or time.monotonic() - saved > settings.checkpoint_every:
                self.checkpoint.save(self.step, self.seconds)
                saved = time.monotonic()

    def _step(self, lesson: Lesson, parameters: Mapping[str, nn.Parameter], adam: torch.optim.Optimizer) -> float:
        """Take one step of the optimiser and return its loss."""
        unet, settings, frames = self.editor.unet, self.settings, len(lesson.z_0)
        temporal_attention = SpatialTemporalAttention(TuneAVideo.temporal, frames)
        with (
            torch.enable_grad(),
            learns(unet, parameters, settings.gradient_checkpointing),
            backbone_of(unet).install(
                [temporal_attention], frames=frames, clip_norm=TuneAVideo.temporal.clip_norm
            ) as control,
        ):
            with torch.autocast(lesson.z_0.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                loss = lesson.loss(unet, control, self.step)
            # The backward pass is inside, because it computes blocks again with gradient checkpointing and needs the
            # control.
            loss.backward()
        value = float(loss.detach())
        if not np.isfinite(value):
            raise NumericalError(
                f"the loss is no longer finite at step {self.step}; give a lower learning_rate than "
                f"{settings.learning_rate:g}, or precision float32"
            )
        nn.utils.clip_grad_norm_(parameters.values(), _LARGEST_NORM)
        adam.step()
        adam.zero_grad()
        return value

    def _note(self, loss: float) -> None:
        """Report the progress, and write a line to the log every few steps."""
        self.losses.append(loss)
        record: dict[str, Any] = {"done": self.step / self.settings.steps}
        if self.step % _LOG_EVERY == 0 or self.step == self.settings.steps:
            record |= {"loss": round(sum(self.losses[-_LOG_EVERY:]) / len(self.losses[-_LOG_EVERY:]), 6)}
            path = self.folder / "log.jsonl"
            with name_in_errors(path), open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.step, "seconds": round(self.seconds, 1), **record}) + "\n")
        self.log("Tuning", record)

    def _validation_file(self) -> Path:
        return self.folder / "validation" / f"step-{self.step}.mp4"

    def _validation_due(self) -> bool:
        settings = self.settings
        reached = self.step > 0 and (self.step % settings.validate_every == 0 or self.step == settings.steps)
        return bool(settings.validation_prompts) and reached and not self._validation_file().is_file()

    def _validate(self) -> None:
        """Edit the clip with every validation prompt, and write the results side by side."""
        self.log("Validating", {})
        settings, session = self.settings, Session(self.editor)
        clips = [self.video]
        for prompt in settings.validation_prompts:
            request = EditRequest(
                self.prompt,
                prompt,
                TuneAVideo(),
                num_inference_steps=settings.validation_steps,
                guidance_scale=settings.guidance_scale,
                supplier="live",
            )
            edited = session.edit(session.prepare(request, self.video)).video
            assert edited is not None
            clips.append(edited)
        labels = (self.prompt, *settings.validation_prompts)
        self.validations.append(write_video(side_by_side(clips, labels), self._validation_file()))


def _check(editor: VideoEditor, video: Video, prompt: str, settings: TuneSettings) -> None:
    """Check that the model, the prompts and the clip can be used, before training begins.

    Raises:
        ModelError: If the model cannot be tuned.
        PromptError: If a prompt cannot be used.
        VideoError: If the clip cannot be used.
    """
    if not isinstance(editor.backbone, UNetBackbone):
        raise ModelError(
            f"tuning adds temporal layers to a UNet2DConditionModel, but this model has a "
            f"{type(editor.unet).__name__}; give a Stable Diffusion 1.x or 2.x checkpoint"
        )
    if editor.unet.dtype != torch.float32:
        raise ModelError(
            f"the model is in {str(editor.unet.dtype).removeprefix('torch.')}; load it with dtype=torch.float32"
        )
    if getattr(editor.unet, "peft_config", None):
        raise ModelError("this model has adapters, but tuning changes plain weights; fuse and unload them first")
    if not len(video):
        raise VideoError("the clip has no frames; give at least one")
    for text in (prompt, *settings.validation_prompts):
        editor.tokenize(text)


@contextlib.contextmanager
def _out_of_memory() -> Iterator[None]:
    """Turn out-of-memory errors into one that says how to use less memory."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        if isinstance(error, OutOfMemoryError):
            raise
        raise OutOfMemoryError(
            "out of memory while tuning; try gradient_checkpointing, precision bfloat16, fewer frames or a smaller size"
        ) from error
