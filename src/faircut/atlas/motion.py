"""How a layer moves, from optical flow: where a fit begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from faircut.metrics import warp

__all__ = ["agreeing", "moving_mask", "texture_of", "to_reference"]

_POINTS = 4000
_LEAST_POINTS = 12
_TOLERANCE = 1.0


def texture_of(frames: Tensor) -> Tensor:
    """Return how textured every pixel is, (frame, height, width), from frames, (frame, 3, height, width)."""
    right, below = frames.diff(dim=-1).abs().sum(1), frames.diff(dim=-2).abs().sum(1)
    return F.pad(right, (0, 1)) + F.pad(below, (0, 0, 0, 1))


def to_reference(frames: Tensor, flow: Tensor, region: Tensor, reference: int) -> Tensor:
    """Estimate, for every frame, the similarity that brings a layer's pixels to a reference frame.

    Flow from frame to frame is fitted by RANSAC (Fischler and Bolles, 1981), and the fits are chained. Flat areas have
    no flow worth the name, so only the more textured half of a region counts. Flow loses small things that move fast;
    where the way of the region's middle explains the next frame better, that is taken.

    Args:
        frames: (frame, 3, height, width).
        flow: (frame - 1, height, width, 2), pixels to the right and down from a frame to the next one.
        region: (frame, height, width), bool: where the layer is.
        reference: index of the frame.

    Returns:
        (frame, 2, 3), float64: pixel (x, y, 1) of a frame to the reference's (x, y).
    """
    texture, steps = texture_of(frames), []
    for t, way in enumerate(flow):
        fits = [_similarity(way.numpy(), region[t].numpy(), texture[t].numpy()), _shift(region[t], region[t + 1])]
        errors = [_misfit(frames[t], frames[t + 1], region[t], fit) for fit in fits]
        steps.append(fits[errors.index(min(errors))])
    found = [np.eye(3)] * len(frames)
    for t in range(reference - 1, -1, -1):
        found[t] = found[t + 1] @ steps[t]
    for t in range(reference + 1, len(found)):
        found[t] = found[t - 1] @ np.linalg.inv(steps[t - 1])
    return torch.from_numpy(np.stack(found)[:, :2])


def _shift(now: Tensor, then: Tensor) -> np.ndarray:
    """Return how a region's middle moves, (3, 3)."""
    found = np.eye(3)
    if bool(now.any()) and bool(then.any()):
        middles = [region.nonzero().double().mean(0) for region in (now, then)]
        found[:2, 2] = (middles[1] - middles[0]).flip(0).numpy()
    return found


def _misfit(now: Tensor, then: Tensor, region: Tensor, fit: np.ndarray) -> float:
    """Return how unlike a region is to what a motion says it becomes."""
    shift = _field(fit, region.shape[0], region.shape[1]).float()
    back, inside = warp(then[None], shift[None])
    error = (back[0] - now).abs().mean(0)[region & inside[0]]
    return float(error.mean()) if len(error) else float("inf")


def _field(fit: np.ndarray, height: int, width: int) -> Tensor:
    """Return a similarity as flow, (height, width, 2)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1).double()
    return places @ torch.from_numpy(fit[:2]).T - places[..., :2]


def _similarity(flow: np.ndarray, region: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Fit one step's motion, (3, 3); none where there is too little to see."""
    import cv2

    y, x = np.nonzero(region)
    if len(x) < _LEAST_POINTS:
        return np.eye(3)
    rank = np.argsort(-texture[y, x], kind="stable")
    rank = rank[: max(_LEAST_POINTS, len(rank) // 2)]
    rank = rank[:: -(-len(rank) // _POINTS)]
    y, x = y[rank], x[rank]
    points: Any = np.stack([x, y], axis=-1).astype(np.float32)
    moved: Any = points + flow[y, x]
    cv2.setRNGSeed(0)
    fit, _ = cv2.estimateAffinePartial2D(points, moved, method=cv2.RANSAC, ransacReprojThreshold=_TOLERANCE)
    return np.eye(3) if fit is None else np.vstack([fit, [0.0, 0.0, 1.0]])


def agreeing(forward: Tensor, backward: Tensor) -> Tensor:
    """Find the pixels whose flow leads back to where it came from, so that it can be trusted.

    Args:
        forward: (frame, height, width, 2), pixels to the right and down.
        backward: the same from each next frame to the one before.

    Returns:
        (frame, height, width), bool.
    """
    back, inside = warp(backward.permute(0, 3, 1, 2), forward)
    return inside & ((back.permute(0, 2, 3, 1) + forward).norm(dim=-1) < _TOLERANCE)


def moving_mask(frames: Tensor, flow: Tensor) -> Tensor:
    """Guess where the foreground is, without a mask: what does not move as most of the picture does.

    Args:
        frames: (frame, 3, height, width).
        flow: (frame - 1, height, width, 2).

    Returns:
        (frame, height, width), bool.
    """
    height, width = frames.shape[-2:]
    whole, texture, masks = np.ones((height, width), bool), texture_of(frames), []
    for t, way in enumerate(flow):
        fit = _similarity(way.numpy(), whole, texture[t].numpy())
        masks.append((_field(fit, height, width) - way).norm(dim=-1) > _TOLERANCE)
    # Nobody knows where the last frame's pixels go; its neighbour's mask is close.
    masks.append(masks[-1] if masks else torch.zeros(height, width, dtype=torch.bool))
    return torch.stack(masks)
