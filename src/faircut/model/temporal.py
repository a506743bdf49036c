"""Temporal layers: attention over the frames of a clip at every position.

The architecture is that of Wu et al. (ICCV 2023, arXiv 2212.11565, section 4.2). The layers are submodules of the
blocks of diffusers' UNet, so that moves between devices, casts, offloading and fingerprints include them. They run in a
forward hook, so that the UNet's class stays diffusers' own. The names are those of the published checkpoints.
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
    """Self-attention over the frames of a clip, separately at each position.

    The output projection begins at zero, so a new layer changes nothing.

    Args:
        channels: Number of channels of input and output.
        width: Width of queries, keys and values, all heads together.
        heads: Number of attention heads.

    Attributes:
        frames: Number of frames of each clip in the batch. 1, which treats each picture on its own, except within
            `clip_frames`.
    """

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.frames = heads, 1
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, width, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, channels)])
        for parameter in self.to_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over frames. Input and output are (clip * frame, position, channel)."""
        positions = x.shape[1]
        # (clip * frame, position, channel) -> (clip * position, frame, channel): a position's frames form one sequence.
        tracks = x.unflatten(0, (-1, self.frames)).transpose(1, 2).flatten(0, 1)
        # (clip * position, head, frame, dim)
        query, key, value = (
            to(tracks).unflatten(2, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v)
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return self.to_out[0](attended).unflatten(0, (-1, positions)).transpose(1, 2).flatten(0, 1)


def _blocks(unet: nn.Module) -> dict[str, Any]:
    """Return a UNet's transformer blocks by name."""
    return {name: part for name, part in unet.named_modules() if isinstance(part, BasicTransformerBlock)}


def _over_frames(block: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
    """Add the temporal layer after the block's feed-forward, as in the published model; a forward hook of torch."""
    return output + block.attn_temp(block.norm_temp(output))


def has_temporal(unet: nn.Module) -> bool:
    """Return whether a UNet has temporal layers."""
    return any(isinstance(part, FrameAttention) for part in unet.modules())


def attach_temporal(unet: Any, seed: int = 0) -> None:
    """Add a temporal layer to every transformer block of a UNet, in its dtype and on its device.

    New layers change nothing until they are tuned or loaded. Blocks that already have a layer keep it.

    Args:
        unet: A ``UNet2DConditionModel``.
        seed: Seed for the initial query, key and value projections.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for block in _blocks(unet).values():
            if hasattr(block, "attn_temp"):
                continue
            query, reference = block.attn1.to_q, block.norm3.weight
            layer = FrameAttention(query.in_features, query.out_features, block.attn1.heads)
            block.norm_temp = nn.LayerNorm(query.in_features).to(reference)
            block.attn_temp = layer.to(reference)
            block.register_forward_hook(_over_frames)


@contextmanager
def clip_frames(unet: nn.Module, frames: int) -> Iterator[None]:
    """Set the number of frames of the clips in the batch for all temporal layers, and restore it on exit."""
    layers = [part for part in unet.modules() if isinstance(part, FrameAttention)]
    counts = [layer.frames for layer in layers]
    try:
        for layer in layers:
            layer.frames = frames
        yield
    finally:
        for layer, count in zip(layers, counts, strict=True):
            layer.frames = count


@contextmanager
def temporal_apart(unet: nn.Module) -> Iterator[None]:
    """Remove the temporal layers, for example to save diffusers' own UNet, and put them back on exit."""
    removed = [
        (block, {name: getattr(block, name) for name in _PARTS})
        for block in _blocks(unet).values()
        if hasattr(block, "attn_temp")
    ]
    try:
        for block, parts in removed:
            for name in parts:
                delattr(block, name)
        yield
    finally:
        for block, parts in removed:
            for name, part in parts.items():
                setattr(block, name, part)


def temporal_state(unet: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters of the temporal layers by their names in the UNet. Empty if there are no layers."""
    return {name: tensor for name, tensor in unet.state_dict().items() if any(f".{part}." in name for part in _PARTS)}


def save_temporal(unet: nn.Module, folder: Path) -> None:
    """Write the temporal layers atomically to a folder (safetensors and JSON).

    For a UNet without such layers, the files that an earlier model left in the folder are removed.

    Args:
        unet: A ``UNet2DConditionModel``.
        folder: The folder ``temporal`` inside the model's folder.

    Raises:
        ModelError: If the layers contain an adapter.
    """
    state = temporal_state(unet)
    if not state:
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
        return
    if any(".base_layer." in name for name in state):
        raise ModelError("the temporal layers contain an adapter, which would not be saved; fuse or unload it first")
    with atomic_path(folder) as path:
        path.mkdir()
        save_tensors(state, path / _FILES[0])
        blocks = [name for name, block in _blocks(unet).items() if hasattr(block, "attn_temp")]
        write_json(path / _FILES[1], {"format": _FORMAT, "blocks": blocks, "files": _FILES})


def load_temporal(unet: Any, folder: Path) -> None:
    """Attach the temporal layers stored in a folder to a UNet. Does nothing if the folder does not exist.

    Args:
        unet: A ``UNet2DConditionModel``.
        folder: The folder ``temporal`` inside the model's folder.

    Raises:
        ModelError: If the layers cannot be read, or belong to another UNet.
    """
    if not folder.is_dir():
        return
    try:
        facts = read_json(folder / _FILES[1], "its configuration")
        state = load_file(folder / _FILES[0])
        version = facts.get("format") if isinstance(facts, dict) else None
        if version != _FORMAT:
            raise ModelError(f"{folder} has format {short_repr(version)}; this version reads {_FORMAT}; tune again")
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{folder} has no readable temporal layers ({error}); tune again, or remove it") from None
    attach_temporal(unet)
    parameters = temporal_state(unet)
    mismatched = [
        name
        for name in {**state, **parameters}
        if name not in state or name not in parameters or state[name].shape != parameters[name].shape
    ]
    if mismatched:
        raise ModelError(
            f"the temporal layers in {folder} belong to another UNet: {len(mismatched)} of their weights do not fit, "
            f"such as {mismatched[0]}; tune again, or remove the folder"
        )
    for name, tensor in state.items():
        parameters[name].copy_(tensor)
