"""Where words or masks of an edit are, as a region that controllers ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from faircut.controllers.regions import BlendRegion, FixedRegion, Region, mask_layers
from faircut.errors import ConfigError, VideoError
from faircut.methods.base import EditTask
from faircut.prompts import Prompt, phrases

__all__ = ["check_threshold", "region_of", "tokens_of"]


def check_threshold(name: str, threshold: float) -> None:
    """Check a share of the highest attention from which a region begins.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(threshold, bool) or not 0.0 <= threshold < 1.0:
        raise ConfigError(f"{name} is {threshold}; give 0 <= threshold < 1, such as 0.3")


def tokens_of(prompt: Prompt, words: str | Sequence[str]) -> list[int]:
    """Return the tokens of some words or phrases of a prompt."""
    return [token for phrase in phrases(words) for token in prompt.find(phrase)]


def region_of(
    task: EditTask, words: str | Sequence[str], masks: Any, threshold: float, steps: range | None = None
) -> Region:
    """Return the region of masks, or of words of the source prompt.

    Args:
        task: the edit.
        words: of the source prompt; their cross-attention says where.
        masks: (frame, height, width), which go before the words; None for none.
        threshold: share of a frame's highest attention from which a position belongs to the words' region.
        steps: in which that is read anew; None is all of them.

    Raises:
        VideoError: the masks are not the clip's.
    """
    if masks is None:
        layers = mask_layers(task.layers, task.latent_grid)
        grid = layers[0].grid(task.latent_grid)
        return BlendRegion(task.source_attention, layers, grid, tokens_of(task.source, words), threshold, steps)
    masks = torch.as_tensor(masks)
    if masks.ndim != 3 or len(masks) != task.frames:
        raise VideoError(
            f"masks of shape {tuple(masks.shape)} for {words!r}; give (frame, height, width) with the clip's "
            f"{task.frames} frames"
        )
    return FixedRegion(masks.to(task.trajectory.device))
