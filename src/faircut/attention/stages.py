"""Attention with stages at which controllers act, written once, and the state that a network's layers share.

An adapter (`faircut.model.backbone`) lets each attention layer of its network pass queries, keys and values to
`AttentionControl.attend`, which returns the output of the heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional as F

from faircut.attention.context import AttentionContext, Layer, Step
from faircut.attention.controller import QKV, Controller
from faircut.errors import AttentionError

__all__ = ["AttentionControl", "split_heads"]


@dataclass
class AttentionControl:
    """The shared state of a network under control: the controllers and the current step.

    Attributes:
        controllers: Controllers in the order in which their stages run.
        block_elements: Maximum number of elements of an explicit attention map that exist at one time.
        layers: Layers under control by name, in the order in which the network runs them.
        step: Current step, set by `begin`.
        fired: Names of the layers that were computed in this step.
    """

    controllers: tuple[Controller, ...]
    block_elements: int = 2**26
    layers: dict[str, Layer] = field(default_factory=dict)
    step: Step | None = None
    fired: set[str] = field(default_factory=set)

    def begin(self, step: Step) -> None:
        """Announce the next evaluation of the network, also to the controllers.

        Raises:
            AttentionError: If a controller does not support this network's batch layout.
        """
        for controller in self.controllers:
            if step.layout.frames_in not in controller.frames_in:
                raise AttentionError(
                    f"{type(controller).__name__} needs a network whose frames are batch entries, but this one has all "
                    "frames in one sequence; use a method without this controller, such as ddim or sdedit"
                )
        self.step = step
        self.fired.clear()
        for controller in self.controllers:
            controller.on_step_begin(step)

    def context(self, layer: Layer, batch_size: int, positions: int) -> AttentionContext:
        """Return the context of a call in the current step.

        Raises:
            AttentionError: If the network is called outside a step, or with another batch or size than announced.
        """
        if self.step is None:
            raise AttentionError("the network was called before a step began; call AttentionControl.begin first")
        if batch_size != self.step.layout.batch_size:
            raise AttentionError(
                f"the network was called with a batch of {batch_size}, but {self.step.layout.batch_size} were "
                f"announced ({' + '.join(self.step.layout.branches)}, {self.step.layout.frames} frames each)"
            )
        context = AttentionContext(layer, self.step, self.step.layout)
        if positions != math.prod(context.positions):
            frames, height, width = context.positions
            shape = f"{height} x {width}" if self.step.layout.frames_in == "batch" else f"{frames} x {height} x {width}"
            raise AttentionError(
                f"{layer.name} got {positions} positions, but latents of {self.step.latent_grid} give {shape}; "
                "announce the size of the latents that the network is called with"
            )
        self.fired.add(layer.name)
        return context

    def attend(self, layer: Layer, qkv: QKV, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the attention of one layer in the current step, with the controllers at their stages.

        Without an active controller this is exactly torch's fused attention.

        Args:
            layer: Layer to compute.
            qkv: Queries, keys and values, (batch, head, position, dim) each, after the layer's norms and rotary
                embeddings.
            mask: Mask that is added to the scores, broadcastable to (batch, head, query, key), or None.

        Returns:
            (batch, head, query, dim), output of the heads before the output projection.

        Raises:
            AttentionError: If the network is called outside a step, or with another batch or size than announced.
        """
        context = self.context(layer, qkv.query.shape[0], qkv.query.shape[2])
        active = []
        for controller in self.controllers:
            # In order, because a controller may act on a branch that an earlier one added.
            if controller.applies(context):
                context, qkv = controller.on_qkv(context, qkv)
                active.append(controller)
        output = self._attend(context, qkv, mask, active)
        for controller in reversed(active):
            context, output = controller.on_output(context, output)
        return output

    def guidance(self, scale: float) -> torch.Tensor:
        """Return the guidance scale of each position in this step, broadcastable to (frame, 1, height, width)."""
        if self.step is None:
            raise AttentionError("no step has begun; call AttentionControl.begin first")
        guided = torch.tensor(scale)
        for controller in self.controllers:
            guided = controller.on_guidance(self.step, guided)
        return guided

    def end(self, latents: torch.Tensor) -> torch.Tensor:
        """End the step, and return the latents, (frame, channel, height, width), as changed by the controllers."""
        if self.step is None:
            raise AttentionError("there is no step to end; call AttentionControl.begin first")
        step, self.step = self.step, None
        for controller in self.controllers:
            latents = controller.on_step_end(step, latents)
        return latents

    def features(self, name: str, output: Any) -> Any:
        """Return the output of a submodule as changed by the controllers, or unchanged outside a step."""
        if self.step is not None:
            for controller in self.controllers:
                phases, branches = controller.where.phases, self.step.layout.branches
                if name in controller.features and self.step.phase in phases and controller.acts_on(*branches):
                    output = controller.on_features(self.step, name, output)
        return output

    def check_fired(self) -> None:
        """Check that every layer under control was computed in the step.

        Raises:
            AttentionError: If a layer ran outside faircut's control.
        """
        silent = sorted(set(self.layers) - self.fired)
        if silent or not self.fired:
            raise AttentionError(
                f"{len(silent) or 'all'} attention layer(s) ran without faircut's processor, the first is "
                f"{silent[0] if silent else 'unknown'}; the processors were replaced during the run "
                "(by another pipeline on the same network, or torch.compile); give the editor a separate network"
            )

    def _attend(
        self, context: AttentionContext, qkv: QKV, mask: torch.Tensor | None, active: Sequence[Controller]
    ) -> torch.Tensor:
        """Compute attention, explicitly for branches whose scores or probabilities a controller uses, else fused."""
        watchers = [c for c in active if c.overrides("on_scores") or c.overrides("on_probs")]
        watched = {branch: [c for c in watchers if c.acts_on(branch)] for branch in context.layout.branches}
        if not any(watched.values()):
            return _attend_fused(qkv, mask)
        outputs = []  # (entry, head, query, dim) of each branch, in batch order
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
        """Compute explicit attention, one block of queries at a time with all keys."""
        frames, heads, queries, dim = qkv.query.shape
        rows = max(1, self.block_elements // (frames * heads * qkv.key.shape[2]))  # Queries of one block.
        # Half precision overflows here in Stable Diffusion 2.x, whose configuration asks for float32.
        # (frame, head, query, dim) and (frame, head, dim, key)
        query, key_t = qkv.query.float() * dim**-0.5, qkv.key.float().transpose(-1, -2)
        blocks = []
        for start in range(0, queries, rows):
            block = slice(start, min(start + rows, queries))
            scores = query[:, :, block] @ key_t  # (frame, head, query of the block, key)
            if mask is not None:
                # (frame, head or 1, query or 1, key): a mask may be the same for all queries.
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
    """Compute fused attention, which never builds a map."""
    query, key, value, bias = qkv
    if bias is not None:
        # (batch, 1, 1, key) broadcasts to all heads and queries.
        mask = bias.to(query.dtype) if mask is None else mask + bias.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Return (batch, position, channel) as (batch, head, position, dim)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)
