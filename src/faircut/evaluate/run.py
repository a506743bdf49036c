"""Evaluating an edit from files to a typed result."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from faircut.config.ranges import MAX_FRAMES, check_range
from faircut.config.texts import check_prompt, check_text
from faircut.config.values import to_dict
from faircut.edit.request import parse_device
from faircut.errors import VideoError
from faircut.evaluate.measure import Measure, measure_edit
from faircut.files import json_text, write_text
from faircut.model.checkpoints import POCKET
from faircut.model.scorer import load_clip_scorer, scorer_fingerprint
from faircut.report import Environment, describe_clip
from faircut.video import DEFAULT_MAX_FRAMES, Video, read_video

__all__ = ["Evaluation", "EvaluationSettings", "Stages", "run_evaluation", "save_evaluation"]

_FORMAT = 1
_POCKET_NOTE = (
    "this is the pocket CLIP, which knows only the drawn world; for real clips give --clip "
    "openai/clip-vit-large-patch14 or the folder of a CLIP"
)


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated, and with what.

    Attributes:
        edited: the edited clip: a video file, an animation or a folder of pictures.
        source: the clip that it was edited from.
        source_prompt: what is in the source.
        prompt: what was asked for.
        clip: a CLIP's folder or name on the hub; ``"auto"`` is the pocket model's.
        mask: a clip or folder of pictures, bright where the edit was to be: one for each frame of the edit, or one for
            all; None for none.
        num_frames: how many frames of both are evaluated; None for all.
        start: the first frame of the source that was edited.
        stride: every Nth frame of the source was edited.
        resize: whether source and mask are brought to the edit's size where it is another.
        device: where CLIP runs: a torch device, or ``"auto"``.
    """

    edited: str
    source: str
    source_prompt: str
    prompt: str
    clip: str = "auto"
    mask: str | None = None
    num_frames: int | None = None
    start: int = 0
    stride: int = 1
    resize: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        check_prompt(self.source_prompt, "the source prompt")
        check_prompt(self.prompt, "the prompt", required=True)
        for name in ("edited", "source", "clip", "device"):
            check_text(getattr(self, name), name)
        if self.num_frames is not None:
            check_range("num_frames", self.num_frames, 1, MAX_FRAMES, flag="--frames")
        check_range("start", self.start, 0, MAX_FRAMES, flag="--start")
        check_range("stride", self.stride, 1, MAX_FRAMES, flag="--stride")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found, and where the figures come from.

    Attributes:
        measures: by the metrics' names.
        settings: of the evaluation.
        edited: the edited clip: its hash, frames, size, rate, and what reading it did.
        source: the same of the source.
        mask: the same of the mask; None without one.
        clip: name of the CLIP, and the fingerprint of its weights.
        environment: versions, device and dtype.
        notes: what was done to the clips, and what the figures do not say.
        format: version of this layout.
    """

    measures: Mapping[str, Measure]
    settings: Mapping[str, Any]
    edited: Mapping[str, Any]
    source: Mapping[str, Any]
    mask: Mapping[str, Any] | None
    clip: Mapping[str, str]
    environment: Environment
    notes: tuple[str, ...] = ()
    format: int = field(default=_FORMAT)

    def to_json(self) -> str:
        """Return the evaluation as JSON text."""
        return json_text(to_dict(self))


class Stages(Protocol):
    """Shows how far an evaluation is."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Any]:
        """Open a stage."""


class _Silent:
    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Any]:
        return nullcontext()


def run_evaluation(settings: EvaluationSettings, progress: Stages | None = None) -> Evaluation:
    """Read an edit and its source, and measure the edit.

    Args:
        settings: what is evaluated, and with what.
        progress: shows how far it is.

    Returns:
        The evaluation.

    Raises:
        VideoError: a clip cannot be read, or the clips do not fit each other.
        ModelError: there is no such CLIP.
        ConfigError: there is no such device.
    """
    progress = progress or _Silent()
    device, _ = parse_device(settings.device, "float32")
    notes: list[str] = []
    with progress.stage("Reading"):
        edited = read_video(settings.edited, num_frames=settings.num_frames)
        source = _read_source(settings, edited, notes)
        mask, region = _read_mask(settings, edited, notes)
    with progress.stage("Loading CLIP"):
        scorer = load_clip_scorer(settings.clip)
        scorer.model.to(device)
    with progress.stage("Measuring"):
        prompts = settings.source_prompt, settings.prompt
        measures = measure_edit((edited.frames + 1) / 2, (source.frames + 1) / 2, prompts, scorer, region)
    notes += _remarks(settings, measures)
    return Evaluation(
        measures=measures,
        settings=to_dict(settings),
        edited=describe_clip(edited, settings.edited),
        source=describe_clip(source, settings.source),
        mask=None if mask is None or settings.mask is None else describe_clip(mask, settings.mask),
        clip={"name": scorer.name, "fingerprint": scorer_fingerprint(scorer)},
        environment=Environment.of(device, "float32"),
        notes=tuple(notes),
    )


