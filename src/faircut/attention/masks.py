"""Region masks from cross-attention, as pure functions (FateZero, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch.nn import functional as F

__all__ = ["blend_mask", "mask_patch", "token_map"]

# A mask from fewer positions than this on its longer side is too coarse to outline anything.
_LEAST_CELLS = 16


def mask_patch(latent_grid: tuple[int, int], patches: Iterable[int]) -> int:
    """Choose the layers that a mask is made of, by how many cells of the latents a side of one position covers.

    FateZero takes a quarter of the latent grid: 16x16 at 512 px. Where that is coarser than 16 positions on the longer
    side, the next finer grid that has cross-attention, up to half the latent grid, serves better.

    Args:
        latent_grid: (height, width) of the latents.
        patches: sides of the positions of the network's cross-attention layers, in cells: 1, 2, 4 or 8 in Stable
            Diffusion.

    Returns:
        One of ``patches``.
    """
    coarsest_first = sorted((side for side in patches if side >= 2), reverse=True)
    enough = [side for side in coarsest_first if side <= 4 and max(latent_grid) >= _LEAST_CELLS * side]
    if enough:
        return enough[0]
    return coarsest_first[-1] if coarsest_first else min(patches)


def token_map(probs: Iterable[torch.Tensor], tokens: Sequence[int], grid: tuple[int, int]) -> torch.Tensor:
    """Average the attention that some tokens get.

    Args:
        probs: cross-attention of layers of one grid, each (entry, head, query, token).
        tokens: whose attention to sum.
        grid: (height, width) of a frame in the layers.

    Returns:
        (frame, height, width): the sum over the tokens, averaged over layers and heads.
    """
    maps = [p[..., list(tokens)].sum(-1) for p in probs]
    # (entry, position): an entry holds one frame or all of them, frame by frame, so the same numbers make up (frame, h,
    # w).
    return torch.cat(maps, dim=1).mean(dim=1).reshape(-1, *grid)


def blend_mask(maps: torch.Tensor, grid: tuple[int, int], threshold: float) -> torch.Tensor:
    """Turn the attention of the blend words into a mask.

    Args:
        maps: (frame, height, width), as `token_map` returns it.
        grid: (height, width) that the mask is for.
        threshold: share of the frame's maximum above which a position is edited, 0 to 1.

    Returns:
        (frame, height, width), bool: True is generated anew, False is kept from the source.
    """
    pooled = F.max_pool2d(maps[:, None], kernel_size=3, stride=1, padding=1)
    resized = F.interpolate(pooled, size=grid)[:, 0]
    return resized > threshold * resized.amax(dim=(1, 2), keepdim=True)
