"""Region masks from cross-attention, as pure functions (FateZero, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch.nn import functional as F

__all__ = ["blend_mask", "mask_patch", "token_map"]

# A mask with fewer positions than this on its longer side is too coarse to outline an object.
_MIN_POSITIONS = 16


def mask_patch(latent_grid: tuple[int, int], patches: Iterable[int]) -> int:
    """Return which cross-attention layers to make masks from, by the side of their positions in cells of the latents.

    FateZero uses a quarter of the latent grid: 16x16 at 512 px. If that has fewer than 16 positions on the longer side,
    the next finer grid with cross-attention is used instead, up to half the latent grid.

    Args:
        latent_grid: (height, width) of the latents.
        patches: Sides of the positions of the network's cross-attention layers, in cells: 1, 2, 4 or 8 in Stable
            Diffusion.

    Returns:
        One of ``patches``.
    """
    coarsest_first = sorted((side for side in patches if side >= 2), reverse=True)
    enough = [side for side in coarsest_first if side <= 4 and max(latent_grid) >= _MIN_POSITIONS * side]
    if enough:
        return enough[0]
    return coarsest_first[-1] if coarsest_first else min(patches)


def token_map(probs: Iterable[torch.Tensor], tokens: Sequence[int], grid: tuple[int, int]) -> torch.Tensor:
    """Return the attention that some tokens receive, averaged over layers and heads.

    Args:
        probs: Cross-attention of layers with the same grid, each (entry, head, query, token).
        tokens: Indices of the tokens whose attention is summed.
        grid: (height, width) of a frame in these layers.

    Returns:
        (frame, height, width), the sum over the tokens, averaged over layers and heads.
    """
    maps = [p[..., list(tokens)].sum(-1) for p in probs]  # (entry, head, query) each
    # (entry, layer * head, query) -> (entry, query) -> (frame, height, width). An entry holds the positions of one
    # frame, or of all frames in order, so a reshape suffices.
    return torch.cat(maps, dim=1).mean(dim=1).reshape(-1, *grid)


def blend_mask(maps: torch.Tensor, grid: tuple[int, int], threshold: float) -> torch.Tensor:
    """Return the mask of an edit from the attention of the blend words.

    Args:
        maps: (frame, height, width), as returned by `token_map`.
        grid: (height, width) of the mask.
        threshold: Share of the frame's maximum above which a position is edited, 0 to 1.

    Returns:
        (frame, height, width), bool. True is generated anew, False is kept from the source.
    """
    pooled = F.max_pool2d(maps[:, None], kernel_size=3, stride=1, padding=1)
    resized = F.interpolate(pooled, size=grid)[:, 0]
    return resized > threshold * resized.amax(dim=(1, 2), keepdim=True)
