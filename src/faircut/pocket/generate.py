"""Pictures through the parts of a pocket model: latents generated from noise, and the autoencoder's round trip."""

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
    """Generate latents by DDIM with guidance.

    Args:
        unet: predicts the noise.
        scheduler: a DDIMScheduler; its timesteps are set.
        context: (pictures, tokens, width) encoded prompts.
        empty: (1, tokens, width) the encoded empty prompt.
        steps: of DDIM.
        guidance: guidance scale.
        seed: of the starting noise; picture i starts from the same noise whatever the batch.
        batch: pictures at a time.
        side: height and width of the latents; what the UNet was made for by default.

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
            plain, told = unet(torch.cat([z, z]), t, both).sample.float().chunk(2)
            z = scheduler.step(plain + guidance * (told - plain), t, z).prev_sample
        parts.append(z)
    return torch.cat(parts)


@torch.no_grad()
def reconstruct(vae: Any, pictures: Tensor, batch: int = 16) -> Tensor:
    """Encode and decode, without noise.

    Args:
        vae: an AutoencoderKL.
        pictures: (pictures, 3, height, width) in [-1, 1].
        batch: pictures at a time.

    Returns:
        The same pictures, as the autoencoder gives them back.
    """
    return torch.cat([vae.decode(vae.encode(x).latent_dist.mean).sample for x in pictures.split(batch)])
