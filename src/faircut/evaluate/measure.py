"""Every metric of one edit, and of its source beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from faircut import metrics
from faircut.errors import VideoError
from faircut.metrics.clip import ClipScorer

__all__ = ["KINDS", "LEAST_SIZE", "Kind", "Measure", "measure_edit"]

LEAST_SIZE = 12
"""Smallest height and width in pixels of which optical flow can be estimated."""


@dataclass(frozen=True)
class Kind:
    """What a metric is.

    Attributes:
        label: what the field calls it.
        meaning: what a figure of it says, in a few words.
        higher_is_better: None where neither is: an edit that changes nothing is nearest to its source.
        of: what each value of its curve belongs to: ``"frame"``, ``"pair"`` of neighbours, or ``"clip"`` for no curve.
    """

    label: str
    meaning: str
    higher_is_better: bool | None
    of: str


KINDS: dict[str, Kind] = {
    "clip_t": Kind("CLIP-T", "agrees with the prompt", True, "frame"),
    "frame_acc": Kind("Frame-Acc", "frames nearer to the prompt", True, "frame"),
    "tem_con": Kind("Tem-Con", "neighbours are alike to CLIP", True, "pair"),
    "warp_error": Kind("Warp-Err", "change along the source's motion", False, "pair"),
    "warp_ssim": Kind("WarpSSIM", "likeness along the source's motion", True, "pair"),
    "q_edit": Kind("Q-edit", "100 CLIP-T / 1000 Warp-Err", True, "clip"),
    "background_psnr": Kind("Background PSNR", "dB, what stayed outside the mask", True, "frame"),
    "psnr": Kind("PSNR", "dB, how little changed at all", None, "frame"),
    "ssim": Kind("SSIM", "how little changed at all", None, "frame"),
}
"""The metrics in the order in which they are shown."""


@dataclass(frozen=True)
class Measure:
    """A figure of an edit.

    Attributes:
        value: of the clip; None where there is none, such as a quotient by zero.
        source: the same of the source itself, as if it were the edit; None for likeness to the source.
        higher_is_better: see `Kind`.
        of: what each value of `series` belongs to.
        series: by frame or pair of neighbours; None where there is no value.
    """

    value: float | None
    source: float | None
    higher_is_better: bool | None
    of: str
    series: tuple[float | None, ...] = ()


def measure_edit(
    edited: Tensor,
    source: Tensor,
    prompts: tuple[str, str],
    clip: ClipScorer,
    region: Tensor | None = None,
) -> Mapping[str, Measure]:
    """Measure an edit with every metric that applies.

    The motion is the source's, estimated, and pixels that the forward-backward check finds occluded do not count.

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: the same shape.
        prompts: the source prompt and the target prompt.
        clip: embeds frames and prompts.
        region: (frame, height, width) bool, what was to be edited; None where nobody knows.

    Returns:
        By name, of `KINDS`; ``background_psnr`` only with a region.

    Raises:
        VideoError: the shapes differ, or the frames are too small.
    """
    _check(edited, source)
    texts = clip.texts(prompts)
    flow, visible = metrics.motion(source)
    own, its = (_of_one_clip(frames, clip.images(frames), texts, flow, visible) for frames in (edited, source))
    found = own | _beside_the_source(edited, source, region)
    return {
        name: Measure(
            value=_finite(found[name][0]),
            source=_finite(its[name][0]) if name in its else None,
            higher_is_better=kind.higher_is_better,
            of=kind.of,
            series=tuple(_finite(value) for value in found[name][1].tolist()),
        )
        for name, kind in KINDS.items()
        if name in found
    }


def _check(edited: Tensor, source: Tensor) -> None:
    """Check that two clips can be compared.

    Raises:
        VideoError: the shapes differ, or the frames are too small.
    """
    if edited.shape != source.shape:
        raise VideoError(
            f"the edit is {tuple(edited.shape)} and the source {tuple(source.shape)}, (frame, channel, height, width); "
            "give clips of as many frames and of one size"
        )
    if min(edited.shape[-2:]) < LEAST_SIZE:
        height, width = edited.shape[-2:]
        raise VideoError(
            f"clips of {width}x{height} are too small to see their motion: at least {LEAST_SIZE}x{LEAST_SIZE} are needed"
        )


def _of_one_clip(
    frames: Tensor, embeddings: Tensor, texts: Tensor, flow: Tensor, visible: Tensor
) -> dict[str, tuple[float, Tensor]]:
    """Measure what needs no comparison with the source's pixels: the figure and its curve."""
    before, target = texts
    agreement, error = metrics.clip_t(embeddings, target), metrics.warp_error(frames, flow, visible)
    return {
        "clip_t": (agreement, metrics.clip_t_series(embeddings, target)),
        "frame_acc": (
            metrics.frame_acc(embeddings, target, before),
            metrics.frame_acc_series(embeddings, target, before).float(),
        ),
        "tem_con": (metrics.tem_con(embeddings), metrics.tem_con_series(embeddings)),
        "warp_error": (error, metrics.warp_error_series(frames, flow, visible)),
        "warp_ssim": (metrics.warp_ssim(frames, flow, visible), metrics.warp_ssim_series(frames, flow, visible)),
        "q_edit": (metrics.q_edit(agreement, error), torch.zeros(0)),
    }


def _beside_the_source(edited: Tensor, source: Tensor, region: Tensor | None) -> dict[str, tuple[float, Tensor]]:
    """Measure how near the edit stayed to its source: the figure and its curve."""
    found = {
        "psnr": (metrics.psnr(edited, source), metrics.psnr_series(edited, source)),
        "ssim": (metrics.ssim(edited, source), metrics.ssim_series(edited, source)),
    }
    if region is not None:
        frames = [
            metrics.region_psnr(a, b, ~r)
            for a, b, r in zip(*(x.split(1) for x in (edited, source, region)), strict=True)
        ]
        found["background_psnr"] = (metrics.region_psnr(edited, source, ~region), torch.tensor(frames))
    return found


def _finite(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None
