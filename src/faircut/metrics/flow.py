"""Optical flow of clips that nobody drew."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch

__all__ = ["optical_flow"]


def optical_flow(frames: torch.Tensor) -> torch.Tensor:
    """Estimate how a clip moves, by dense inverse search (Kroeger et al., 2016, as OpenCV has it).

    Args:
        frames: (frame, 3, height, width), RGB in [-1, 1].

    Returns:
        (frame - 1, height, width, 2), pixels to the right and down.
    """
    import cv2

    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pixels: Any = ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pixels]
    flows = [search.calc(a, b, None) for a, b in pairwise(grey)]
    height, width = frames.shape[-2:]
    return torch.from_numpy(np.stack(flows) if flows else np.zeros((0, height, width, 2), np.float32))
