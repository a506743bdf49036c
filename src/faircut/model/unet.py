"""A diffusers UNet under control: its attention layers, and putting the staged processor in and taking it out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, cast

import torch
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    SlicedAttnProcessor,
    XFormersAttnProcessor,
)

from faircut.attention.context import Layer
from faircut.attention.controller import Controller
from faircut.attention.stages import AttentionControl, StagedAttnProcessor, split_heads
from faircut.errors import AttentionError, choices
from faircut.model.norm import clip_norms
from faircut.model.temporal import clip_frames

__all__ = ["install", "layers_of", "project_text", "submodule"]

# What may be replaced without losing anything: processors that hold no weights and no state of their own.
_STATELESS = (AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor, XFormersAttnProcessor)


def layers_of(unet: Any) -> dict[str, Layer]:
    """Describe every attention layer of a diffusers UNet.

    Args:
        unet: a ``UNet2DConditionModel``.

    Returns:
        Layers by processor name, in the order in which the UNet runs them.

    Raises:
        AttentionError: the UNet has no cross-attention layers, or one whose processor holds state of its own.
    """
    modules = dict(unet.named_modules())
    deepest = len(unet.down_blocks) - 1
    layers: dict[str, Layer] = {}
    for name, processor in unet.attn_processors.items():
        attn = modules[name.removesuffix(".processor")]
        if not isinstance(processor, (*_STATELESS, StagedAttnProcessor)):
            raise AttentionError(
                f"the processor of {name} is a {type(processor).__name__}, which holds weights or state that would be "
                "lost; unload it first (for an IP-Adapter: editor.unload_ip_adapter())"
            )
        kind: Literal["self", "cross"] = "cross" if attn.is_cross_attention else "self"
        place, _, rest = cast(tuple[Literal["down", "mid", "up"], str, str], name.partition("_"))
        block = int(rest.split(".")[1]) if place != "mid" else 0
        depth = {"down": block, "mid": deepest, "up": deepest - block}[place]
        layers[name] = Layer(name, kind, place, attn.to_q.out_features, attn.heads, depth)
    if not any(layer.kind == "cross" for layer in layers.values()):
        raise AttentionError("this UNet has no cross-attention, so no text can steer it; use a text-to-image UNet")
    # attn_processors lists down, up, mid; the UNet runs down, mid, up.
    order = {"down": 0, "mid": 1, "up": 2}
    return dict(sorted(layers.items(), key=lambda item: order[item[1].place]))


def project_text(unet: Any, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a cross-attention layer makes of a text.

    Args:
        unet: a ``UNet2DConditionModel``.
        layer: the layer.
        embedding: (batch, token, channel), as the text encoder gives it.

    Returns:
        (key, value), (batch, head, token, dim) each.
    """
    attn = unet.get_submodule(layer.name.removesuffix(".processor"))
    text = attn.norm_encoder_hidden_states(embedding) if attn.norm_cross else embedding
    key, value = (split_heads(x, attn.heads) for x in (attn.to_k(text), attn.to_v(text)))
    return (key if attn.norm_k is None else attn.norm_k(key)), value


@contextmanager
def install(
    unet: Any,
    controllers: Sequence[Controller],
    *,
    frames: int,
    clip_norm: bool = True,
    block_elements: int = 2**26,
) -> Iterator[AttentionControl]:
    """Put a UNet's attention under control, and restore whatever was there afterwards, also after an exception.

    Args:
        unet: a ``UNet2DConditionModel``.
        controllers: in the order in which their stages run (`on_output` runs in reverse).
        frames: frames of the clip; batches hold whole clips.
        clip_norm: take the statistics of group norms over all frames of a clip together.
        block_elements: the most elements of an explicit attention map that exist at one time.

    Yields:
        The control, whose `begin` must be called before every evaluation of the UNet.

    Raises:
        AttentionError: the UNet's attention cannot be replaced without losing something.
    """
    layers = layers_of(unet)
    control = AttentionControl(tuple(controllers), block_elements, layers)
    before: dict[str, Any] = dict(unet.attn_processors)
    with ExitStack() as stack:
        if clip_norm and frames > 1:
            stack.enter_context(clip_norms(unet, frames))
        stack.enter_context(clip_frames(unet, frames))
        # set_attn_processor empties the dict it is given.
        stack.callback(lambda: unet.set_attn_processor(dict(before)))
        unet.set_attn_processor({name: StagedAttnProcessor(layer, control) for name, layer in layers.items()})
        for name in dict.fromkeys(name for controller in controllers for name in controller.features):
            stack.callback(submodule(unet, name).register_forward_hook(partial(_on_features, control, name)).remove)
        yield control


def submodule(unet: Any, name: str) -> Any:
    """Return a part of the UNet by its name.

    Raises:
        AttentionError: it has no such part.
    """
    try:
        return unet.get_submodule(name)
    except AttributeError:
        inside = [part for part, _ in unet.named_modules() if ".resnets." in part and part.count(".") == 3]
        raise AttentionError(f"this UNet has no part {name!r}: {choices(name, inside)}") from None


def _on_features(control: AttentionControl, name: str, module: Any, args: Any, output: Any) -> Any:
    """A forward hook of torch."""
    return control.features(name, output)
