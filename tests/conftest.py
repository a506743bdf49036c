"""Tiny real components, seeded and offline, that the tests share."""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from faircut import VideoEditor

HERE = Path(__file__).parent

# Where the suite was started in the background, interrupts are ignored, by it and by every command that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The components are so small that a second thread costs more than it gains; pytest-xdist uses the other cores.
torch.set_num_threads(1)

SCHEDULER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip


def make_tokenizer() -> CLIPTokenizer:
    tokenizer = CLIPTokenizer.from_pretrained(HERE / "golden" / "tokenizer", model_max_length=77)
    assert len(tokenizer) > 100
    return tokenizer


def make_unet(*, cross_attention_dim: int = 16, sample_size: int = 16, **overrides) -> UNet2DConditionModel:
    config = {
        "sample_size": sample_size, "layers_per_block": 1, "block_out_channels": (8, 16, 24),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": cross_attention_dim, "attention_head_dim": 2, "norm_num_groups": 4,
    }  # fmt: skip
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**{**config, **overrides}).eval()
    with torch.no_grad():  # peaky attention, so that a wrong map shows
        for name, parameter in unet.named_parameters():
            if ".to_q." in name or ".to_k." in name:
                parameter.mul_(4)
    return unet


def make_editor(**unet_overrides) -> VideoEditor:
    tokenizer = make_tokenizer()
    end = tokenizer.eos_token_id
    torch.manual_seed(0)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=end,
            pad_token_id=end,
        )
    ).eval()
    vae = AutoencoderKL(
        block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2, mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4,
        scaling_factor=0.5,
    ).eval()  # fmt: skip
    editor = VideoEditor(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=make_unet(**unet_overrides),
        scheduler=DDIMScheduler(**SCHEDULER),
    )
    editor.set_progress_bar_config(disable=True)
    return editor


@pytest.fixture(scope="session")
def _shared_editor() -> VideoEditor:
    return make_editor()


@pytest.fixture
def editor(_shared_editor: VideoEditor) -> Iterator[VideoEditor]:
    """A tiny editor; the test fails if the UNet is not left as it was found."""
    processors = copy.copy(_shared_editor.unet.attn_processors)
    modules = [(id(m), len(m._forward_hooks)) for m in _shared_editor.unet.modules()]
    yield _shared_editor
    assert _shared_editor.unet.attn_processors == processors
    assert [(id(m), len(m._forward_hooks)) for m in _shared_editor.unet.modules()] == modules


@pytest.fixture(scope="session")
def pocket_editor() -> VideoEditor:
    """The model that ships."""
    editor = VideoEditor.from_pretrained("pocket")
    editor.set_progress_bar_config(disable=True)
    return editor


@pytest.fixture(scope="session")
def tokenizer() -> CLIPTokenizer:
    return make_tokenizer()


@pytest.fixture
def clip() -> torch.Tensor:
    """Three frames of 33 x 31 pixels, (3, 3, 31, 33) in [-1, 1]: a bright square that moves."""
    frames = torch.full((3, 3, 31, 33), -0.5)
    for i in range(3):
        frames[i, 0, 8:20, 5 + 4 * i : 17 + 4 * i] = 0.8
    return frames
