"""Spatial-temporal self-attention: which frames' keys and values a query sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from faircut.attention.context import AttentionContext
from faircut.attention.controller import QKV, Controller, Where
from faircut.config.values import SpatialTemporal

__all__ = ["SpatialTemporalAttention", "frame_indices"]


def frame_indices(frames: Sequence[int | str], count: int) -> torch.Tensor:
    """Say which frames every frame attends to.

    Args:
        frames: relative indices (0 is the frame itself, -1 the one before; clamped to the clip), ``"first"``,
            ``"middle"`` (``(count - 1) // 2``) or ``"last"``.
        count: frames of the clip.

    Returns:
        (count, len(frames)), int64.
    """
    own = torch.arange(count)
    fixed = {"first": 0, "middle": (count - 1) // 2, "last": count - 1}
    columns = [
        torch.full_like(own, fixed[frame]) if isinstance(frame, str) else (own + frame).clamp(0, count - 1)
        for frame in frames
    ]
    return torch.stack(columns, dim=1)


class SpatialTemporalAttention(Controller):
    """Lets every query of a self-attention layer see the keys and values of a list of frames, concatenated.

    Acts in inversion and in editing and on all branches alike (FateZero, section 3.4).

    Args:
        temporal: the frames, and the least width of the layers it acts on.
        frames: frames of the clip.
    """

    branches = None

    def __init__(self, temporal: SpatialTemporal, frames: int) -> None:
        self.where = Where(kind="self", phases=("invert", "correct", "denoise"))
        self.least_channels = temporal.least_channels
        self.indices = frame_indices(temporal.frames, frames)
        self._on_device: dict[torch.device, torch.Tensor] = {}

    def applies(self, context: AttentionContext) -> bool:
        """Whether the layer is wide enough; a clip of one frame has nothing to add."""
        return super().applies(context) and context.layer.channels >= self.least_channels and context.layout.frames > 1

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Gather keys and values from the frames of the list."""
        return context, qkv._replace(key=self._gather(qkv.key), value=self._gather(qkv.value))

    def _gather(self, x: torch.Tensor) -> torch.Tensor:
        """(branch * frame, head, position, dim) -> (branch * frame, head, listed frame * position, dim)."""
        count, listed = self.indices.shape
        # Kept, for a copy to a GPU would make every layer wait for it.
        if x.device not in self._on_device:
            self._on_device[x.device] = self.indices.flatten().to(x.device)
        # Projections lie position by position, heads innermost: so gathering copies whole frames at once.
        clips = x.transpose(1, 2).unflatten(0, (-1, count))
        gathered = clips.index_select(1, self._on_device[x.device])
        return gathered.unflatten(1, (count, listed)).flatten(2, 3).flatten(0, 1).transpose(1, 2)
