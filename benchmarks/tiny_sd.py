"""Deterministic tiny Stable-Diffusion-1.x components with pseudo-random weights.

Every weight comes from one integer hash of (parameter name, element index), so any
version of torch, diffusers or numpy rebuilds exactly the same float32 values.
The model has learnt nothing: it exists to compare implementations number by number.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

UNET = dict(
    sample_size=64,
    in_channels=4,
    out_channels=4,
    layers_per_block=2,
    block_out_channels=(32, 64, 96, 96),
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=32,
    attention_head_dim=4,
    norm_num_groups=8,
)
TEXT = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=77
)
SCHEDULER = dict(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    clip_sample=False,
    set_alpha_to_one=False,
    steps_offset=1,
    num_train_timesteps=1000,
)
WORDS = (
    "a",
    "silver",
    "jeep",
    "driving",
    "down",
    "curvy",
    "road",
    "in",
    "the",
    "countryside",
    "car",
    "painting",
    "of",
    "water",
    "man",
    "doctor",
    "female",
)


def hashed_normal(name: str, n: int) -> np.ndarray:
    """n float64 values, close to N(0, 1), from a splitmix64 hash of (name, index). Shape (n,)."""
    x = np.arange(2 * n, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) << 20)
    with np.errstate(over="ignore"):
        x = (x + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    u = ((x >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return np.sqrt(-2.0 * np.log(u[:n])) * np.cos(2.0 * np.pi * u[n:])


def fill(module: torch.nn.Module, prefix: str, inner: str = "") -> torch.nn.Module:
    """Overwrite every parameter of `module`: norms to weight 1 and bias 0, the rest to scaled hashed normals.

    `inner` is put before names that lack it: what older versions of transformers nested, newer ones do not.
    """
    with torch.no_grad():
        for short, p in module.named_parameters():
            name = short if short.startswith(inner) else inner + short
            if name.endswith("bias"):
                p.zero_()
            elif p.ndim == 1:
                p.fill_(1.0)
            else:
                fan_in = p[0].numel()
                gain = 0.5 if "embedding" in name else 1.0
                if ".to_q." in name or ".to_k." in name:
                    gain = 2.0  # peaky attention, so that a wrong map shows
                if name == "conv_out.weight":
                    gain = 0.7
                w = hashed_normal(f"{prefix}.{name}", p.numel()) * gain / fan_in**0.5
                if "embedding" in name:
                    w = w * fan_in**0.5
                p.copy_(torch.from_numpy(w.reshape(tuple(p.shape))).to(p.dtype))
    return module


def write_tokenizer(folder: Path) -> dict[str, int]:
    """A byte-pair vocabulary of printable ASCII plus WORDS; unknown words split into characters."""
    folder.mkdir(parents=True, exist_ok=True)
    chars = [chr(c) for c in range(33, 127)]
    vocab = {t: i for i, t in enumerate(chars + [c + "</w>" for c in chars])}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
            parts = [parts[0] + parts[1], *parts[2:]]
            vocab.setdefault(parts[0], len(vocab))
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocab[special] = len(vocab)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
    return vocab


def clip_latents(frames: int, size: int = 64) -> torch.Tensor:
    """A made-up clip in latent space: smooth background, a disc that moves. Shape (frames, 4, size, size), float32."""
    yy, xx = np.mgrid[0:size, 0:size] / size
    out = np.zeros((frames, 4, size, size))
    for f in range(frames):
        cx, cy = 0.3 + 0.1 * f, 0.5 + 0.05 * np.sin(f)
        disc = 1.0 / (1.0 + np.exp(((xx - cx) ** 2 + (yy - cy) ** 2 - 0.04) * 200))
        for c in range(4):
            background = np.sin(2 * np.pi * (xx * (c + 1) + yy * 0.7 + 0.03 * f)) * 0.8
            out[f, c] = background * (1 - disc) + disc * ((c - 1.5) * 0.9 + 0.3 * np.cos(9 * xx + c))
    return torch.from_numpy(out).float()


VAE = dict(
    in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8, 8, 16, 16), layers_per_block=1,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4,
    sample_size=512, mid_block_add_attention=False,
)  # fmt: skip


def components(folder: Path) -> dict[str, object]:
    """Build the parts of the tiny checkpoint; the tokenizer is written to `folder`. Golden cases use no VAE."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    vocab = write_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=77)
    assert len(tokenizer) == len(vocab)
    start, end = vocab["<|startoftext|>"], vocab["<|endoftext|>"]
    config = CLIPTextConfig(vocab_size=len(vocab), bos_token_id=start, eos_token_id=end, pad_token_id=end, **TEXT)
    text_encoder = fill(CLIPTextModel(config), "text", inner="text_model.")
    torch.manual_seed(0)
    return {
        "vae": AutoencoderKL(**VAE).eval(),
        "text_encoder": text_encoder.eval(),
        "tokenizer": tokenizer,
        "unet": fill(UNet2DConditionModel(**UNET), "unet").eval(),
        "scheduler": DDIMScheduler(**SCHEDULER),
    }
