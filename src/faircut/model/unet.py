"""The adapter of diffusers' ``UNet2DConditionModel``: Stable Diffusion 1.x and 2.x."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    SlicedAttnProcessor,
    XFormersAttnProcessor,
)

from faircut.attention.context import BatchLayout, Layer
from faircut.attention.controller import QKV
from faircut.attention.stages import AttentionControl, split_heads
from faircut.errors import AttentionError
from faircut.model.backbone import Backbone, register_backbone
from faircut.model.norm import clip_norms
from faircut.model.temporal import attach_temporal, clip_frames, has_temporal

__all__ = ["StagedAttnProcessor", "UNetBackbone"]

# Processors without weights or state, which can be replaced without losing anything.
_STATELESS = (AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor, XFormersAttnProcessor)


class StagedAttnProcessor:
    """A diffusers attention processor that leaves the attention itself to an `AttentionControl`.

    Without an active controller it computes exactly what diffusers' ``AttnProcessor2_0`` computes.

    Args:
        layer: Layer that the processor runs.
        control: Control that computes the attention.
    """

    def __init__(self, layer: Layer, control: AttentionControl) -> None:
        self.layer = layer
        self.control = control

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Run the layer on (batch, position, channel), with the arguments and result of diffusers' processors."""
        residual = hidden_states
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            text = attn.norm_encoder_hidden_states(encoder_hidden_states)
        # (batch, position, channel) -> (batch, head, position, dim)
        qkv = QKV(*(split_heads(x, attn.heads) for x in (attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text))))
        if attn.norm_q is not None:
            qkv = qkv._replace(query=attn.norm_q(qkv.query), key=attn.norm_k(qkv.key))
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, text.shape[1], hidden_states.shape[0])
            # (batch * head, query or 1, key) -> (batch, head, query or 1, key)
            attention_mask = attention_mask.unflatten(0, (hidden_states.shape[0], attn.heads))

        output = self.control.attend(self.layer, qkv, attention_mask)

        # (batch, head, position, dim) -> (batch, position, channel)
        output = output.transpose(1, 2).flatten(2).to(qkv.query.dtype)
        output = attn.to_out[1](attn.to_out[0](output))
        if attn.residual_connection:
            output = output + residual
        return output / attn.rescale_output_factor if attn.rescale_output_factor != 1.0 else output


@register_backbone("UNet2DConditionModel")
class UNetBackbone(Backbone):
    """The adapter of a UNet: frames are batch entries, and layers are named by their processors in diffusers."""

    # Decoder layer 4 of Plug-and-Play's published code, 16x16 at 512 px.
    feature_layer = "up_blocks.1.resnets.1"

    @property
    def latent_channels(self) -> int:
        """Number of channels of the latents."""
        return int(self.network.config.in_channels)

    @property
    def text_channels(self) -> int:
        """Width of the text embedding."""
        return int(self.network.config.cross_attention_dim)

    @property
    def dtype(self) -> torch.dtype:
        """Data type in which the UNet computes."""
        return self.network.dtype

    @property
    def device(self) -> torch.device:
        """Device that holds the weights."""
        return self.network.device

    def layers(self) -> dict[str, Layer]:
        """Return every attention layer by its processor's name.

        Raises:
            AttentionError: If the UNet has no cross-attention layers, or a layer whose processor has weights or state.
        """
        modules = dict(self.network.named_modules())
        deepest = len(self.network.down_blocks) - 1
        layers: dict[str, Layer] = {}
        for name, processor in self.network.attn_processors.items():
            attn = modules[name.removesuffix(".processor")]
            if not isinstance(processor, (*_STATELESS, StagedAttnProcessor)):
                raise AttentionError(
                    f"the processor of {name} is a {type(processor).__name__}, which has weights or state that would "
                    "be lost; unload it first (for an IP-Adapter: editor.unload_ip_adapter())"
                )
            kind: Literal["self", "cross"] = "cross" if attn.is_cross_attention else "self"
            part = _part_of(name)
            block = int(name.split(".")[1]) if part != "mid" else 0
            # Every block of the encoder except the deepest halves the grid once.
            side = 2 ** {"down": block, "mid": deepest, "up": deepest - block}[part]
            layers[name] = Layer(name, kind, attn.to_q.out_features, attn.heads, (1, side, side), part == "up")
        if not any(layer.kind == "cross" for layer in layers.values()):
            raise AttentionError(
                "this UNet has no cross-attention, so a text cannot guide it; use a text-to-image UNet"
            )
        # attn_processors lists down, up, mid, but the UNet runs down, mid, up.
        order = ("down", "mid", "up")
        return dict(sorted(layers.items(), key=lambda item: order.index(_part_of(item[0]))))

    @contextmanager
    def attach(self, control: AttentionControl) -> Iterator[None]:
        """Set the staged processors, and restore the previous ones on exit."""
        original: dict[str, Any] = dict(self.network.attn_processors)
        try:
            self.network.set_attn_processor(
                {name: StagedAttnProcessor(layer, control) for name, layer in control.layers.items()}
            )
            yield
        finally:
            # A copy, because set_attn_processor empties the dict that it is given.
            self.network.set_attn_processor(dict(original))

    @contextmanager
    def over_clip(self, frames: int, clip_norm: bool) -> Iterator[None]:
        """Let group norms take their statistics over clips, and temporal layers attend over their frames."""
        with ExitStack() as stack:
            if clip_norm and frames > 1:
                stack.enter_context(clip_norms(self.network, frames))
            stack.enter_context(clip_frames(self.network, frames))
            yield

    def predict(self, z: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, layout: BatchLayout) -> torch.Tensor:
        """Evaluate the UNet."""
        return self.network(z, timestep, encoder_hidden_states=text, return_dict=False)[0]

    def project(self, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (key, value) of a cross-attention layer for a text embedding."""
        attn = self.network.get_submodule(layer.name.removesuffix(".processor"))
        text = attn.norm_encoder_hidden_states(embedding) if attn.norm_cross else embedding
        key, value = (split_heads(x, attn.heads) for x in (attn.to_k(text), attn.to_v(text)))
        return (key if attn.norm_k is None else attn.norm_k(key)), value

    def feature_names(self) -> list[str]:
        """Return the names of the residual blocks."""
        return [part for part, _ in self.network.named_modules() if ".resnets." in part and part.count(".") == 3]

    def shadow(self) -> UNetBackbone:
        """Return a UNet with the same configuration on torch's meta device, without data."""
        with torch.device("meta"):
            # Module.to, because diffusers' own method warns about modules to keep in float32 even if there are none.
            empty = type(self.network).from_config(self.network.config)
            network = torch.nn.Module.to(empty, self.network.dtype).eval()
            if has_temporal(self.network):
                attach_temporal(network)
        return UNetBackbone(network)


def _part_of(name: str) -> str:
    """Return ``"down"``, ``"mid"`` or ``"up"``: the part of the UNet that a processor is in."""
    return name.partition("_")[0]
