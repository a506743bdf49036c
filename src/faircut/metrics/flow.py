"""Motion: optical flow, what of a frame is still seen in the next one, and how well an edit follows its source."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from faircut.metrics.fidelity import ssim_map
from faircut.metrics.registry import Metric, register

__all__ = [
    "motion",
    "optical_flow",
    "visible_pixels",
    "warp",
    "warp_error",
    "warp_error_series",
    "warp_ssim",
    "warp_ssim_series",
]


def optical_flow(frames: Tensor) -> Tensor:
    """Estimate how a clip moves, by dense inverse search (Kroeger et al., 2016, as OpenCV has it).

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1], at least 12 pixels high and wide.

    Returns:
        (frame - 1, height, width, 2), pixels to the right and down, from each frame to the next.
    """
    import cv2

    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pixels: Any = (frames * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pixels]
    flows = [search.calc(a, b, None) for a, b in pairwise(grey)]
    height, width = frames.shape[-2:]
    return torch.from_numpy(np.stack(flows) if flows else np.zeros((0, height, width, 2), np.float32))


def motion(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Estimate how a clip moves and which of its pixels are seen in the next frame as well.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1], at least 12 pixels high and wide.

    Returns:
        The flow, as `optical_flow` estimates it, and the mask, as `visible_pixels` makes it.
    """
    forward = optical_flow(frames)
    return forward, visible_pixels(forward, optical_flow(frames.flip(0)).flip(0))


def visible_pixels(forward: Tensor, backward: Tensor) -> Tensor:
    """Find what is not occluded: there and back along the flow leads home (Sundaram et al., 2010).

    A pixel counts as seen in both frames where ``|f + b|^2 <= 0.01 (|f|^2 + |b|^2) + 0.5``, f the flow there and b the
    backward flow at the place that f leads to.

    Args:
        forward: (pair, height, width, 2), pixels to the right and down, from each frame to the next.
        backward: the same shape, from each next frame back.

    Returns:
        (pair, height, width) bool: True where the pixel is seen in the next frame as well.
    """
    back, inside = warp(backward.permute(0, 3, 1, 2), forward)
    back = back.permute(0, 2, 3, 1)
    gap = (forward + back).square().sum(-1)
    return inside & (gap <= 0.01 * (forward.square().sum(-1) + back.square().sum(-1)) + 0.5)


def warp(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Bring each next frame back to the one before along the flow.

    Args:
        frames: (frame, channel, height, width): the frames that are looked up.
        flow: (frame, height, width, 2), pixels to the right and down from each pixel to where it goes in `frames`.

    Returns:
        (frame, channel, height, width), and (frame, height, width) bool: whether the place looked up is in the picture.
    """
    height, width = frames.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    to_x, to_y = x + flow[..., 0], y + flow[..., 1]
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    grid = torch.stack([2 * to_x / max(1, width - 1) - 1, 2 * to_y / max(1, height - 1) - 1], dim=-1)
    return F.grid_sample(frames, grid.to(frames.dtype), align_corners=True, padding_mode="border"), inside


def warp_error_series(frames: Tensor, flow: Tensor, visible: Tensor | None = None) -> Tensor:
    """Warping error pair by pair.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1].
        flow: (frame - 1, height, width, 2), of the source clip, pixels to the right and down.
        visible: (frame - 1, height, width) bool, which pixels are seen in both frames; None for all whose way stays
            inside.

    Returns:
        (frame - 1,), mean squared difference over those pixels, 0 to 1; NaN where there are none.
    """
    back, counted = _counted(frames, flow, visible)
    return _means((back - frames[:-1]).square().mean(1), counted)


def warp_error(frames: Tensor, flow: Tensor, visible: Tensor | None = None) -> float:
    """Warping error (Warp-Err): how far each frame is from the next one, brought back along the source's flow.

    Lai et al. (2018) average over the pixels of each pair, then over pairs, and so does this; pairs without a visible
    pixel do not count. Papers print it in thousandths.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1].
        flow: (frame - 1, height, width, 2), of the source clip, pixels to the right and down.
        visible: (frame - 1, height, width) bool, which pixels are seen in both frames, as `visible_pixels` finds them;
            None for all whose way stays inside.

    Returns:
        Mean squared difference over those pixels, 0 to 1; 0 for a single frame, NaN if no pixel is visible. Lower is
        better.
    """
    return float(warp_error_series(frames, flow, visible).nanmean()) if len(frames) > 1 else 0.0


def warp_ssim_series(frames: Tensor, flow: Tensor, visible: Tensor | None = None) -> Tensor:
    """Structural similarity of each frame and the next one, brought back along the source's flow, pair by pair.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        flow: (frame - 1, height, width, 2), of the source clip, pixels to the right and down.
        visible: (frame - 1, height, width) bool, which pixels are seen in both frames; None for all whose way stays
            inside.

    Returns:
        (frame - 1,), -1 to 1; NaN where no pixel is visible.
    """
    back, counted = _counted(frames, flow, visible)
    return _means(ssim_map(back, frames[:-1]), counted)


def warp_ssim(frames: Tensor, flow: Tensor, visible: Tensor | None = None) -> float:
    """WarpSSIM: how alike each frame and the next one are, brought back along the source's flow (RAVE, Kara et al.,
    2024).

    The windows around visible pixels reach over hidden ones, which counts against a clip a little at every occlusion,
    the source itself included: compare with the source's own figure.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        flow: (frame - 1, height, width, 2), of the source clip, pixels to the right and down.
        visible: (frame - 1, height, width) bool, which pixels are seen in both frames, as `visible_pixels` finds them;
            None for all whose way stays inside.

    Returns:
        Mean over pairs of the mean over those pixels, -1 to 1; 1 for a single frame, NaN if no pixel is visible. Higher
        is better.
    """
    return float(warp_ssim_series(frames, flow, visible).nanmean()) if len(frames) > 1 else 1.0


def _counted(frames: Tensor, flow: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor]:
    """Bring the next frames back, and say which of their pixels count."""
    back, inside = warp(frames[1:], flow)
    return back, inside if visible is None else inside & visible


def _means(values: Tensor, counted: Tensor) -> Tensor:
    """Average (pair, height, width) over what counts in each pair; NaN where nothing does."""
    return torch.where(counted, values, 0.0).sum((1, 2)) / counted.sum((1, 2))


register(
    Metric(
        "warp_error", "Warp-Err", "change along the source's motion", better="lower", aspect="consistency",
        needs=("frames", "flow", "visible"), function=warp_error, curve=warp_error_series, per="pair",
    )
)  # fmt: skip
register(
    Metric(
        "warp_ssim", "WarpSSIM", "likeness along the source's motion", better="higher", aspect="consistency",
        needs=("frames", "flow", "visible"), function=warp_ssim, curve=warp_ssim_series, per="pair",
        tables=("evaluate", "bench"), headline=False,
    )
)  # fmt: skip
