"""Attention written once: stages at which controllers act, and the state that the layers of a network share.

An adapter (`faircut.model.backbone`) lets each attention layer of its network hand queries, keys and values to
`AttentionControl.attend`, and takes what the heads return.
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
    """The shared state of a network under control: who acts, and which step it is.

    Attributes:
        controllers: in the order in which their stages run.
        block_elements: the most elements of an explicit attention map that exist at one time.
        layers: the layers under control, by name, in the order in which the network runs them.
        step: the current step; set by `begin`.
        fired: names of the layers whose processor ran in this step.
    """

    controllers: tuple[Controller, ...]
    block_elements: int = 2**26
    layers: dict[str, Layer] = field(default_factory=dict)
    step: Step | None = None
    fired: set[str] = field(default_factory=set)

    def begin(self, step: Step) -> None:
        """Say what the next evaluation of the network is; tells the controllers.

        Raises:
            AttentionError: a controller cannot act where this network has the frames of a clip.
        """
        for controller in self.controllers:
            if step.layout.frames_in not in controller.frames_in:
                raise AttentionError(
                    f"{type(controller).__name__} acts on networks whose frames are entries of the batch, and this one "
                    "has all frames in one sequence; use a method without it, such as ddim or sdedit"
                )
        self.step = step
        self.fired.clear()
        for controller in self.controllers:
            controller.on_step_begin(step)

    def context(self, layer: Layer, batch_size: int, positions: int) -> AttentionContext:
        """Return the context of a call in the current step.

        Raises:
            AttentionError: the network was called outside a step, or with another batch or size than announced.
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
                f"{layer.name} was given {positions} positions, but latents of {self.step.latent_grid} make it "
                f"{shape}; announce the size of the latents that the network is called with"
            )
        self.fired.add(layer.name)
        return context

    def attend(self, layer: Layer, qkv: QKV, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the attention of one layer in the current step, with the controllers at their stages.

        Without an active controller it is exactly torch's fused attention.

        Args:
            layer: the layer.
            qkv: its queries, keys and values, (batch, head, position, dim) each, after the layer's own norms and rotary
                embeddings.
            mask: added to the scores, broadcastable to (batch, head, query, key); None for none.

        Returns:
            What the heads return, before the output projection, (batch, head, query, dim).

        Raises:
            AttentionError: the network was called outside a step, or with another batch or size than announced.
        """
        context = self.context(layer, qkv.query.shape[0], qkv.query.shape[2])
        active = []
        for controller in self.controllers:
            # One after the other, for a controller may act on a branch that an earlier one has added.
            if controller.applies(context):
                context, qkv = controller.on_qkv(context, qkv)
                active.append(controller)
        output = self._attend(context, qkv, mask, active)
        for controller in reversed(active):
            context, output = controller.on_output(context, output)
        return output

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
        """Let the controllers change what a submodule of the network returned; outside a step it stays as it is."""
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
                "(another pipeline on the same network, torch.compile); give the editor a network of its own"
            )

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
        rows = max(1, self.block_elements // (frames * heads * qkv.key.shape[2]))
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


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(batch, position, channel) -> (batch, head, position, dim)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)
