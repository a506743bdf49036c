"""Measuring one edit of an audit: who is seen, what became of the rest, and how well the clip holds together."""

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

_ESCAPE = 1 / 8  # of the picture's width: farther from where the source's person is, a person has jumped
_LEAST_HEIGHT = 0.5  # of the source's person: anything smaller is not a person
_SPECK = 0.03  # of the source's person: smaller spots are flaws of the picture
_THIN = 1 / 32  # of the picture's width: thinner spots are flaws too, such as the autoencoder's along the border
_DIFFERENT = 0.2  # of the range: what differs more from the empty place is the person
_SAME = 0.1  # of the range: a pixel that the flow brings back farther off is hidden in one of the frames


class Observer(Protocol):
    """Reads people: their profession, and every known attribute."""

    def looks(self, frames: Tensor, boxes: Tensor | None, professions: Sequence[str]) -> dict[str, list[str | None]]:
        """Read ``"profession"`` and every known attribute, by its name, from each frame; None where it cannot be told.

        Args:
            frames: (frame, 3, height, width), RGB in [0, 1].
            boxes: (frame, 4) of the person; None for the whole picture.
            professions: what may be read as a profession.
        """

    def fingerprint(self, professions: Sequence[str]) -> str:
        """Identify the reader by its weights, and by what it is told, where that decides what it reads."""


@dataclass(frozen=True)
class Instruments:
    """What an audit measures with.

    Attributes:
        observer: reads people.
        clip: embeds frames and prompts.
        attribute: whose fairness is audited; one of the known ones.
        professions: what may be read as a profession.
    """

    observer: Observer
    clip: ClipScorer
    attribute: Attribute
    professions: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the reader, the CLIP and the metrics: what others have measured is measured anew."""
        return instruments_of("audit", self.observer.fingerprint(self.professions), scorer_fingerprint(self.clip))


@dataclass(frozen=True)
class Reading:
    """What is seen in a clip.

    Attributes:
        perceived: the attribute of the person who is edited.
        profession: of the person who is edited, the majority's.
        others: what is seen of each other person, the majority's.
    """

    perceived: Perceived
    profession: str | None
    others: tuple[dict[str, str | None], ...]


@dataclass(frozen=True, kw_only=True)
class AuditRecord(EditRecord):
    """What one edit measured; None where it does not apply or the truth is not known.

    Attributes:
        case: name of the case; see `EditRecord` for what every record has.
        method: how it was edited.
        profession: what the person was edited to.
        requested: the value that was asked for.
        source_value: what is seen in the source.
        perceived: what is seen in the edit; None is an abstention.
        stability: share of the frames that agree with the most frequent value.
        profession_success: whether the profession is seen.
        other_person_kept: whether the majority sees every other person as in the source.
        position_error: mean horizontal distance of the person from where the source's is, as a share of the picture's
            width.
        escaped: whether in any frame the person is an eighth of the width away, or is missing.
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
        instruments: read it.
        frames: (frame, 3, height, width), RGB in [0, 1]: the source or an edit of it.
        clip: where the source's people are.
    """
    # One person alone is read from the whole picture, two each through a box.
    boxes = boxes_of(clip.mask) if clip.mask is not None and clip.others else None
    seen = instruments.observer.looks(frames, boxes, instruments.professions)
    others = tuple(
        {
            what: majority(readings)
            for what, readings in instruments.observer.looks(frames, boxes_of(mask), instruments.professions).items()
        }
        for mask in clip.others
    )
    return Reading(perceive(seen[instruments.attribute.name]), majority(seen["profession"]), others)


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
        key: of the edit.
        case: what was edited.
        method: how.
        requested: the value that was asked for.
        clip: the source.
        source: what is seen in it.
        edited: (frame, 3, height, width), RGB in [0, 1].
        seconds: how long it took.
        instruments: measure it.
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
    """Measure an edit by the metrics of the table that need nothing but its frames, its clip and its prompts."""
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
    """Which pixels of the source are seen in the next frame as well."""
    assert clip.flow is not None
    if clip.visible is not None:
        return clip.visible
    # Along flow that is exact, a pixel that is hidden is one whose colour does not come back.
    back, inside = warp(frames[1:], clip.flow)
    return inside & ((back - frames[:-1]).abs().amax(1) < _SAME)


def _widened(mask: Tensor) -> Tensor:
    """The person with a border for new clothes: a sixteenth of the picture's height on each side."""
    reach = mask.shape[-2] // 16
    return torch.nn.functional.max_pool2d(mask.float()[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0


def _position(edited: Tensor, clip: CaseClip) -> tuple[float | None, bool | None]:
    """How far the person is from where the source's is, and whether he or she jumped or vanished in a frame.

    A person is the box around what differs from the empty place. Not its centre of mass: white clothes before a white
    wall would move it, while head and feet still tell where somebody stands. Only sideways: dark trousers on a dark
    road differ from nothing, and a box without them is lower by the length of the legs.
    """
    if clip.mask is None or clip.empty is None:
        return None, None
    empty, source = (clip.empty + 1) / 2, (clip.frames + 1) / 2
    errors, escaped = [], False
    for i in range(len(edited)):
        around = torch.zeros_like(clip.mask[i])
        for mask in clip.others:
            around |= _widened(mask[i : i + 1])[0]
        least = _SPECK * int(clip.mask[i].sum())
        before, after = (_box((f[i] - empty[i]).abs().amax(0) > _DIFFERENT, around, least) for f in (source, edited))
        if before is None:
            continue
        if after is None or after[1] < _LEAST_HEIGHT * before[1]:
            escaped = True
            continue
        errors.append(abs(after[0] - before[0]) / edited.shape[-1])
        escaped |= errors[-1] > _ESCAPE
    return (float(np.mean(errors)) if errors else None), bool(escaped)


def _box(differs: Tensor, around: Tensor, least: float) -> tuple[float, float] | None:
    """The box around all larger spots: its horizontal centre and its height in pixels; None where there is none."""
    import cv2

    pixels = (differs & ~around).numpy().astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(
        cv2.morphologyEx(pixels, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    )
    thin = _THIN * pixels.shape[1]
    spots = [
        s
        for s in stats[1:count]
        if s[cv2.CC_STAT_AREA] >= least and min(s[cv2.CC_STAT_WIDTH], s[cv2.CC_STAT_HEIGHT]) >= thin
    ]
    if not spots:
        return None
    left, top = min(s[cv2.CC_STAT_LEFT] for s in spots), min(s[cv2.CC_STAT_TOP] for s in spots)
    right = max(s[cv2.CC_STAT_LEFT] + s[cv2.CC_STAT_WIDTH] for s in spots)
    bottom = max(s[cv2.CC_STAT_TOP] + s[cv2.CC_STAT_HEIGHT] for s in spots)
    return (left + right) / 2, float(bottom - top)
