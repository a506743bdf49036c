"""Generate latents from noise with the parts of a pocket model, and reconstruct pictures with its autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["reconstruct", "sample_latents"]


@torch.no_grad()
def sample_latents(
    unet: Any,
    scheduler: Any,
    context: Tensor,
    empty: Tensor,
    *,
    steps: int,
    guidance: float,
    seed: int,
    batch: int = 24,
    side: int | None = None,
) -> Tensor:
    """Generate latents by DDIM with classifier-free guidance.

    Args:
        unet: UNet that predicts the noise.
        scheduler: A DDIMScheduler, whose timesteps are set by this function.
        context: (pictures, tokens, width), encoded prompts.
        empty: (1, tokens, width), encoded empty prompt.
        steps: Number of DDIM steps.
        guidance: Guidance scale.
        seed: Seed of the initial noise. Picture i starts from the same noise for any batch size.
        batch: Number of pictures at a time.
        side: Height and width of the latents. None for the UNet's sample size.

    Returns:
        (pictures, channels, side, side) latents.
    """
    scheduler.set_timesteps(steps)
    parts = []
    side = side or unet.config.sample_size
    shape = (unet.config.in_channels, side, side)
    for at in range(0, len(context), batch):
        words = context[at : at + batch]
        noise = [np.random.default_rng([seed, at + i]).standard_normal(shape, np.float32) for i in range(len(words))]
        z = torch.from_numpy(np.stack(noise)).to(context.device)
        both = torch.cat([empty.expand_as(words), words])
        for t in scheduler.timesteps:
            unconditional, conditional = unet(torch.cat([z, z]), t, both).sample.float().chunk(2)
            z = scheduler.step(unconditional + guidance * (conditional - unconditional), t, z).prev_sample
        parts.append(z)
    return torch.cat(parts)


@torch.no_grad()
def reconstruct(vae: Any, pictures: Tensor, batch: int = 16) -> Tensor:
    """Encode and decode pictures with the mean latents, without noise.

    Args:
        vae: An AutoencoderKL.
        pictures: (pictures, 3, height, width) in [-1, 1].
        batch: Number of pictures at a time.

    Returns:
        (pictures, 3, height, width), the reconstructions.
    """
    return torch.cat([vae.decode(vae.encode(x).latent_dist.mean).sample for x in pictures.split(batch)])
