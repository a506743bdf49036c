"""Evaluate an edit that is stored in files."""

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
    "the pocket CLIP knows only the drawn world; for real clips give --clip "
    "openai/clip-vit-large-patch14 or the folder of a CLIP"
)


@dataclass(frozen=True)
class EvaluationSettings:
    """The settings of one evaluation.

    Attributes:
        edited: Edited clip: a video file, an animation or a folder of pictures.
        source: Source clip of the edit.
        source_prompt: Prompt that describes the source clip.
        prompt: Target prompt of the edit.
        clip: Folder or hub name of the CLIP that measures; ``"auto"`` is the pocket model's.
        mask: Clip or folder of pictures, bright where the edit belongs: one picture for each frame of the edit, or one
            for all. None for no mask.
        num_frames: Number of frames to evaluate; None for all.
        start: First frame of the source that was edited, counted from 0.
        stride: Distance between two frames of the source that were edited.
        resize: Whether to resize source and mask to the size of the edit.
        device: PyTorch device for CLIP, or ``"auto"``.
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
    """The result of an evaluation, with its provenance.

    Attributes:
        measures: Results by metric name.
        settings: Settings of the evaluation.
        edited: Facts about the edited clip: hash, number of frames, size, frame rate, and how reading changed it.
        source: Facts about the source clip, with the keys of `edited`.
        mask: Facts about the mask, with the keys of `edited`; None without a mask.
        clip: Name of the CLIP, and the fingerprint of its weights.
        environment: Versions, device and dtype.
        notes: Changes made to the clips, and limits of what the figures mean.
        format: Version of the file's layout.
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
    """Shows the progress of an evaluation."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Any]:
        """Show a stage while the returned context manager is open."""


class _Silent:
    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Any]:
        return nullcontext()


def run_evaluation(settings: EvaluationSettings, progress: Stages | None = None) -> Evaluation:
    """Read an edit and its source, and measure the edit.

    Args:
        settings: Settings of the evaluation.
        progress: Shows the progress; None shows nothing.

    Returns:
        The evaluation.

    Raises:
        VideoError: If a clip cannot be read, or the clips do not fit each other.
        ModelError: If the CLIP does not exist or cannot be loaded.
        ConfigError: If the device does not exist.
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
    """Write an evaluation as JSON in one atomic step.

    Args:
        evaluation: The evaluation to write.
        path: Path of the file.

    Returns:
        Path of the file.
    """
    return write_text(path, evaluation.to_json() + "\n")


def _read_source(settings: EvaluationSettings, edited: Video, notes: list[str]) -> Video:
    """Read the frames of the source that were edited.

    Raises:
        VideoError: If the source and the edit have different numbers of frames.
    """
    source = _read_fitting(
        settings.source, edited, settings, notes, num_frames=settings.num_frames, start=settings.start,
        stride=settings.stride, max_frames=max(DEFAULT_MAX_FRAMES, len(edited)),
    )  # fmt: skip
    if len(source) != len(edited):
        raise VideoError(
            f"{settings.edited} has {len(edited)} frames and {settings.source} {len(source)}: select the source's "
            f"edited frames with --frames, --start and --stride, such as --frames "
            f"{min(len(edited), len(source))} for the first ones"
        )
    return source


def _read_mask(settings: EvaluationSettings, edited: Video, notes: list[str]) -> tuple[Video | None, Tensor | None]:
    """Read the mask, and where it is bright: (frame, height, width) bool. Returns None for both without a mask.

    Raises:
        VideoError: If the mask has neither one picture nor one for each frame, or marks everything or nothing.
    """
    if settings.mask is None:
        return None, None
    mask = _read_fitting(settings.mask, edited, settings, notes)
    # With num_frames, only the masks of the first frames are used.
    frames = mask.frames[: settings.num_frames]
    if len(frames) not in (1, len(edited)):
        raise VideoError(
            f"{settings.mask} has {len(frames)} masks for {len(edited)} frames; give one for each frame of the edit, "
            "or one for all"
        )
    region = (frames.mean(1) > 0).expand(len(edited), -1, -1)
    if bool(region.all()) or not bool(region.any()):
        raise VideoError(
            f"{settings.mask} is {'bright' if bool(region.any()) else 'dark'} everywhere; make it bright where the "
            "edit belongs and dark elsewhere"
        )
    return mask, region


def _read_fitting(path: str, edited: Video, settings: EvaluationSettings, notes: list[str], **which: Any) -> Video:
    """Read a clip that must have the edit's size. With ``resize``, resize it and add a note.

    Raises:
        VideoError: If the clip cannot be read, or has another size and ``resize`` is not set.
    """
    video = read_video(path, **which)
    if video.size == edited.size:
        return video
    size, edited_size = (f"{width}x{height}" for height, width in (video.size, edited.size))
    if not settings.resize:
        raise VideoError(
            f"{settings.edited} is {edited_size} and {path} {size}; give --resize to resize the latter to the edit's "
            "size, or give clips of the same size"
        )
    video = read_video(path, size=edited.size, **which)
    notes.append(f"{path} was resized: {'; '.join(video.source.notes) if video.source else ''}")
    return video


def _remarks(settings: EvaluationSettings, measures: Mapping[str, Measure]) -> list[str]:
    """Return notes on what the figures do and do not mean."""
    remarks = [_POCKET_NOTE] if settings.clip in ("auto", POCKET) else []
    agreement = measures["clip_t"]
    if settings.prompt != settings.source_prompt and (agreement.value or 0) <= (agreement.source or 0):
        remarks.append(
            "the edit agrees with the prompt no better than its source, so its consistency means little: an edit that "
            "changes nothing is as consistent as its source"
        )
    return remarks
