"""The one attention processor, and `install`, which puts it into a UNet and takes it out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast

import torch
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    SlicedAttnProcessor,
    XFormersAttnProcessor,
)
from torch.nn import functional as F

from faircut.attention.context import AttentionContext, Layer, Step
from faircut.attention.controller import QKV, Controller
from faircut.attention.norm import clip_norms
from faircut.attention.temporal import clip_frames
from faircut.errors import AttentionError, choices

__all__ = ["AttentionControl", "StagedAttnProcessor", "install", "layers_of", "project_text", "submodule"]

# What may be replaced without losing anything: processors that hold no weights and no state of their own.
_STATELESS = (AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor, XFormersAttnProcessor)


@dataclass
class AttentionControl:
    """The shared state of an installed UNet: who acts, and which step it is.

    Attributes:
        controllers: in the order in which their stages run.
        block_elements: the most elements of an explicit attention map that exist at one time.
        layers: the layers under control, by name, in the order in which the UNet runs them.
        step: the current step; set by `begin`.
        fired: names of the layers whose processor ran in this step.
    """

    controllers: tuple[Controller, ...]
    block_elements: int = 2**26
    layers: dict[str, Layer] = field(default_factory=dict)
    step: Step | None = None
    fired: set[str] = field(default_factory=set)

    def begin(self, step: Step) -> None:
        """Say what the next evaluation of the UNet is; tells the controllers."""
        self.step = step
        self.fired.clear()
        for controller in self.controllers:
            controller.on_step_begin(step)

    def context(self, layer: Layer, batch_size: int, positions: int) -> AttentionContext:
        """Return the context of a call in the current step.

        Raises:
            AttentionError: the UNet was called outside a step, or with another batch or size than announced.
        """
        if self.step is None:
            raise AttentionError("the UNet was called before a step began; call AttentionControl.begin first")
        if batch_size != self.step.layout.batch_size:
            raise AttentionError(
                f"the UNet was called with a batch of {batch_size}, but {self.step.layout.batch_size} were announced "
                f"({' + '.join(self.step.layout.branches)}, {self.step.layout.frames} frames each)"
            )
        height, width = layer.grid(self.step.latent_grid)
        if positions != height * width:
            raise AttentionError(
                f"{layer.name} was given {positions} positions, but latents of {self.step.latent_grid} make it "
                f"{height} x {width}; announce the size of the latents that the UNet is called with"
            )
        self.fired.add(layer.name)
        return AttentionContext(layer, self.step, self.step.layout)

    def guidance(self, scale: float) -> torch.Tensor:
        """Return how strongly each position is guided in this step, broadcastable to (frame, 1, height, width)."""
        if self.step is None:
            raise AttentionError("no step is being made; call AttentionControl.begin first")
        guided = torch.tensor(scale)
        for controller in self.controllers:
            guided = controller.on_guidance(self.step, guided)
        return guided

    def end(self, latents: torch.Tensor) -> torch.Tensor:
        """Close the step: let the controllers change the latents it arrived at, (frame, channel, height, width)."""
        if self.step is None:
            raise AttentionError("no step to end; call AttentionControl.begin first")
        step, self.step = self.step, None
        for controller in self.controllers:
            latents = controller.on_step_end(step, latents)
        return latents

    def features(self, name: str, output: Any) -> Any:
        """Let the controllers change what a submodule of the UNet returned; outside a step it stays as it is."""
        if self.step is not None:
            for controller in self.controllers:
                phases, branches = controller.where.phases, self.step.layout.branches
                if name in controller.features and self.step.phase in phases and controller.acts_on(*branches):
                    output = controller.on_features(self.step, name, output)
        return output

    def check_fired(self) -> None:
        """Check that every layer under control took part in the step.

        Raises:
            AttentionError: some layer's processor did not run, so it was not under control.
        """
        silent = sorted(set(self.layers) - self.fired)
        if silent or not self.fired:
            raise AttentionError(
                f"{len(silent) or 'all'} attention layer(s) ran without faircut's processor, the first is "
                f"{silent[0] if silent else 'unknown'}; something replaced the processors during the run "
                "(another pipeline on the same UNet, torch.compile); give the editor a UNet of its own"
            )


class StagedAttnProcessor:
    """Attention of one layer with stages at which controllers attach.

    Without an active controller it computes exactly what diffusers' ``AttnProcessor2_0`` computes.
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
        """Run the layer; arguments and result as diffusers' processors have them, (batch, position, channel)."""
        context = self.control.context(self.layer, *hidden_states.shape[:2])

        residual = hidden_states
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            text = attn.norm_encoder_hidden_states(encoder_hidden_states)
        qkv = QKV(*(_split_heads(x, attn.heads) for x in (attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text))))
        if attn.norm_q is not None:
            qkv = qkv._replace(query=attn.norm_q(qkv.query), key=attn.norm_k(qkv.key))
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, text.shape[1], hidden_states.shape[0])
            attention_mask = attention_mask.unflatten(0, (hidden_states.shape[0], attn.heads))

        active = []
        for controller in self.control.controllers:
            # One after the other, for a controller may act on a branch that an earlier one has added.
            if controller.applies(context):
                context, qkv = controller.on_qkv(context, qkv)
                active.append(controller)
        output = self._attend(context, qkv, attention_mask, active)
        for controller in reversed(active):
            context, output = controller.on_output(context, output)

        output = output.transpose(1, 2).flatten(2).to(qkv.query.dtype)
        output = attn.to_out[1](attn.to_out[0](output))
        if attn.residual_connection:
            output = output + residual
        return output / attn.rescale_output_factor if attn.rescale_output_factor != 1.0 else output

    def _attend(
        self, context: AttentionContext, qkv: QKV, mask: torch.Tensor | None, active: Sequence[Controller]
    ) -> torch.Tensor:
        """Attend; explicitly where a controller asks to see scores or probabilities, fused everywhere else."""
        watchers = [c for c in active if c.overrides("on_scores") or c.overrides("on_probs")]
        watched = {branch: [c for c in watchers if c.acts_on(branch)] for branch in context.layout.branches}
        if not any(watched.values()):
            return _attend_fused(qkv, mask)
        outputs = []
        for branch, controllers in watched.items():
            part = context.layout.slice(branch)
            branch_qkv = qkv.part(part)
            branch_mask = None if mask is None else mask[part]
            if controllers:
                outputs.append(self._attend_explicitly(context, branch_qkv, branch_mask, controllers))
            else:
                outputs.append(_attend_fused(branch_qkv, branch_mask))
        return torch.cat(outputs)

    def _attend_explicitly(
        self, context: AttentionContext, qkv: QKV, mask: torch.Tensor | None, controllers: Sequence[Controller]
    ) -> torch.Tensor:
        """Attend with whole rows of the map in view, a block of queries at a time."""
        frames, heads, queries, dim = qkv.query.shape
        rows = max(1, self.control.block_elements // (frames * heads * qkv.key.shape[2]))
        # Half precision overflows here in Stable Diffusion 2.x, whose own configuration asks for float32.
        query, key_t = qkv.query.float() * dim**-0.5, qkv.key.float().transpose(-1, -2)
        blocks = []
        for start in range(0, queries, rows):
            block = slice(start, min(start + rows, queries))
            scores = query[:, :, block] @ key_t
            if mask is not None:
                scores = scores + (mask if mask.shape[2] == 1 else mask[:, :, block])
            for controller in controllers:
                scores = controller.on_scores(context, scores, block)
            if qkv.bias is not None:
                scores = scores + qkv.bias
            probs = scores.softmax(dim=-1)
            for controller in controllers:
                probs = controller.on_probs(context, probs, block)
            blocks.append(probs.to(qkv.value.dtype) @ qkv.value)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)


def _attend_fused(qkv: QKV, mask: torch.Tensor | None) -> torch.Tensor:
    """Attend without a map."""
    query, key, value, bias = qkv
    if bias is not None:
        mask = bias.to(query.dtype) if mask is None else mask + bias.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def _split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(batch, position, channel) -> (batch, head, position, dim)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


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
    key, value = (_split_heads(x, attn.heads) for x in (attn.to_k(text), attn.to_v(text)))
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
