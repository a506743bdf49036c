"""Conversion between pictures and latents: padding to the VAE's factor, encoding and decoding in chunks."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from faircut.errors import VideoError

__all__ = ["decode", "encode", "pad_to_factor", "vae_factor"]


def vae_factor(vae: Any) -> int:
    """Return the number of pixels that one latent position spans in each direction."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def pad_to_factor(frames: torch.Tensor, factor: int) -> torch.Tensor:
    """Pad frames at the right and bottom to a whole number of latent positions, by repeating the border.

    Args:
        frames: (frame, channel, height, width), any range.
        factor: Number of pixels that one latent position spans.

    Returns:
        (frame, channel, height', width'), with both sides multiples of the factor.
    """
    height, width = frames.shape[-2:]
    return F.pad(frames, (0, -width % factor, 0, -height % factor), mode="replicate")


@torch.no_grad()
def encode(
    frames: torch.Tensor,
    vae: Any,
    device: torch.device,
    *,
    chunk: int = 4,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Encode frames into latents, after padding them to a whole number of latent positions.

    Args:
        frames: (frame, channel, height, width), RGB in [-1, 1].
        vae: An ``AutoencoderKL``.
        device: Device on which the VAE runs. With offloading, its weights are stored on another one.
        chunk: Number of frames encoded at a time.
        generator: Generator for sampling from the posterior. None takes the posterior's mean, which reconstructs best.

    Returns:
        (frame, latent channel, height, width), scaled as the UNet expects, in the VAE's dtype, on ``device``.

    Raises:
        VideoError: If a side of the frames is shorter than two latent positions.
    """
    factor = vae_factor(vae)
    if min(frames.shape[-2:]) < 2 * factor:
        raise VideoError(
            f"frames of {frames.shape[-1]} x {frames.shape[-2]} are too small for this model; "
            f"give at least {2 * factor} x {2 * factor} pixels"
        )
    latents = []
    for part in pad_to_factor(frames, factor).split(chunk):
        posterior = vae.encode(part.to(device, vae.dtype)).latent_dist
        latents.append(posterior.mode() if generator is None else posterior.sample(generator))
    return torch.cat(latents) * vae.config.scaling_factor


@torch.no_grad()
def decode(
    latents: torch.Tensor, vae: Any, device: torch.device, size: tuple[int, int], *, chunk: int = 4
) -> torch.Tensor:
    """Decode latents into frames and remove the padding.

    Args:
        latents: (frame, latent channel, height, width), scaled as the UNet expects.
        vae: An ``AutoencoderKL``.
        device: Device on which the VAE runs.
        size: (height, width) of the frames before padding.
        chunk: Number of frames decoded at a time.

    Returns:
        (frame, channel, height, width), RGB in [-1, 1], float32, on the CPU.
    """
    frames = [
        vae.decode(part.to(device, vae.dtype) / vae.config.scaling_factor).sample.float().clamp(-1, 1).cpu()
        for part in latents.split(chunk)
    ]
    return torch.cat(frames)[..., : size[0], : size[1]]
