"""Pictures that a denoiser gets wrong, made on purpose, so that the judge learns to say that it cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from faircut.pocket.train.config import TrainConfig
from faircut.pocket.train.data import write_array
from faircut.pocket.train.pictures import to_pixels
from faircut.pocket.vocabulary import IMAGE_SIZE

__all__ = ["make_broken", "read_broken"]

_NAME = "broken.npy"
_LEVELS = (850, 1000)


@torch.no_grad()
def make_broken(config: TrainConfig, output: Path, batch: int = 16) -> np.ndarray:
    """Let the trained denoiser guess pictures in one step, out of nearly nothing but noise, and keep the guesses.

    Half of them are told another picture's caption, so that they are smears of two things.

    Args:
        config: of the training.
        output: its folder: latents, autoencoder, denoiser. ``data/broken.npy`` is written there.
        batch: pictures at a time.

    Returns:
        (pictures, 128, 128, 3) uint8.
    """
    from diffusers import AutoencoderKL

    from faircut.pocket.train.denoiser import DenoiserStage
    from faircut.pocket.train.state import load_weights

    stage: Any = DenoiserStage(config, output)
    load_weights(stage, output / "checkpoints" / stage.name)
    vae = AutoencoderKL.from_pretrained(output / "vae").to(stage.device)
    rng = np.random.default_rng([config.run.seed, 4])
    parts = []
    for _ in range(0, config.judge.generated, batch):
        rows = rng.integers(len(stage.stills), size=batch)
        told = np.where(rng.random(batch) < 0.5, rows, np.roll(rows, 1))
        ids = torch.from_numpy(stage.stills.captions[0][told, 0].astype(np.int64)).to(stage.device)
        z = torch.from_numpy(stage.stills.latents(rows)).float().to(stage.device) * config.vae.scale
        t = torch.from_numpy(rng.integers(*_LEVELS, size=batch)).to(stage.device)
        a = stage.alphas[t][:, None, None, None]
        noise = torch.from_numpy(rng.standard_normal(z.shape, np.float32)).to(stage.device)
        guess = stage.unet(a.sqrt() * z + (1 - a).sqrt() * noise, t, stage.text(ids).last_hidden_state).sample
        stage.maps.clear()
        z = (a.sqrt() * z + (1 - a).sqrt() * noise - (1 - a).sqrt() * guess) / a.sqrt()
        parts.append(to_pixels(vae.decode(z / config.vae.scale).sample))
    broken = np.concatenate(parts)
    write_array(output / "data" / _NAME, broken)
    return broken


def read_broken(data: Path) -> np.ndarray:
    """The pictures that make_broken left, if it has run.

    Args:
        data: folder of the stills.

    Returns:
        (pictures, 128, 128, 3) uint8; no pictures if it has not.
    """
    path = data / _NAME
    return np.load(path, mmap_mode="r") if path.exists() else np.zeros((0, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
