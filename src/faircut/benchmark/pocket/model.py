"""Load a pocket model for evaluation, draw held-out pictures, and generate pictures from noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faircut.errors import ConfigError
from faircut.model.checkpoints import pocket_folder
from faircut.pocket.judge import Judge, load_judge
from faircut.pocket.scenes import sample_scene
from faircut.pocket.world import render

__all__ = ["Figure", "Model", "generate", "held_out_stills", "load_model"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        value: The number.
        n: Number of pictures, clips or pairs that were averaged.
    """

    value: float
    n: int


@dataclasses.dataclass
class Model:
    """The parts of a pocket model that are evaluated.

    Attributes:
        folder: Folder of the model.
        vae: An AutoencoderKL.
        unet: A UNet2DConditionModel.
        text: A CLIPTextModel.
        tokenizer: A CLIPTokenizer.
        scheduler: A DDIMScheduler.
        judge: Judge that reads the attributes.
        device: Device of the models.
        bf16: Whether the UNet runs under bf16 autocast.
    """

    folder: Path
    vae: Any
    unet: Any
    text: Any
    tokenizer: Any
    scheduler: Any
    judge: Judge
    device: torch.device
    bf16: bool = False


def load_model(folder: str | Path | None = None, device: str = "cpu", bf16: bool = False) -> Model:
    """Read a pocket model.

    Args:
        folder: Folder of the model. None for the one that comes with faircut.
        device: Device for the models.
        bf16: Whether the UNet runs under bf16 autocast, which is faster and changes pictures slightly.

    Returns:
        The model in float32.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    root = pocket_folder() if folder is None else Path(folder)
    if not (root / "model_index.json").exists():
        raise ConfigError(f"there is no pocket model in {root}; train and export one with faircut pocket train")
    float32 = {"torch_dtype": torch.float32}
    to = torch.device(device)
    text: Any = CLIPTextModel.from_pretrained(root / "text_encoder", dtype=torch.float32)
    return Model(
        folder=root,
        vae=AutoencoderKL.from_pretrained(root / "vae", **float32).to(to).eval(),
        unet=UNet2DConditionModel.from_pretrained(root / "unet", **float32).to(to).eval(),
        text=text.to(to).eval(),
        tokenizer=CLIPTokenizer.from_pretrained(root / "tokenizer"),
        scheduler=DDIMScheduler.from_pretrained(root / "scheduler"),
        judge=load_judge(root / "judge").to(to),
        device=to,
        bf16=bf16,
    )


def held_out_stills(n: int, seed: int, **forced: Any) -> tuple[Tensor, list[Any]]:
    """Draw stills of the held-out split.

    Args:
        n: Number of stills.
        seed: Seed of the scenes.
        forced: Attributes as in `sample_scene`.

    Returns:
        (n, 3, 128, 128) pictures in [0, 1], and their scenes.
    """
    rng = np.random.default_rng([seed, 77])
    scenes = [sample_scene(rng, split="held_out", **forced) for _ in range(n)]
    images = np.stack([render(scene).image for scene in scenes])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, scenes


@torch.no_grad()
def generate(model: Model, prompts: Sequence[str], *, steps: int = 50, guidance: float = 5.0, seed: int = 0) -> Tensor:
    """Generate one picture for each prompt.

    Args:
        model: The model.
        prompts: Prompts of the pictures.
        steps: Number of DDIM steps.
        guidance: Guidance scale.
        seed: Seed of the noise.

    Returns:
        (prompts, 3, 128, 128) pictures in [0, 1].
    """
    from faircut.pocket.generate import sample_latents

    def encode(texts: Sequence[str]) -> Tensor:
        length = model.tokenizer.model_max_length
        ids = model.tokenizer(list(texts), padding="max_length", max_length=length, truncation=True).input_ids
        return model.text(torch.tensor(ids, device=model.device)).last_hidden_state

    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.bf16):
        z = sample_latents(
            model.unet,
            model.scheduler,
            encode(prompts),
            encode([""]),
            steps=steps,
            guidance=guidance,
            seed=seed,
            batch=24 if model.device.type == "cpu" else 256,
        )
    z = z.float() / model.vae.config.scaling_factor
    pictures = torch.cat([model.vae.decode(part).sample for part in z.split(8)])
    return ((pictures.clamp(-1, 1) + 1) / 2).cpu()
