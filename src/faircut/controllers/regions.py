"""Where an edit may happen: the region that the source's cross-attention gives to the blend words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from faircut.attention.context import Layer
from faircut.attention.masks import blend_mask, mask_scale, token_map
from faircut.attention.source import RecordedSource

__all__ = ["BlendRegion", "mask_layers"]


def mask_layers(layers: Iterable[Layer], latent_grid: tuple[int, int]) -> list[Layer]:
    """Choose the cross-attention layers that masks are made of, all of one grid."""
    cross = [layer for layer in layers if layer.kind == "cross"]
    chosen = mask_scale(latent_grid, {layer.scale for layer in cross})
    return [layer for layer in cross if layer.scale == chosen]


class BlendRegion:
    """The region of the blend words, step by step, from the source's cross-attention.

    Args:
        source: the source's attention.
        layers: the cross-attention layers to average, all of one grid.
        grid: (height, width) of that grid.
        tokens: the blend words' tokens in the source prompt.
        threshold: share of a frame's maximum above which a position belongs to the region.
    """

    def __init__(
        self,
        source: RecordedSource,
        layers: Sequence[Layer],
        grid: tuple[int, int],
        tokens: Sequence[int],
        threshold: float,
    ) -> None:
        self.source, self.layers, self.grid = source, layers, grid
        self.tokens, self.threshold = tokens, threshold

    def maps(self) -> torch.Tensor:
        """Return the blend words' attention in the current step, (frame, height, width)."""
        return token_map((self.source.probs(layer) for layer in self.layers), self.tokens, self.grid)

    def mask(self, grid: tuple[int, int]) -> torch.Tensor:
        """Return the region in the current step on a grid, (frame, height, width), bool."""
        return blend_mask(self.maps(), grid, self.threshold)
