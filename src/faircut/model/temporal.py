"""Temporal layers: every position attends over the frames of its clip (Wu et al., ICCV 2023, arXiv 2212.11565, section
4.2).

They hang on the blocks of diffusers' UNet as submodules, so that devices, dtypes, offloading and fingerprints reach
them, and run in a forward hook, so that the UNet stays diffusers' own. Names are those of the published checkpoints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from faircut.config.reading import read_json, short_repr
from faircut.errors import ModelError
from faircut.files import atomic_path, write_json
from faircut.files.tensors import save_tensors

__all__ = [
    "FrameAttention",
    "attach_temporal",
    "clip_frames",
    "has_temporal",
    "load_temporal",
    "save_temporal",
    "temporal_apart",
    "temporal_state",
]

_FORMAT = 1
_FILES = ("temporal.safetensors", "config.json")
_PARTS = ("norm_temp", "attn_temp")


class FrameAttention(nn.Module):
    """Self-attention over the frames of a clip, at each position for itself.

    Its output projection begins at zero, so that a new layer changes nothing.

    Args:
        channels: of what comes in and goes out.
        width: of queries, keys and values, all heads together.
        heads: of the attention.

    Attributes:
        frames: of the clips in the batch; 1, each picture for itself, but within `clip_frames`.
    """

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.frames = heads, 1
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, width, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, channels)])
        for parameter in self.to_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend; (clip * frame, position, channel) in and out."""
        positions = x.shape[1]
        tracks = x.unflatten(0, (-1, self.frames)).transpose(1, 2).flatten(0, 1)
        query, key, value = (
            to(tracks).unflatten(2, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v)
        )
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return self.to_out[0](seen).unflatten(0, (-1, positions)).transpose(1, 2).flatten(0, 1)


def _blocks(unet: nn.Module) -> dict[str, Any]:
    return {name: part for name, part in unet.named_modules() if isinstance(part, BasicTransformerBlock)}


def _over_frames(block: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
    """A forward hook of torch, after the block's feed-forward, as in the published model."""
    return output + block.attn_temp(block.norm_temp(output))


def has_temporal(unet: nn.Module) -> bool:
    """Whether temporal layers hang on a UNet."""
    return any(isinstance(part, FrameAttention) for part in unet.modules())


def attach_temporal(unet: Any, seed: int = 0) -> None:
    """Hang a temporal layer on every transformer block of a UNet, in its dtype and on its device.

    They change nothing until they are tuned or loaded. Blocks that have one keep it.

    Args:
        unet: a ``UNet2DConditionModel``.
        seed: of the queries, keys and values.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for block in _blocks(unet).values():
            if hasattr(block, "attn_temp"):
                continue
            query, where = block.attn1.to_q, block.norm3.weight
            layer = FrameAttention(query.in_features, query.out_features, block.attn1.heads)
            block.norm_temp = nn.LayerNorm(query.in_features).to(where)
            block.attn_temp = layer.to(where)
            block.register_forward_hook(_over_frames)


@contextmanager
def clip_frames(unet: nn.Module, frames: int) -> Iterator[None]:
    """Say how many frames the clips of the batch have, and take it back afterwards."""
    layers = [part for part in unet.modules() if isinstance(part, FrameAttention)]
    before = [layer.frames for layer in layers]
    try:
        for layer in layers:
            layer.frames = frames
        yield
    finally:
        for layer, count in zip(layers, before, strict=True):
            layer.frames = count


@contextmanager
def temporal_apart(unet: nn.Module) -> Iterator[None]:
    """Take the temporal layers off, so that what is saved meanwhile is diffusers' own UNet; puts them back."""
    taken = [(block, {name: getattr(block, name) for name in _PARTS}) for block in _blocks(unet).values()
             if hasattr(block, "attn_temp")]  # fmt: skip
    try:
        for block, parts in taken:
            for name in parts:
                delattr(block, name)
        yield
    finally:
        for block, parts in taken:
            for name, part in parts.items():
                setattr(block, name, part)


def temporal_state(unet: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters of the temporal layers by their names in the UNet; none if there are no layers."""
    return {name: tensor for name, tensor in unet.state_dict().items() if any(f".{part}." in name for part in _PARTS)}


def save_temporal(unet: nn.Module, folder: Path) -> None:
    """Write the temporal layers to a folder (safetensors and JSON), whole or not at all.

    A UNet without such layers leaves none: what an earlier model had in that folder goes.

    Args:
        unet: a ``UNet2DConditionModel``.
        folder: ``temporal`` in the folder of the model.

    Raises:
        ModelError: an adapter sits in the layers.
    """
    state = temporal_state(unet)
    if not state:
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
        return
    if any(".base_layer." in name for name in state):
        raise ModelError("an adapter sits in the temporal layers, which are saved without; fuse or unload it first")
    with atomic_path(folder) as path:
        path.mkdir()
        save_tensors(state, path / _FILES[0])
        blocks = [name for name, block in _blocks(unet).items() if hasattr(block, "attn_temp")]
        write_json(path / _FILES[1], {"format": _FORMAT, "blocks": blocks, "files": _FILES})


def load_temporal(unet: Any, folder: Path) -> None:
    """Hang the temporal layers of a folder on a UNet; does nothing where there is no such folder.

    Args:
        unet: a ``UNet2DConditionModel``.
        folder: ``temporal`` in the folder of the model.

    Raises:
        ModelError: the layers cannot be read, or belong to another UNet.
    """
    if not folder.is_dir():
        return
    try:
        facts = read_json(folder / _FILES[1], "its configuration")
        state = load_file(folder / _FILES[0])
        found = facts.get("format") if isinstance(facts, dict) else None
        if found != _FORMAT:
            raise ModelError(f"{folder} holds format {short_repr(found)}; this version reads {_FORMAT}; tune again")
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{folder} holds no readable temporal layers ({error}); tune again, or remove it") from None
    attach_temporal(unet)
    there = temporal_state(unet)
    wrong = [name for name in {**state, **there}
             if name not in state or name not in there or state[name].shape != there[name].shape]  # fmt: skip
    if wrong:
        raise ModelError(
            f"the temporal layers in {folder} belong to another UNet: {len(wrong)} of their weights do not fit, the "
            f"first is {wrong[0]}; tune again, or remove it"
        )
    for name, tensor in state.items():
        there[name].copy_(tensor)
