"""From what says where an edit happens to a region that controllers can ask."""

from __future__ import annotations

from typing import Literal

import torch

from faircut.attention.controller import Where
from faircut.controllers.regions import BlendRegion, FixedRegion, Region, mask_layers
from faircut.errors import ConfigError, VideoError
from faircut.methods.base import EditRegion, EditTask

__all__ = ["check_threshold", "modulated_layers", "region_of"]


def check_threshold(name: str, threshold: float) -> None:
    """Check a share of the highest attention from which a region begins.

    Raises:
        ConfigError: If the text is not one.
    """
    if isinstance(threshold, bool) or not 0.0 <= threshold < 1.0:
        raise ConfigError(f"{name} is {threshold}; give 0 <= threshold < 1, such as 0.3")


def region_of(task: EditTask, region: EditRegion, steps: range | None = None) -> Region:
    """Return a region that controllers can ask, of masks or of words of the source prompt.

    Args:
        task: the edit.
        region: what says where it is.
        steps: in which the words' attention is read anew; None is all of them.

    Raises:
        VideoError: the masks are not the clip's.
    """
    if region.masks is None:
        layers = mask_layers(task.layers, task.latent_grid)
        grid = layers[0].grid(task.latent_grid)
        return BlendRegion(task.source_attention, layers, grid, region.source_tokens, region.threshold, steps)
    masks = torch.as_tensor(region.masks)
    if masks.ndim != 3 or len(masks) != task.frames:
        words = ", ".join(region.source)
        raise VideoError(
            f"masks of shape {tuple(masks.shape)}{words and f' for {words!r}'}; give (frame, height, width) with the "
            f"clip's {task.frames} frames"
        )
    return FixedRegion(masks.to(task.trajectory.device))


def modulated_layers(latent_grid: tuple[int, int], kind: Literal["self", "cross"]) -> Where:
    """Choose the layers to modulate: at most half the latent grid, but never only grids of 8 cells and fewer.

    Args:
        latent_grid: (height, width) of the latents.
        kind: of attention.

    Returns:
        Where that is.
    """
    return Where(kind=kind, coarse=True if max(latent_grid) > 16 else None)
