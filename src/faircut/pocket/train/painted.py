"""Stills as the denoiser paints them, so that the judge knows its hand: some still readable, some beyond reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from faircut.pocket.train.config import TrainConfig
from faircut.pocket.train.data import write_array
from faircut.pocket.train.pictures import to_pixels
from faircut.pocket.vocabulary import IMAGE_SIZE

__all__ = ["Painted", "paint_stills", "read_painted"]

_READABLE, _BROKEN = (100, 400), (850, 1000)
_BATCH = 16


class Painted(NamedTuple):
    """What paint_stills leaves.

    Attributes:
        pictures: (pictures, 128, 128, 3) uint8.
        rows: (pictures,) the training still that a picture shows; -1 where nothing of it can be read.
    """

    pictures: np.ndarray
    rows: np.ndarray


@torch.no_grad()
def paint_stills(config: TrainConfig, output: Path) -> Painted:
    """Let the trained denoiser guess stills in one step.

    From a little noise, under their own captions, the guesses show what the stills show, in the denoiser's hand. From nearly
    nothing but noise, half of them under another still's caption, they are smears that nobody should claim to read.

    Args:
        config: of the training.
        output: its folder: latents, autoencoder, denoiser. ``data/painted*.npy`` are written there.

    Returns:
        The pictures.
    """
    from diffusers import AutoencoderKL

    from faircut.pocket.train.denoiser import DenoiserStage
    from faircut.pocket.train.state import load_weights

    stage: Any = DenoiserStage(config, output)
    load_weights(stage, output / "checkpoints" / stage.name)
    vae: Any = AutoencoderKL.from_pretrained(output / "vae").to(stage.device)
    rng = np.random.default_rng([config.run.seed, 4])
    pictures, shown = [], []
    for levels, count in ((_READABLE, 4 * config.judge.painted), (_BROKEN, config.judge.painted)):
        for _ in range(0, count, _BATCH):
            rows = rng.integers(len(stage.stills), size=_BATCH)
            told = rows if levels is _READABLE else np.where(rng.random(_BATCH) < 0.5, rows, np.roll(rows, 1))
            pictures.append(_guess(stage, vae, rows, told, rng.integers(*levels, size=_BATCH), rng))
            shown.append(rows if levels is _READABLE else np.full(_BATCH, -1))
    painted = Painted(np.concatenate(pictures), np.concatenate(shown).astype(np.int32))
    write_array(output / "data" / "painted-rows.npy", painted.rows)
    write_array(output / "data" / "painted.npy", painted.pictures)
    return painted


def _guess(
    stage: Any, vae: Any, rows: np.ndarray, told: np.ndarray, t: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One-step guesses of stills from noise level t, under the captions of others: pictures, uint8."""
    scale, device = stage.config.vae.scale, stage.device
    z = torch.from_numpy(stage.stills.latents(rows)).float().to(device) * scale
    level = torch.from_numpy(t).to(device)
    a: Tensor = stage.alphas[level][:, None, None, None]
    noisy = a.sqrt() * z + (1 - a).sqrt() * torch.from_numpy(rng.standard_normal(z.shape, np.float32)).to(device)
    noise = stage.unet(noisy, level, stage.text(stage.caption_ids(told).to(device)).last_hidden_state).sample.float()
    stage.maps.clear()
    return to_pixels(vae.decode((noisy - (1 - a).sqrt() * noise) / a.sqrt() / scale).sample)


def read_painted(data: Path) -> Painted:
    """What paint_stills left, if it has run.

    Args:
        data: folder of the stills.

    Returns:
        The pictures; none if it has not.
    """
    if not (data / "painted.npy").exists():
        return Painted(np.zeros((0, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8), np.zeros(0, np.int32))
    return Painted(np.load(data / "painted.npy", mmap_mode="r"), np.load(data / "painted-rows.npy"))
