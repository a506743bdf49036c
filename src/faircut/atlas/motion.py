"""The motion of a layer, estimated from optical flow, with which a fit begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from faircut.metrics import warp

__all__ = ["agreeing", "moving_mask", "texture_of", "to_reference"]

_MAX_POINTS = 4000
_MIN_POINTS = 12
_TOLERANCE = 1.0


def texture_of(frames: Tensor) -> Tensor:
    """Return the amount of texture at every pixel, (frame, height, width), of frames (frame, 3, height, width)."""
    right, below = frames.diff(dim=-1).abs().sum(1), frames.diff(dim=-2).abs().sum(1)
    return F.pad(right, (0, 1)) + F.pad(below, (0, 0, 0, 1))


def to_reference(frames: Tensor, flow: Tensor, region: Tensor, reference: int) -> Tensor:
    """Estimate for every frame the similarity transform that maps a layer's pixels to a reference frame.

    Flow from frame to frame is fitted by RANSAC (Fischler and Bolles, 1981), and the fits are chained. Flow in flat
    areas is unreliable, so only the more textured half of a region counts. Flow misses small things that move fast, so
    the motion of the region's centre is used instead if it predicts the next frame better.

    Args:
        frames: (frame, 3, height, width), the clip.
        flow: (frame - 1, height, width, 2), pixels to the right and down, from each frame to the next one.
        region: (frame, height, width), bool, pixels of the layer.
        reference: Index of the reference frame.

    Returns:
        (frame, 2, 3), float64, maps pixel (x, y, 1) of a frame to (x, y) in the reference frame.
    """
    texture, steps = texture_of(frames), []
    for t, flow_to_next in enumerate(flow):
        fits = [
            _similarity(flow_to_next.numpy(), region[t].numpy(), texture[t].numpy()),
            _shift(region[t], region[t + 1]),
        ]
        errors = [_misfit(frames[t], frames[t + 1], region[t], fit) for fit in fits]
        steps.append(fits[errors.index(min(errors))])
    transforms = [np.eye(3)] * len(frames)
    for t in range(reference - 1, -1, -1):
        transforms[t] = transforms[t + 1] @ steps[t]
    for t in range(reference + 1, len(transforms)):
        transforms[t] = transforms[t - 1] @ np.linalg.inv(steps[t - 1])
    return torch.from_numpy(np.stack(transforms)[:, :2])


def _shift(region_now: Tensor, region_next: Tensor) -> np.ndarray:
    """Return the motion of a region's centre as a matrix, (3, 3)."""
    transform = np.eye(3)
    if bool(region_now.any()) and bool(region_next.any()):
        centres = [region.nonzero().double().mean(0) for region in (region_now, region_next)]
        transform[:2, 2] = (centres[1] - centres[0]).flip(0).numpy()
    return transform


def _misfit(now: Tensor, then: Tensor, region: Tensor, fit: np.ndarray) -> float:
    """Return the mean difference between a region and its appearance in the next frame as a motion predicts it."""
    shift = _field(fit, region.shape[0], region.shape[1]).float()
    back, inside = warp(then[None], shift[None])
    error = (back[0] - now).abs().mean(0)[region & inside[0]]
    return float(error.mean()) if len(error) else float("inf")


def _field(fit: np.ndarray, height: int, width: int) -> Tensor:
    """Return a similarity transform as flow, (height, width, 2)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1).double()
    return places @ torch.from_numpy(fit[:2]).T - places[..., :2]


def _similarity(flow: np.ndarray, region: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Return the motion between two frames, (3, 3), or the identity if the region is too small."""
    import cv2

    y, x = np.nonzero(region)
    if len(x) < _MIN_POINTS:
        return np.eye(3)
    rank = np.argsort(-texture[y, x], kind="stable")
    rank = rank[: max(_MIN_POINTS, len(rank) // 2)]
    rank = rank[:: -(-len(rank) // _MAX_POINTS)]
    y, x = y[rank], x[rank]
    points: Any = np.stack([x, y], axis=-1).astype(np.float32)
    moved: Any = points + flow[y, x]
    cv2.setRNGSeed(0)
    fit, _ = cv2.estimateAffinePartial2D(points, moved, method=cv2.RANSAC, ransacReprojThreshold=_TOLERANCE)
    return np.eye(3) if fit is None else np.vstack([fit, [0.0, 0.0, 1.0]])


def agreeing(forward: Tensor, backward: Tensor) -> Tensor:
    """Return the pixels whose flow leads back to where it came from, so that it can be trusted.

    Args:
        forward: (frame, height, width, 2), pixels to the right and down, from each frame to the next one.
        backward: (frame, height, width, 2), pixels to the right and down, from each next frame to the one before.

    Returns:
        (frame, height, width), bool.
    """
    back, inside = warp(backward.permute(0, 3, 1, 2), forward)
    return inside & ((back.permute(0, 2, 3, 1) + forward).norm(dim=-1) < _TOLERANCE)


def moving_mask(frames: Tensor, flow: Tensor) -> Tensor:
    """Estimate the foreground without a mask: the pixels that do not move as most of the frame does.

    Args:
        frames: (frame, 3, height, width), the clip.
        flow: (frame - 1, height, width, 2), pixels to the right and down, from each frame to the next one.

    Returns:
        (frame, height, width), bool.
    """
    height, width = frames.shape[-2:]
    whole, texture, masks = np.ones((height, width), bool), texture_of(frames), []
    for t, flow_to_next in enumerate(flow):
        fit = _similarity(flow_to_next.numpy(), whole, texture[t].numpy())
        masks.append((_field(fit, height, width) - flow_to_next).norm(dim=-1) > _TOLERANCE)
    # The last frame has no flow, and the mask of the frame before is close to its own.
    masks.append(masks[-1] if masks else torch.zeros(height, width, dtype=torch.bool))
    return torch.stack(masks)
