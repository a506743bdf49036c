"""The cross-attention maps of one evaluation of the UNet, kept by a controller."""

from __future__ import annotations

import torch
from torch import Tensor

from faircut.attention.context import AttentionContext, BatchLayout, Step
from faircut.attention.controller import Controller

__all__ = ["CrossAttentionMaps", "one_evaluation"]


class CrossAttentionMaps(Controller):
    """Keeps how much each position attends to each token, averaged over heads.

    It asks for probabilities in every layer, so self-attention is computed explicitly too: with the few positions of
    the pocket model that is faster on a CPU than fused attention, above all in the backward pass.

    Attributes:
        maps: of each cross-attention layer in the order in which they ran, (picture, query, token).
    """

    branches = None

    def __init__(self) -> None:
        self._blocks: dict[str, list[Tensor]] = {}

    @property
    def maps(self) -> list[Tensor]:
        """See the class."""
        return [torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0] for blocks in self._blocks.values()]

    def clear(self) -> None:
        """Let go of the maps."""
        self._blocks.clear()

    def keep(self, context: AttentionContext, probs: Tensor) -> None:
        """Keep a block of queries of one layer's map, (picture, head, query, token)."""
        self._blocks.setdefault(context.layer.name, []).append(probs.mean(1))

    def on_step_begin(self, step: Step) -> None:
        """Let go of the maps of the evaluation before."""
        self.clear()

    def on_probs(self, context: AttentionContext, probs: Tensor, queries: slice) -> Tensor:
        """Keep what attends to the text; changes nothing."""
        if context.layer.kind == "cross":
            self.keep(context, probs)
        return probs


def one_evaluation(latents: Tensor) -> Step:
    """Announce an evaluation of the UNet on pictures that are no clip and lie on no sampler's path.

    Args:
        latents: (picture, channel, height, width); each picture may have a noise level of its own.

    Returns:
        The step, its only one.
    """
    height, width = latents.shape[-2:]
    return Step("denoise", 0, 1, 0, BatchLayout(("cond",), len(latents)), (height, width))
