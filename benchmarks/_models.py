"""Editors with random weights, shaped like Stable Diffusion 1.5 at any width: speed and memory do not depend on
learning."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tiny_sd
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from faircut import VideoEditor

SOURCE = "a silver jeep driving down a curvy road"
TARGET = "a silver car driving down a curvy road"
WORDS = (("jeep",), ("car",))

# The UNet of Stable Diffusion 1.5, as its checkpoint configures it.
SD_15: Mapping[str, Any] = {
    **tiny_sd.UNET,
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
    "norm_num_groups": 32,
}

# A quarter of its width. With latents of 32 x 32 a layer has as many positions per channel, and as many channels per
# head, as Stable Diffusion 1.5 has at 512 px: convolutions, projections and self-attention keep their shares.
QUARTER: Mapping[str, Any] = {
    **SD_15,
    "block_out_channels": (80, 160, 320, 320),
    "attention_head_dim": 2,
    "cross_attention_dim": 192,
    "norm_num_groups": 16,
}

# The smallest model that still has every kind of layer.
TINY: Mapping[str, Any] = tiny_sd.UNET


def unet_of(config: Mapping[str, Any], device: str = "cpu", dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    """Build a UNet with seeded random weights; the device ``"meta"`` gives shapes alone."""
    torch.manual_seed(0)
    with torch.device(device):
        return UNet2DConditionModel(**config).to(dtype).eval().requires_grad_(False)


def editor_of(config: Mapping[str, Any], device: str = "cpu", dtype: torch.dtype = torch.float32) -> VideoEditor:
    """Build an editor around such a UNet; text encoder and VAE are small, for they run once."""
    hidden = config["cross_attention_dim"]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = tiny_sd.write_tokenizer(Path(folder))
        tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=77)
    end = vocabulary["<|endoftext|>"]
    text = CLIPTextConfig(
        **{**tiny_sd.TEXT, "hidden_size": hidden, "intermediate_size": 2 * hidden},
        vocab_size=len(vocabulary),
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=end,
        pad_token_id=end,
    )
    unet = unet_of(config, device, dtype)
    editor = VideoEditor(
        vae=AutoencoderKL(**tiny_sd.VAE).eval(),
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**tiny_sd.SCHEDULER),
    ).to(device, dtype)
    editor.set_progress_bar_config(disable=True)
    return editor
