"""Spatial-temporal self-attention: the frames whose keys and values a query attends to."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from faircut.attention.context import AttentionContext
from faircut.attention.controller import QKV, Controller, Where
from faircut.config.values import SpatialTemporal

__all__ = ["SpatialTemporalAttention", "frame_indices"]


def frame_indices(frames: Sequence[int | str], count: int) -> torch.Tensor:
    """Return the frames that every frame attends to.

    Args:
        frames: Relative indices (0 is the frame itself, -1 the one before; clamped to the clip), ``"first"``,
            ``"middle"`` (``(count - 1) // 2``) or ``"last"``.
        count: Number of frames of the clip.

    Returns:
        (count, len(frames)), int64, indices of frames.
    """
    index = torch.arange(count)
    fixed = {"first": 0, "middle": (count - 1) // 2, "last": count - 1}
    columns = [
        torch.full_like(index, fixed[frame]) if isinstance(frame, str) else (index + frame).clamp(0, count - 1)
        for frame in frames
    ]
    return torch.stack(columns, dim=1)


class SpatialTemporalAttention(Controller):
    """A controller that lets every query of self-attention see the concatenated keys and values of several frames.

    It acts in inversion and in editing, and on all branches alike (FateZero, section 3.4).

    Args:
        temporal: Frames to attend to, and the minimum width of the layers in which to do so.
        frames: Number of frames of the clip.
    """

    branches = None

    def __init__(self, temporal: SpatialTemporal, frames: int) -> None:
        self.where = Where(kind="self", phases=("invert", "correct", "denoise"))
        self.least_channels = temporal.least_channels
        self.indices = frame_indices(temporal.frames, frames)
        self._on_device: dict[torch.device, torch.Tensor] = {}

    def applies(self, context: AttentionContext) -> bool:
        """Return whether the layer is wide enough and the clip has more than one frame."""
        return super().applies(context) and context.layer.channels >= self.least_channels and context.layout.frames > 1

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Gather keys and values from the listed frames."""
        return context, qkv._replace(key=self._gather(qkv.key), value=self._gather(qkv.value))

    def _gather(self, x: torch.Tensor) -> torch.Tensor:
        """Return (branch * frame, head, position, dim) as (branch * frame, head, listed frame * position, dim)."""
        count, listed = self.indices.shape
        # Stored for each device, because a copy to a GPU would make every layer wait.
        if x.device not in self._on_device:
            self._on_device[x.device] = self.indices.flatten().to(x.device)
        # Projections are (branch * frame, position, head, dim) in memory, so in this order gathering copies whole
        # frames.
        clips = x.transpose(1, 2).unflatten(0, (-1, count))  # (branch, frame, position, head, dim)
        gathered = clips.index_select(1, self._on_device[x.device])  # (branch, frame * listed, position, head, dim)
        # (branch, frame, listed, position, head, dim) -> (branch * frame, head, listed * position, dim)
        return gathered.unflatten(1, (count, listed)).flatten(2, 3).flatten(0, 1).transpose(1, 2)
