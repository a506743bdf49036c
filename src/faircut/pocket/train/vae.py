"""Train the autoencoder on crops, measure it on whole pictures, and fold the scale of its latents into its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from faircut.pocket.generate import reconstruct
from faircut.pocket.pictures import contact_sheet, psnr, to_pixels, to_tensor
from faircut.pocket.train.config import TrainConfig, VaeConfig
from faircut.pocket.train.data import Stills
from faircut.pocket.train.loop import pick_device, step_rng
from faircut.pocket.vocabulary import IMAGE_SIZE

__all__ = ["VaeStage", "bake_scale", "build_vae", "encode_stills"]


def build_vae(config: VaeConfig) -> Any:
    """Build a standard autoencoder with random weights.

    Args:
        config: Settings of the autoencoder.

    Returns:
        A diffusers AutoencoderKL.
    """
    from diffusers import AutoencoderKL

    n = len(config.channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        latent_channels=config.latent_channels,
        norm_num_groups=8,
        sample_size=IMAGE_SIZE,
        scaling_factor=config.scale,
        force_upcast=False,
        mid_block_add_attention=False,
    )


def picture_loss(out: Tensor, target: Tensor) -> Tensor:
    """Return the loss of a reconstruction: L1, squared error, edges, and colour at a coarser scale.

    Args:
        out: (pictures, 3, height, width), any range.
        target: (pictures, 3, height, width) in [-1, 1].

    Returns:
        A scalar.
    """
    error = out - target
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    coarse = F.avg_pool2d(error, 4).abs().mean()
    return error.abs().mean() + 2 * error.pow(2).mean() + 0.5 * edges + coarse


class VaeStage:
    """The stage that trains the autoencoder, or only its decoder on the latents of a fixed encoder."""

    def __init__(self, config: TrainConfig, data: Path, init: Path | None = None, decoder_only: bool = False):
        """Prepare the stage.

        Args:
            config: Settings of the whole training.
            data: Folder of the stills.
            init: Model folder to start from. None for random weights.
            decoder_only: Whether to keep the encoder fixed, so that existing latents stay valid.
        """
        self.config, self.optim = config, config.vae.decoder if decoder_only else config.vae.optim
        self.name = "decoder" if decoder_only else "vae"
        self.rates: dict[str, float] = {}
        torch.manual_seed(config.run.seed)
        self.device = pick_device(config.run)
        vae = build_vae(config.vae)
        if init is not None:
            from diffusers import AutoencoderKL

            vae.load_state_dict(AutoencoderKL.from_pretrained(init / "vae").float().state_dict())
        if decoder_only:
            # The exported encoder has half precision, so the decoder is trained on the latents of the rounded encoder.
            for part in (vae.encoder, vae.quant_conv):
                part.requires_grad_(False)
                for p in part.parameters():
                    p.data = p.data.half().float()
        self.decoder_only = decoder_only
        self.model: Any = vae.to(self.device)
        self.stills = Stills(data, "train", config.data)
        self.held_out = Stills(data, "held_out", config.data)
        # A GPU holds all pictures in memory; a CPU reads them by memory map.
        self.images = None if self.device.type == "cpu" else torch.from_numpy(self.stills.all_images()).to(self.device)

    def loss(self, step: int, rank: int, world: int) -> tuple[Tensor, dict[str, Any]]:
        """See `Stage`."""
        side, n = self.config.vae.crop, self.optim.batch // world
        rng = step_rng(self.config.run.seed, self.name, step, rank)
        rows, corners = (
            rng.integers(len(self.stills), size=n),
            rng.integers(0, (IMAGE_SIZE - side) // 4 + 1, (n, 2)) * 4,
        )
        if self.images is None:
            x = to_tensor(self.stills.crops(rows, corners, side), self.device)
        else:
            y = torch.from_numpy(corners[:, :, None] + np.arange(side)).to(self.device)
            x = self.images[torch.from_numpy(rows).to(self.device)[:, None, None], y[:, 0, :, None], y[:, 1, None, :]]
            x = (x.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()
        if self.decoder_only:
            with torch.no_grad():
                z = self.model.encode(x).latent_dist.mean
            out = self.model.decode(z).sample.float()
            error = (out.detach() - x).pow(2).mean() / 4
            return picture_loss(out, x), {"crop_psnr": -10 * torch.log10(error)}
        posterior = self.model.encode(x).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        noise = torch.from_numpy(rng.standard_normal(mean.shape, np.float32)).to(self.device)
        out = self.model.decode(mean + noise * torch.exp(0.5 * logvar)).sample.float()
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).mean()
        error = (out.detach() - x).pow(2).mean() / 4
        return picture_loss(out, x) + self.config.vae.kl * kl, {
            "kl": kl.detach(),
            "crop_psnr": -10 * torch.log10(error),
        }

    def preview(self, path: Path) -> dict[str, float]:
        """See `Stage`."""
        x = to_tensor(self.held_out.images(range(min(64, len(self.held_out)))), self.device)
        out = reconstruct(self.model, x)
        contact_sheet(np.concatenate([to_pixels(x[:16]), to_pixels(out[:16])]), 8, path)
        return {"vae_psnr": round(float(psnr(out, x).mean()), 3)}


@torch.no_grad()
def bake_scale(vae: Any, pictures: Tensor, batch: int = 16) -> None:
    """Normalise every latent channel to mean 0 and standard deviation 1, by changing the 1x1 convolutions.

    Standard pipelines have only one scaling factor for all channels, which then sets their size for the UNet. The
    decoder's 1x1 convolution undoes the normalisation, so that reconstructions do not change.

    Args:
        vae: An AutoencoderKL, changed in place.
        pictures: (pictures, 3, height, width) in [-1, 1], to measure mean and standard deviation.
        batch: Number of pictures at a time.
    """
    z = torch.cat([vae.encode(x).latent_dist.mean for x in pictures.split(batch)])
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    n = len(mean)
    quant, post = vae.quant_conv, vae.post_quant_conv
    post.bias += (post.weight[:, :, 0, 0] @ mean).to(post.bias)
    post.weight *= std[None, :, None, None]
    quant.bias[:n] -= mean
    quant.weight[:n] /= std[:, None, None, None]
    quant.bias[:n] /= std
    quant.bias[n:] -= 2 * std.log()


@torch.no_grad()
def encode_stills(vae: Any, stills: Stills, device: torch.device, downscale: int = 1, progress: Any = None) -> None:
    """Encode and write the latents of all stills that have none yet.

    Args:
        vae: An AutoencoderKL that `bake_scale` has changed.
        stills: Stills of one split.
        device: Device to encode on.
        downscale: Factor by which the pictures are reduced first.
        progress: Called with the number of encoded shards and their total number.
    """
    todo = stills.missing_latents(downscale)
    for done, shard in enumerate(todo):
        parts = []
        for at in range(0, stills.shard, 64):
            rows = range(shard * stills.shard + at, shard * stills.shard + min(at + 64, stills.shard))
            x = to_tensor(stills.images(rows), device)
            if downscale > 1:
                x = F.avg_pool2d(x, downscale)
            with torch.autocast(device.type, torch.bfloat16):
                parts.append(vae.encode(x).latent_dist.mean.half().cpu().numpy())
        stills.write_latents(shard, np.concatenate(parts), downscale)
        if progress:
            progress(done + 1, len(todo))
