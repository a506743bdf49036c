"""Group normalisation whose statistics are those of a clip, not of a frame.

In FateZero's reference the residual blocks' norms and the output norm see the whole clip as one sample, which steadies
colours over time. Frames ride in the batch here, so the norms are swapped for ones that regroup it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from faircut.errors import AttentionError

__all__ = ["ClipGroupNorm", "clip_norms"]


class ClipGroupNorm(nn.Module):
    """A group norm over all frames of a clip together, with the weights of an existing one.

    Args:
        norm: the norm to stand in for; its parameters are shared, not copied.
        frames: frames of a clip; the batch holds whole clips one after the other.
    """

    def __init__(self, norm: nn.GroupNorm, frames: int) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.num_groups, self.eps, self.frames = norm.num_groups, norm.eps, frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (clip * frame, channel, height, width); statistics in float32 at least."""
        _, channels, height, width = x.shape
        clips = x.reshape(-1, self.frames, self.num_groups, channels // self.num_groups * height * width)
        # The clip's variance is the mean of the frames' variances plus the variance of their means.
        var, mean = torch.var_mean(clips.float(), dim=3, correction=0)
        clip_mean = mean.mean(dim=1)
        clip_var = var.mean(dim=1) + mean.var(dim=1, correction=0)
        per_channel = channels // self.num_groups
        scale = (clip_var + self.eps).rsqrt().repeat_interleave(per_channel, dim=1) * self.weight
        shift = self.bias - clip_mean.repeat_interleave(per_channel, dim=1) * scale
        scale, shift = (s.to(x.dtype).repeat_interleave(self.frames, dim=0)[..., None, None] for s in (scale, shift))
        return torch.addcmul(shift, x, scale)


@contextmanager
def clip_norms(unet: nn.Module, frames: int) -> Iterator[None]:
    """Let a UNet's residual blocks and output norm take their statistics over whole clips; restores them afterwards.

    Args:
        unet: a ``UNet2DConditionModel``.
        frames: frames of a clip.

    Raises:
        AttentionError: the weights are not resident (sequential offloading), so they cannot be shared.
    """
    places = [
        (block, name)
        for block in unet.modules()
        if isinstance(block, ResnetBlock2D)
        for name in ("norm1", "norm2")
        if isinstance(getattr(block, name), nn.GroupNorm)
    ]
    if isinstance(unet.conv_norm_out, nn.GroupNorm):
        places.append((unet, "conv_norm_out"))
    before = [getattr(owner, name) for owner, name in places]
    if any(norm.weight.is_meta for norm in before):
        raise AttentionError(
            "norms over the clip need the UNet's weights on the device, but sequential CPU offload keeps them away; "
            "use enable_model_cpu_offload() instead, or clip_norm=False"
        )
    try:
        for (owner, name), norm in zip(places, before, strict=True):
            setattr(owner, name, ClipGroupNorm(norm, frames))
        yield
    finally:
        for (owner, name), norm in zip(places, before, strict=True):
            setattr(owner, name, norm)
