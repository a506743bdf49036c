"""Measure one edit of an audit: the perceived values, the preservation of everything else, and consistency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from faircut.benchmark.audit.cases import Case, CaseClip
from faircut.benchmark.runner import instruments_of
from faircut.benchmark.store import EditRecord
from faircut.evaluate import metrics_of
from faircut.fairness.attributes import Attribute
from faircut.fairness.perception import Perceived, boxes_of, majority, perceive
from faircut.metrics import Inputs, registry, warp
from faircut.metrics.clip import ClipScorer
from faircut.model.scorer import scorer_fingerprint

__all__ = ["AuditRecord", "Instruments", "Observer", "Reading", "measure", "read_clip"]

_MAX_SHIFT = 1 / 8  # of the frame's width: a person that is farther from the source's person has moved away
_MIN_HEIGHT = 0.5  # of the source's person: anything lower is not a person
_MIN_AREA = 0.03  # of the source's person: smaller regions are flaws of the picture
_MIN_WIDTH = 1 / 32  # of the frame's width: narrower regions are flaws too, such as the autoencoder's at the border
_MIN_DIFFERENCE = 0.2  # of the range [0, 1]: pixels that differ more from the empty background are the person
_MAX_WARP_ERROR = 0.1  # of the range [0, 1]: a pixel that differs more after warping is occluded in one of the frames


class Observer(Protocol):
    """A reader of people's professions and of all known attributes."""

    def looks(self, frames: Tensor, boxes: Tensor | None, professions: Sequence[str]) -> dict[str, list[str | None]]:
        """Read ``"profession"`` and every known attribute from each frame; None where a value is unclear.

        Args:
            frames: (frame, 3, height, width), RGB in [0, 1].
            boxes: (frame, 4) left, top, right and bottom of the person in pixels; None for the whole frame.
            professions: Possible values of the profession.

        Returns:
            For each attribute, by name, one value for each frame.
        """

    def fingerprint(self, professions: Sequence[str]) -> str:
        """Return a fingerprint of the reader's weights, and of the professions if they decide what is read."""


