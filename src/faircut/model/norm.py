"""Group normalisation with the statistics of a clip instead of a frame.

In FateZero's reference implementation, the norms of the residual blocks and the output norm see the whole clip as one
sample, which steadies colours over time. Here each frame is a batch entry, so the norms are replaced by ones that group
the entries by clip.
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
    """A group norm over all frames of a clip together, with the weights of an existing norm.

    Args:
        norm: Norm to replace. Its parameters are shared, not copied.
        frames: Number of frames of a clip. The batch contains whole clips one after the other.
    """

    def __init__(self, norm: nn.GroupNorm, frames: int) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.num_groups, self.eps, self.frames = norm.num_groups, norm.eps, frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (clip * frame, channel, height, width), with statistics in float32."""
        # The faster computation gives statistics without gradient and in the dtype of x.
        if x.dtype == torch.float32 and not torch.is_grad_enabled():
            return self._from_frames(x)
        _, channels, height, width = x.shape
        # (clip, frame, group, channel of the group * height * width): the statistics of a frame are over the last axis.
        clips = x.reshape(-1, self.frames, self.num_groups, channels // self.num_groups * height * width)
        var, mean = torch.var_mean(clips.float(), dim=3, correction=0)
        clip_mean, clip_var = _over_frames(mean, var)  # (clip, 1, group)
        scale = (clip_var + self.eps).rsqrt()
        scale, shift = self._per_channel(scale, -clip_mean * scale)
        # (clip, 1, channel) -> (clip * frame, channel, 1, 1): every frame of a clip is normalised alike.
        scale, shift = (s.to(x.dtype).expand(-1, self.frames, -1).reshape(-1, channels, 1, 1) for s in (scale, shift))
        return torch.addcmul(shift, x, scale)

    def _from_frames(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise every frame on its own, then convert the result to the clip's statistics.

        Torch's group norm reads x only once. The statistics that it returns for the frames suffice to compute those of
        the clip.
        """
        batch, channels, height, width = x.shape
        sizes = (batch, channels, height * width, self.num_groups)
        output, mean, rstd = torch.native_group_norm(x.contiguous(), None, None, *sizes, self.eps)
        # (clip * frame, group) -> (clip, frame, group), to combine the statistics of a clip's frames.
        mean, rstd = (s.view(-1, self.frames, self.num_groups) for s in (mean, rstd))
        clip_mean, clip_var = _over_frames(mean, rstd.square().reciprocal() - self.eps)
        clip_rstd = (clip_var + self.eps).rsqrt()  # (clip, 1, group)
        # (x - mean) * rstd becomes (x - clip_mean) * clip_rstd by a scale and a shift for each frame and group.
        scale, shift = self._per_channel(clip_rstd / rstd, (mean - clip_mean) * clip_rstd)
        return output.mul_(scale.reshape(batch, channels, 1, 1)).add_(shift.reshape(batch, channels, 1, 1))

    def _per_channel(self, scale: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Expand (clip, frame, group) to (clip, frame, channel), and apply the weight and bias of the norm."""
        per_group = len(self.weight) // self.num_groups
        scale, shift = (s.repeat_interleave(per_group, dim=2) * self.weight for s in (scale, shift))
        return scale, shift + self.bias


def _over_frames(mean: torch.Tensor, var: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (mean, variance) of clips, (clip, 1, group), from those of their frames, (clip, frame, group).

    The variance of a clip is the mean of its frames' variances plus the variance of their means.
    """
    clip_var = var.mean(dim=1, keepdim=True) + mean.var(dim=1, correction=0, keepdim=True)
    return mean.mean(dim=1, keepdim=True), clip_var


@contextmanager
def clip_norms(unet: nn.Module, frames: int) -> Iterator[None]:
    """Let a UNet's residual blocks and output norm take their statistics over whole clips, and restore them on exit.

    Args:
        unet: A ``UNet2DConditionModel``.
        frames: Number of frames of a clip.

    Raises:
        AttentionError: If the weights are offloaded (sequential CPU offload) and cannot be shared.
    """
    norms: list[tuple[nn.Module, str]] = [
        (block, name)
        for block in unet.modules()
        if isinstance(block, ResnetBlock2D)
        for name in ("norm1", "norm2")
        if isinstance(getattr(block, name), nn.GroupNorm)
    ]
    if isinstance(unet.conv_norm_out, nn.GroupNorm):
        norms.append((unet, "conv_norm_out"))
    originals = [getattr(owner, name) for owner, name in norms]
    # A model on the meta device that predicts memory use also has no data, but no offloading hooks.
    if any(norm.weight.is_meta and hasattr(norm, "_hf_hook") for norm in originals):
        raise AttentionError(
            "norms over the clip need the UNet's weights on the device, but sequential CPU offload keeps them "
            "elsewhere; use enable_model_cpu_offload() instead, or clip_norm=False"
        )
    try:
        for (owner, name), norm in zip(norms, originals, strict=True):
            setattr(owner, name, ClipGroupNorm(norm, frames))
        yield
    finally:
        for (owner, name), norm in zip(norms, originals, strict=True):
            setattr(owner, name, norm)
