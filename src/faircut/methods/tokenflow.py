"""TokenFlow: edited keyframes, and their tokens carried along the source's (Geyer et al., ICLR 2024, arXiv
2307.10373)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from faircut.attention.controller import Controller
from faircut.config.ranges import MAX_FRAMES, check_range
from faircut.controllers.features import TokenPropagation
from faircut.methods.base import EditTask, register
from faircut.methods.plug_and_play import PlugAndPlay

__all__ = ["TokenFlow"]


@register
@dataclass(frozen=True)
class TokenFlow(PlugAndPlay):
    """Plug-and-Play that computes self-attention in keyframes and propagates it to all frames (algorithm 1).

    In every step one frame of each interval is drawn as a keyframe. All frames are in one batch, so convolutions and
    cross-attention are computed for all of them; the published code runs the keyframes first, and gets the same tokens.
    Tokens are matched by the source's attention outputs, as in the paper.

    Attributes:
        interval: Frames in an interval, each of which has one keyframe; published: 8.
    """

    name: ClassVar[str] = "tokenflow"
    title: ClassVar[str] = "TokenFlow"
    paper: ClassVar[str] = "Geyer et al., ICLR 2024, arXiv 2307.10373"

    interval: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("interval", self.interval, 1, MAX_FRAMES, example="8 frames")

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build the injection, and the propagation behind it."""
        # A clip needs two keyframes at the least, or there is nothing to carry between.
        interval = min(self.interval, max(1, task.frames // 2))
        starts = range(0, task.frames, interval)
        drawn = torch.rand(task.steps, len(starts), generator=task.generator)
        keyframes = [
            [start + int(share * min(interval, task.frames - start)) for start, share in zip(starts, row, strict=True)]
            for row in drawn.tolist()
        ]
        return [*super().controllers(task), TokenPropagation(keyframes, task.frames)]