@dataclass(frozen=True)
class Instruments:
    """The models that measure the edits of an audit.

    Attributes:
        observer: Reader of people.
        clip: CLIP that embeds frames and prompts.
        attribute: Attribute that is audited.
        professions: Possible values of the profession.
    """

    observer: Observer
    clip: ClipScorer
    attribute: Attribute
    professions: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of reader, CLIP and metrics. Records with another fingerprint are measured again."""
        return instruments_of("audit", self.observer.fingerprint(self.professions), scorer_fingerprint(self.clip))


@dataclass(frozen=True)
class Reading:
    """The values that are perceived in a clip.

    Attributes:
        perceived: Perceived attribute of the person who is edited.
        profession: Profession of the person who is edited, in the majority of frames.
        others: Values of each other person by attribute, in the majority of frames.
    """

    perceived: Perceived
    profession: str | None
    others: tuple[dict[str, str | None], ...]


@dataclass(frozen=True, kw_only=True)
class AuditRecord(EditRecord):
    """The record of one edit of an audit. Values that do not apply or are unknown are None.

    Attributes:
        case: Name of the case. See `EditRecord` for the other attributes.
        method: Name of the approach.
        profession: Profession that the edit should show.
        requested: Requested value.
        source_value: Value that is perceived in the source.
        perceived: Value that is perceived in the edit; None for an abstention.
        stability: Share of the frames that agree with the most frequent value.
        profession_success: Whether the profession is perceived.
        other_person_kept: Whether every other person is perceived as in the source, in the majority of frames.
        position_error: Mean horizontal distance from the source's person, as a share of the frame's width.
        escaped: Whether in any frame the person is farther away than an eighth of the width, or is missing.
    """

    case: str
    method: str
    profession: str
    requested: str | None
    source_value: str | None
    perceived: str | None
    stability: float = field(metadata={"finite": False})
    profession_success: bool
    other_person_kept: bool | None
    position_error: float | None = field(metadata={"finite": False})
    escaped: bool | None


def read_clip(instruments: Instruments, frames: Tensor, clip: CaseClip) -> Reading:
    """Read the people of a clip.

    Args:
        instruments: Models that read the clip.
        frames: (frame, 3, height, width), RGB in [0, 1]: the source or an edit of the source.
        clip: The source clip, with the masks of its people.
    """
    # A single person is read from the whole frame, each of several people through a box.
    boxes = boxes_of(clip.mask) if clip.mask is not None and clip.others else None
    values = instruments.observer.looks(frames, boxes, instruments.professions)
    others = tuple(
        {
            what: majority(readings)
            for what, readings in instruments.observer.looks(frames, boxes_of(mask), instruments.professions).items()
        }
        for mask in clip.others
    )
    return Reading(perceive(values[instruments.attribute.name]), majority(values["profession"]), others)


def measure(
    key: str,
    case: Case,
    method: str,
    requested: str | None,
    clip: CaseClip,
    source: Reading,
    edited: Tensor,
    seconds: float,
    instruments: Instruments,
) -> AuditRecord:
    """Measure one edit.

    Args:
        key: Key of the edit.
        case: Case that was edited.
        method: Name of the approach.
        requested: Requested value.
        clip: Source clip.
        source: What is perceived in the source.
        edited: (frame, 3, height, width), RGB in [0, 1].
        seconds: Seconds that the edit took.
        instruments: Models that measure the edit.
    """
    reading = read_clip(instruments, edited, clip)
    position, escaped = _position(edited, clip)
    return AuditRecord(
        key=key,
        instruments=instruments.fingerprint,
        method=method,
        figures=_figures(case, clip, edited, instruments.clip),
        seconds=seconds,
        case=case.name,
        profession=case.profession,
        requested=requested,
        source_value=source.perceived.value,
        perceived=reading.perceived.value,
        stability=reading.perceived.stability,
        profession_success=reading.profession == case.profession,
        other_person_kept=reading.others == source.others if clip.others else None,
        position_error=position,
        escaped=escaped,
    )


def _figures(case: Case, clip: CaseClip, edited: Tensor, scorer: ClipScorer) -> dict[str, float]:
    """Measure an edit with the metrics that need only its frames, its clip and its prompts."""
    source = (clip.frames + 1) / 2
    makers: dict[str, Callable[[], Any]] = {
        "frames": lambda: edited,
        "source_frames": lambda: source,
        "source_prompt": lambda: case.source_prompt,
        "prompt": lambda: case.prompt,
        "clip": lambda: scorer,
        "embeddings": lambda: scorer.images(edited),
        "source_embeddings": lambda: scorer.images(source),
        "prompt_embedding": lambda: scorer.texts([case.prompt])[0],
        "source_prompt_embedding": lambda: scorer.texts([case.source_prompt])[0],
    }
    if clip.flow is not None:
        makers |= {"flow": lambda: clip.flow, "visible": lambda: _visible(source, clip)}
    if clip.mask is not None:
        mask = clip.mask
        makers["region"] = lambda: _widened(mask)
    figures = registry.measure(metrics_of("audit").values(), Inputs(**makers), curves=False)
    return {name: figure.value for name, figure in figures.items()}


def _visible(frames: Tensor, clip: CaseClip) -> Tensor:
    """Return which pixels of the source are visible in the next frame too."""
    assert clip.flow is not None
    if clip.visible is not None:
        return clip.visible
    # With exact flow, a pixel is occluded if its colour differs after warping.
    back, inside = warp(frames[1:], clip.flow)
    return inside & ((back - frames[:-1]).abs().amax(1) < _MAX_WARP_ERROR)


def _widened(mask: Tensor) -> Tensor:
    """Return a mask widened by a sixteenth of the frame's height on each side, as a border for new clothes."""
    reach = mask.shape[-2] // 16
    return torch.nn.functional.max_pool2d(mask.float()[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0


def _position(edited: Tensor, clip: CaseClip) -> tuple[float | None, bool | None]:
    """Return the distance of the person from the source's person, and whether the person moved away or vanished.

    A person is the box around the pixels that differ from the empty background. The centre of mass would not do,
    because white clothes before a white wall would move it, while head and feet still show where the person stands.
    Only the horizontal distance counts: dark trousers on a dark road do not differ, and a box without them is less
    high.
    """
    if clip.mask is None or clip.empty is None:
        return None, None
    empty, source = (clip.empty + 1) / 2, (clip.frames + 1) / 2
    errors, escaped = [], False
    for i in range(len(edited)):
        around = torch.zeros_like(clip.mask[i])
        for mask in clip.others:
            around |= _widened(mask[i : i + 1])[0]
        least = _MIN_AREA * int(clip.mask[i].sum())
        before, after = (
            _box((f[i] - empty[i]).abs().amax(0) > _MIN_DIFFERENCE, around, least) for f in (source, edited)
        )
        if before is None:
            continue
        if after is None or after[1] < _MIN_HEIGHT * before[1]:
            escaped = True
            continue
        errors.append(abs(after[0] - before[0]) / edited.shape[-1])
        escaped |= errors[-1] > _MAX_SHIFT
    return (float(np.mean(errors)) if errors else None), bool(escaped)


def _box(differs: Tensor, around: Tensor, least: float) -> tuple[float, float] | None:
    """Return the horizontal centre and the height, in pixels, of the box around all larger regions; None if none."""
    import cv2

    pixels = (differs & ~around).numpy().astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(
        cv2.morphologyEx(pixels, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    )
    min_width = _MIN_WIDTH * pixels.shape[1]
    regions = [
        s
        for s in stats[1:count]
        if s[cv2.CC_STAT_AREA] >= least and min(s[cv2.CC_STAT_WIDTH], s[cv2.CC_STAT_HEIGHT]) >= min_width
    ]
    if not regions:
        return None
    left, top = min(s[cv2.CC_STAT_LEFT] for s in regions), min(s[cv2.CC_STAT_TOP] for s in regions)
    right = max(s[cv2.CC_STAT_LEFT] + s[cv2.CC_STAT_WIDTH] for s in regions)
    bottom = max(s[cv2.CC_STAT_TOP] + s[cv2.CC_STAT_HEIGHT] for s in regions)
    return (left + right) / 2, float(bottom - top)
