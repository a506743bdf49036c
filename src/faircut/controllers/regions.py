"""The regions where an edit may happen: given masks, or the positions whose cross-attention is on the blend words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch.nn import functional as F

from faircut.attention.context import Layer
from faircut.attention.masks import blend_mask, mask_patch, token_map
from faircut.attention.source import RecordedSource

__all__ = ["BlendRegion", "FixedRegion", "Region", "mask_layers"]


def mask_layers(layers: Iterable[Layer], latent_grid: tuple[int, int]) -> list[Layer]:
    """Return the cross-attention layers that masks are made from, all with the same grid."""
    cross = [layer for layer in layers if layer.kind == "cross"]
    side = mask_patch(latent_grid, {layer.patch[1] for layer in cross})
    return [layer for layer in cross if layer.patch[1] == side]


class Region(Protocol):
    """A set of positions in each frame."""

    def uses_source(self, index: int) -> bool:
        """Return whether the region needs the attention of the source in denoising step ``index``."""

    def mask(self, grid: tuple[int, int]) -> torch.Tensor:
        """Return the region on a grid, (frame, height, width), bool."""

    def soft_mask(self, grid: tuple[int, int]) -> torch.Tensor:
        """Return the share of each cell that belongs to the region, (frame, height, width), float32, 0 to 1."""


class FixedRegion:
    """A region given by masks: drawn by the user, found by a segmenter, or the ground truth of a drawn world.

    Args:
        masks: (frame, height, width), bool or 0 to 1, at any size.
    """

    def __init__(self, masks: torch.Tensor) -> None:
        self.masks = masks.float()
        self._cells: dict[tuple[int, int], torch.Tensor] = {}

    def uses_source(self, index: int) -> bool:
        """Return False, because the masks are given."""
        return False

    def mask(self, grid: tuple[int, int]) -> torch.Tensor:
        """Return the cells of which at least half belong to the region, (frame, height, width), bool."""
        return self.soft_mask(grid) >= 0.5

    def soft_mask(self, grid: tuple[int, int]) -> torch.Tensor:
        """Return the share of each cell that belongs to the region, (frame, height, width), float32, 0 to 1."""
        if grid not in self._cells:
            # Pooling needs a channel axis: (frame, 1, height, width).
            self._cells[grid] = F.adaptive_avg_pool2d(self.masks[:, None], grid)[:, 0]
        return self._cells[grid]


class BlendRegion:
    """The region of the blend words, computed in each step from the source's cross-attention.

    Args:
        source: Attention of the source.
        layers: Cross-attention layers to average, all with the same grid.
        grid: (height, width) of these layers.
        tokens: Indices of the blend words' tokens in the source prompt.
        threshold: Share of a frame's maximum above which a position belongs to the region, 0 to 1.
        steps: Steps in which the region is computed again. After them it stays the same. None means all steps.
    """

    def __init__(
        self,
        source: RecordedSource,
        layers: Sequence[Layer],
        grid: tuple[int, int],
        tokens: Sequence[int],
        threshold: float,
        steps: range | None = None,
    ) -> None:
        self.source, self.layers, self.grid = source, layers, grid
        self.tokens, self.threshold, self.steps = tokens, threshold, steps
        # Masks by grid. They are stored because many layers and controllers use them in every step.
        self._masks: dict[tuple[int, int], torch.Tensor] = {}
        self._index: int | None = None

    def uses_source(self, index: int) -> bool:
        """Return whether the region is computed again. Otherwise the source stays at the last step that was used."""
        return self.steps is None or index in self.steps

    def maps(self) -> torch.Tensor:
        """Return the blend words' attention in the current step, (frame, height, width)."""
        return token_map((self.source.probs(layer) for layer in self.layers), self.tokens, self.grid)

    def mask(self, grid: tuple[int, int]) -> torch.Tensor:
        """Return the region in the current step on a grid, (frame, height, width), bool."""
        if self.source.index != self._index:
            self._masks.clear()
            self._index = self.source.index
        if grid not in self._masks:
            self._masks[grid] = blend_mask(self.maps(), grid, self.threshold)
        return self._masks[grid]

    def soft_mask(self, grid: tuple[int, int]) -> torch.Tensor:
        """Return the region in the current step on a grid, (frame, height, width), float32, 0 or 1."""
        return self.mask(grid).float()
