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
        # The fast way's statistics carry no gradient, and come in the dtype of x.
        if x.dtype == torch.float32 and not torch.is_grad_enabled():
            return self._from_frames(x)
        _, channels, height, width = x.shape
        clips = x.reshape(-1, self.frames, self.num_groups, channels // self.num_groups * height * width)
        var, mean = torch.var_mean(clips.float(), dim=3, correction=0)
        clip_mean, clip_var = _over_frames(mean, var)
        scale = (clip_var + self.eps).rsqrt()
        scale, shift = self._per_channel(scale, -clip_mean * scale)
        scale, shift = (s.to(x.dtype).expand(-1, self.frames, -1).reshape(-1, channels, 1, 1) for s in (scale, shift))
        return torch.addcmul(shift, x, scale)

    def _from_frames(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise every frame alone, and move the result to the clip's statistics.

        Torch's group norm reads x once and fast; its statistics of the frames are all that the clip's need.
        """
        batch, channels, height, width = x.shape
        sizes = (batch, channels, height * width, self.num_groups)
        output, mean, rstd = torch.native_group_norm(x.contiguous(), None, None, *sizes, self.eps)
        mean, rstd = (s.view(-1, self.frames, self.num_groups) for s in (mean, rstd))
        clip_mean, clip_var = _over_frames(mean, rstd.square().reciprocal() - self.eps)
        clip_rstd = (clip_var + self.eps).rsqrt()
        scale, shift = self._per_channel(clip_rstd / rstd, (mean - clip_mean) * clip_rstd)
        return output.mul_(scale.reshape(batch, channels, 1, 1)).add_(shift.reshape(batch, channels, 1, 1))

    def _per_channel(self, scale: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(clip, frame, group) -> (clip, frame, channel), with the weights of the norm worked in."""
        per_group = len(self.weight) // self.num_groups
        scale, shift = (s.repeat_interleave(per_group, dim=2) * self.weight for s in (scale, shift))
        return scale, shift + self.bias


def _over_frames(mean: torch.Tensor, var: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (mean, variance) of clips from those of their frames, (clip, frame, group) -> (clip, 1, group).

    The clip's variance is the mean of the frames' variances plus the variance of their means.
    """
    clip_var = var.mean(dim=1, keepdim=True) + mean.var(dim=1, correction=0, keepdim=True)
    return mean.mean(dim=1, keepdim=True), clip_var


@contextmanager
def clip_norms(unet: nn.Module, frames: int) -> Iterator[None]:
    """Let a UNet's residual blocks and output norm take their statistics over whole clips; restores them afterwards.

    Args:
        unet: a ``UNet2DConditionModel``.
        frames: frames of a clip.

    Raises:
        AttentionError: the weights are not resident (sequential offloading), so they cannot be shared.
    """
    places: list[tuple[nn.Module, str]] = [
        (block, name)
        for block in unet.modules()
        if isinstance(block, ResnetBlock2D)
        for name in ("norm1", "norm2")
        if isinstance(getattr(block, name), nn.GroupNorm)
    ]
    if isinstance(unet.conv_norm_out, nn.GroupNorm):
        places.append((unet, "conv_norm_out"))
    before = [getattr(owner, name) for owner, name in places]
    # A model that is all shapes and no data has no such hooks, and may be evaluated as it is.
    if any(norm.weight.is_meta and hasattr(norm, "_hf_hook") for norm in before):
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
