"""A controller that records the cross-attention maps of one evaluation of the UNet."""

from __future__ import annotations

import torch
from torch import Tensor

from faircut.attention.context import AttentionContext, BatchLayout, Step
from faircut.attention.controller import Controller

__all__ = ["CrossAttentionMaps", "one_evaluation"]


class CrossAttentionMaps(Controller):
    """A controller that records cross-attention maps, averaged over heads.

    The controller requests probabilities in every layer, so self-attention is computed explicitly too. With the few
    positions of the pocket model this is faster on a CPU than fused attention, especially in the backward pass.

    Attributes:
        maps: Maps of the cross-attention layers in the order in which they ran, (picture, query, token) each.
    """

    branches = None

    def __init__(self) -> None:
        self._blocks: dict[str, list[Tensor]] = {}

    @property
    def maps(self) -> list[Tensor]:
        """See the class."""
        return [torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0] for blocks in self._blocks.values()]

    def clear(self) -> None:
        """Discard the maps."""
        self._blocks.clear()

    def keep(self, context: AttentionContext, probs: Tensor) -> None:
        """Record a block of queries of one layer's map, (picture, head, query, token)."""
        self._blocks.setdefault(context.layer.name, []).append(probs.mean(1))

    def on_step_begin(self, step: Step) -> None:
        """Discard the maps of the previous evaluation."""
        self.clear()

    def on_probs(self, context: AttentionContext, probs: Tensor, queries: slice) -> Tensor:
        """Record the map of a cross-attention layer; changes nothing."""
        if context.layer.kind == "cross":
            self.keep(context, probs)
        return probs


def one_evaluation(latents: Tensor) -> Step:
    """Return the step for an evaluation of the UNet on independent pictures, outside of sampling.

    Args:
        latents: (picture, channel, height, width). Each picture can have a different noise level.

    Returns:
        The step, as the first and only one.
    """
    height, width = latents.shape[-2:]
    return Step("denoise", 0, 1, 0, BatchLayout(("cond",), len(latents)), (height, width))
