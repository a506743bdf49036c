"""Optical flow, occlusion, and metrics of how well an edit follows the motion of its source."""

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
    """Estimate the optical flow of a clip by dense inverse search (Kroeger et al., 2016), as implemented in OpenCV.

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
    """Estimate the optical flow of a clip, and which of its pixels are visible in the next frame too.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1], at least 12 pixels high and wide.

    Returns:
        Flow as in `optical_flow`, and mask as in `visible_pixels`.
    """
    forward = optical_flow(frames)
    return forward, visible_pixels(forward, optical_flow(frames.flip(0)).flip(0))


def visible_pixels(forward: Tensor, backward: Tensor) -> Tensor:
    """Find pixels that are not occluded, with the forward-backward check (Sundaram et al., 2010).

    A pixel counts as visible in both frames if ``|f + b|^2 <= 0.01 (|f|^2 + |b|^2) + 0.5``, where f is the forward flow
    at the pixel, and b is the backward flow at the position to which f points.

    Args:
        forward: (pair, height, width, 2), pixels to the right and down, from each frame to the next.
        backward: (pair, height, width, 2), pixels to the right and down, from each next frame back.

    Returns:
        (pair, height, width) bool: True if the pixel is visible in the next frame too.
    """
    back, inside = warp(backward.permute(0, 3, 1, 2), forward)
    back = back.permute(0, 2, 3, 1)
    gap = (forward + back).square().sum(-1)
    return inside & (gap <= 0.01 * (forward.square().sum(-1) + back.square().sum(-1)) + 0.5)


def warp(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Warp frames backward along the flow.

    Args:
        frames: (frame, channel, height, width): the frames to sample from.
        flow: (frame, height, width, 2), pixels to the right and down, from each pixel to its position in `frames`.

    Returns:
        Warped frames, (frame, channel, height, width), and a mask, (frame, height, width) bool: whether the sampled
        position is inside the frame.
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
    """Return the warping error of every pair of neighbouring frames.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1].
        flow: (frame - 1, height, width, 2), flow of the source clip, pixels to the right and down.
        visible: (frame - 1, height, width) bool, pixels that are visible in both frames. None for all pixels whose flow
            stays inside the frame.

    Returns:
        (frame - 1,), mean squared difference over the visible pixels, 0 to 1; NaN if there are none.
    """
    back, counted = _counted(frames, flow, visible)
    return _means((back - frames[:-1]).square().mean(1), counted)


def warp_error(frames: Tensor, flow: Tensor, visible: Tensor | None = None) -> float:
    """Return the warping error (Warp-Err): the difference of each frame and the next, warped back by the source's flow.

    As in Lai et al. (2018), the mean is over the pixels of each pair, then over pairs; pairs without a visible pixel do
    not count. Papers print 1000 times this value.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1].
        flow: (frame - 1, height, width, 2), flow of the source clip, pixels to the right and down.
        visible: (frame - 1, height, width) bool, pixels that are visible in both frames, as `visible_pixels` returns
            them. None for all pixels whose flow stays inside the frame.

    Returns:
        Mean squared difference over the visible pixels, 0 to 1; 0 for a single frame, NaN if no pixel is visible. Lower
        is better.
    """
    return float(warp_error_series(frames, flow, visible).nanmean()) if len(frames) > 1 else 0.0


def warp_ssim_series(frames: Tensor, flow: Tensor, visible: Tensor | None = None) -> Tensor:
    """Return for every pair of frames the structural similarity of the first and the second, warped back along the
    flow.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        flow: (frame - 1, height, width, 2), flow of the source clip, pixels to the right and down.
        visible: (frame - 1, height, width) bool, pixels that are visible in both frames. None for all pixels whose flow
            stays inside the frame.

    Returns:
        (frame - 1,), -1 to 1; NaN where no pixel is visible.
    """
    back, counted = _counted(frames, flow, visible)
    return _means(ssim_map(back, frames[:-1]), counted)


def warp_ssim(frames: Tensor, flow: Tensor, visible: Tensor | None = None) -> float:
    """Return WarpSSIM: the structural similarity of each frame and the next, warped back by the source's flow.

    The metric is from RAVE (Kara et al., 2024). The windows around visible pixels include occluded ones, which lowers
    the figure of every clip a little, including the source's. Compare with the figure of the source.

    Args:
        frames: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        flow: (frame - 1, height, width, 2), flow of the source clip, pixels to the right and down.
        visible: (frame - 1, height, width) bool, pixels that are visible in both frames, as `visible_pixels` returns
            them. None for all pixels whose flow stays inside the frame.

    Returns:
        Mean over pairs of the mean over visible pixels, -1 to 1; 1 for a single frame, NaN if no pixel is visible.
        Higher is better.
    """
    return float(warp_ssim_series(frames, flow, visible).nanmean()) if len(frames) > 1 else 1.0


def _counted(frames: Tensor, flow: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the next frames, warped back, and which of their pixels count."""
    back, inside = warp(frames[1:], flow)
    return back, inside if visible is None else inside & visible


def _means(values: Tensor, counted: Tensor) -> Tensor:
    """Average (pair, height, width) over the pixels that count in each pair; NaN if there are none."""
    return torch.where(counted, values, 0.0).sum((1, 2)) / counted.sum((1, 2))


register(
    Metric(
        "warp_error", "Warp-Err", "difference of neighbouring frames along the source's motion", better="lower",
        aspect="consistency",
        needs=("frames", "flow", "visible"), function=warp_error, curve=warp_error_series, per="pair",
    )
)  # fmt: skip
register(
    Metric(
        "warp_ssim", "WarpSSIM", "similarity of neighbouring frames along the source's motion", better="higher",
        aspect="consistency",
        needs=("frames", "flow", "visible"), function=warp_ssim, curve=warp_ssim_series, per="pair",
        tables=("evaluate", "bench"), headline=False,
    )
)  # fmt: skip
