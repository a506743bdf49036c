"""Between pictures and latents: padding to the VAE's factor, encoding and decoding in chunks."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from faircut.errors import VideoError

__all__ = ["decode", "encode", "pad_to_factor", "vae_factor"]


def vae_factor(vae: Any) -> int:
    """Return how many pixels a latent spans in each direction."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def pad_to_factor(frames: torch.Tensor, factor: int) -> torch.Tensor:
    """Pad at the right and bottom, by repeating the border, to whole latents.

    Args:
        frames: (frame, channel, height, width).
        factor: pixels of a latent.

    Returns:
        (frame, channel, height', width'), both sides multiples of the factor.
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
    """Encode frames, padded to whole latents.

    Args:
        frames: (frame, channel, height, width), RGB in [-1, 1].
        vae: an ``AutoencoderKL``.
        device: where it runs; with offloading that is not where it rests.
        chunk: frames at a time.
        generator: draws from the posterior; without one its mean is taken, which reconstructs best.

    Returns:
        (frame, latent channel, height, width), scaled as the UNet expects, in the VAE's dtype, on ``device``.

    Raises:
        VideoError: the frames are smaller than a few latents.
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
    """Decode latents and undo the padding.

    Args:
        latents: (frame, latent channel, height, width), scaled as the UNet expects.
        vae: an ``AutoencoderKL``.
        device: where it runs.
        size: (height, width) of the frames before padding.
        chunk: frames at a time.

    Returns:
        (frame, channel, height, width), RGB in [-1, 1], float32, on the CPU.
    """
    frames = [
        vae.decode(part.to(device, vae.dtype) / vae.config.scaling_factor).sample.float().clamp(-1, 1).cpu()
        for part in latents.split(chunk)
    ]
    return torch.cat(frames)[..., : size[0], : size[1]]
