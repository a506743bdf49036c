"""Stills painted by the denoiser, readable and unreadable ones, so that the judge learns the denoiser's rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from faircut.model.noise_path import classifier_free_guidance, ddim_step
from faircut.pocket.pictures import to_pixels
from faircut.pocket.train.config import TrainConfig
from faircut.pocket.train.data import HEADS, write_array
from faircut.pocket.vocabulary import IMAGE_SIZE

__all__ = ["Painted", "paint_stills", "read_painted"]

_READABLE, _REDRAWN, _BROKEN = (100, 400), (400, 700), (850, 1000)
_REDRAWING_STEPS, _GUIDANCE = 4, 5.0
_BATCH = 16


class Painted(NamedTuple):
    """The stills that `paint_stills` paints.

    Attributes:
        pictures: (pictures, 128, 128, 3) uint8.
        rows: (pictures,) index of the training still that a picture shows; -1 for an unreadable picture.
        redrawn: (pictures,) whether a picture was redrawn so much that only its background and style are known.
    """

    pictures: np.ndarray
    rows: np.ndarray
    redrawn: np.ndarray


@torch.no_grad()
def paint_stills(config: TrainConfig, output: Path) -> Painted:
    """Paint stills with the trained denoiser.

    There are three groups. Readable: predicted in one step from a little noise with the still's caption, these show the
    still in the denoiser's rendering. Redrawn: sampled from more noise in a few steps with guidance, like edits, these
    keep background and style; half of them are stills with a style. Unreadable: predicted from almost pure noise, half
    of them with the caption of another still, these are blurs that the judge must call unclear.

    Args:
        config: Settings of the training.
        output: Folder of the training, with latents, autoencoder and denoiser. ``data/painted*.npy`` are written there.

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
    pictures, groups = [], []
    styled = np.flatnonzero(stage.stills.labels[:, 0, HEADS.index("style")] > 0)
    for levels, count in (
        (_READABLE, 4 * config.judge.painted),
        (_REDRAWN, config.judge.painted),
        (_BROKEN, config.judge.painted),
    ):
        for _ in range(0, count, _BATCH):
            rows = rng.integers(len(stage.stills), size=_BATCH)
            if levels is _REDRAWN:
                rows = np.where(rng.random(_BATCH) < 0.5, rows, rng.choice(styled, size=_BATCH))
                pictures.append(_redraw(stage, vae, rows, int(rng.integers(*levels)), rng))
            else:
                caption_rows = (
                    rows if levels is _READABLE else np.where(rng.random(_BATCH) < 0.5, rows, np.roll(rows, 1))
                )
                pictures.append(_guess(stage, vae, rows, caption_rows, rng.integers(*levels, size=_BATCH), rng))
            groups.append(
                np.stack([np.full(_BATCH, -1) if levels is _BROKEN else rows, np.full(_BATCH, levels is _REDRAWN)])
            )
    rows, redrawn = np.concatenate(groups, axis=1).astype(np.int32)
    painted = Painted(np.concatenate(pictures), rows, redrawn.astype(bool))
    write_array(output / "data" / "painted-rows.npy", painted.rows)
    write_array(output / "data" / "painted-redrawn.npy", painted.redrawn)
    write_array(output / "data" / "painted.npy", painted.pictures)
    return painted


def _guess(
    stage: Any, vae: Any, rows: np.ndarray, caption_rows: np.ndarray, t: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Predict stills in one step from noise level t, with the captions of `caption_rows`; return uint8 pictures."""
    scale, device = stage.config.vae.scale, stage.device
    z = torch.from_numpy(stage.stills.latents(rows)).float().to(device) * scale
    level = torch.from_numpy(t).to(device)
    a: Tensor = stage.alphas[level][:, None, None, None]
    noisy = a.sqrt() * z + (1 - a).sqrt() * torch.from_numpy(rng.standard_normal(z.shape, np.float32)).to(device)
    noise = stage.unet(
        noisy, level, stage.text(stage.caption_ids(caption_rows).to(device)).last_hidden_state
    ).sample.float()
    return to_pixels(vae.decode((noisy - (1 - a).sqrt() * noise) / a.sqrt() / scale).sample)


def _redraw(stage: Any, vae: Any, rows: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    """Redraw stills from noise level t with their captions, in a few guided DDIM steps; return uint8 pictures."""
    scale, device = stage.config.vae.scale, stage.device
    clean = torch.from_numpy(stage.stills.latents(rows)).float().to(device) * scale
    levels = torch.linspace(t, 0, _REDRAWING_STEPS + 1).round().long().to(device)
    alphas = torch.cat([stage.alphas[levels[:-1]], stage.alphas.new_ones(1)])
    noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32)).to(device)
    z = alphas[0].sqrt() * clean + (1 - alphas[0]).sqrt() * noise
    empty = stage.tokenizer([""], padding="max_length", max_length=stage.settings.max_length).input_ids
    ids = torch.cat([torch.tensor(empty * len(rows)), stage.caption_ids(rows)]).to(device)
    context = stage.text(ids).last_hidden_state
    for k in range(_REDRAWING_STEPS):
        unconditional, conditional = stage.unet(torch.cat([z, z]), levels[k], context).sample.float().chunk(2)
        z = ddim_step(z, classifier_free_guidance(unconditional, conditional, _GUIDANCE), alphas[k], alphas[k + 1])
    return to_pixels(vae.decode(z / scale).sample)


def read_painted(data: Path) -> Painted:
    """Read the stills that `paint_stills` wrote.

    Args:
        data: Folder of the stills.

    Returns:
        The painted stills; empty if there are none.
    """
    if not (data / "painted.npy").exists():
        return Painted(np.zeros((0, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8), np.zeros(0, np.int32), np.zeros(0, bool))
    arrays = (np.load(data / f"painted{part}.npy", mmap_mode="r") for part in ("", "-rows", "-redrawn"))
    return Painted(*arrays)