def save_evaluation(evaluation: Evaluation, path: str | Path) -> Path:
    """Write an evaluation as JSON, whole or not at all.

    Args:
        evaluation: the figures and where they come from.
        path: where.

    Returns:
        The path.
    """
    return write_text(path, evaluation.to_json() + "\n")


def _read_source(settings: EvaluationSettings, edited: Video, notes: list[str]) -> Video:
    """Read the frames of the source that were edited.

    Raises:
        VideoError: there are more or fewer of them than of the edit.
    """
    source = _read_fitting(
        settings.source, edited, settings, notes, num_frames=settings.num_frames, start=settings.start,
        stride=settings.stride, max_frames=max(DEFAULT_MAX_FRAMES, len(edited)),
    )  # fmt: skip
    if len(source) != len(edited):
        raise VideoError(
            f"{settings.edited} has {len(edited)} frames and {settings.source} {len(source)}: say which of the "
            f"source's were edited, with --frames, --start and --stride, such as --frames "
            f"{min(len(edited), len(source))} for the first ones"
        )
    return source


def _read_mask(settings: EvaluationSettings, edited: Video, notes: list[str]) -> tuple[Video | None, Tensor | None]:
    """Read where the edit was to be, (frame, height, width) bool; None without a mask.

    Raises:
        VideoError: there are neither as many masks as frames nor one, or they mark all or nothing.
    """
    if settings.mask is None:
        return None, None
    mask = _read_fitting(settings.mask, edited, settings, notes)
    # Of a longer clip's masks, the first ones belong to the first frames.
    frames = mask.frames[: settings.num_frames]
    if len(frames) not in (1, len(edited)):
        raise VideoError(
            f"{settings.mask} has {len(frames)} masks for {len(edited)} frames: give one for each frame of the edit, "
            "or one for all"
        )
    region = (frames.mean(1) > 0).expand(len(edited), -1, -1)
    if bool(region.all()) or not bool(region.any()):
        raise VideoError(
            f"{settings.mask} is {'bright' if bool(region.any()) else 'dark'} all over: it must be bright where the "
            "edit was to be and dark elsewhere"
        )
    return mask, region


def _read_fitting(path: str, edited: Video, settings: EvaluationSettings, notes: list[str], **which: Any) -> Video:
    """Read a clip of the edit's size, or bring it to that size if that was asked for, and say so.

    Raises:
        VideoError: it cannot be read, or is of another size and nobody asked for resizing.
    """
    video = read_video(path, **which)
    if video.size == edited.size:
        return video
    size, edited_size = (f"{width}x{height}" for height, width in (video.size, edited.size))
    if not settings.resize:
        raise VideoError(
            f"{settings.edited} is {edited_size} and {path} {size}: give --resize to bring the latter to the edit's "
            "size, or clips of one size"
        )
    video = read_video(path, size=edited.size, **which)
    notes.append(f"{path} was resized: {'; '.join(video.source.notes) if video.source else ''}")
    return video


def _remarks(settings: EvaluationSettings, measures: Mapping[str, Measure]) -> list[str]:
    """Say what a reader of the figures should know."""
    remarks = [_POCKET_NOTE] if settings.clip in ("auto", POCKET) else []
    agreement = measures["clip_t"]
    if settings.prompt != settings.source_prompt and (agreement.value or 0) <= (agreement.source or 0):
        remarks.append(
            "the edit agrees with the prompt no better than its source does, so its consistency says little: an edit "
            "that changes nothing is as consistent as its source"
        )
    return remarks
