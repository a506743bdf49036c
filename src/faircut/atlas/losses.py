"""The losses of Layered Neural Atlases (Kasten et al., 2021, arXiv 2109.11418), computed over whole frames.

The numbers of the equations are those in the authors' code.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from faircut.metrics import warp

__all__ = [
    "alpha_flow_loss",
    "bootstrap_loss",
    "colour_loss",
    "flow_loss",
    "gradient_loss",
    "rigidity_loss",
    "sparsity_loss",
]

_EPSILON = 1e-3


def colour_loss(made: Tensor, frames: Tensor) -> Tensor:
    """Return the mean squared difference of reconstructed and given frames, (frame, 3, height, width) in [-1, 1]."""
    return (made - frames).square().mean()


def gradient_loss(made: Tensor, frames: Tensor) -> Tensor:
    """Return the mean squared error of the differences between neighbouring pixels (equation 7)."""
    error = made - frames
    return error.diff(dim=-1).square().mean() + error.diff(dim=-2).square().mean()


def rigidity_loss(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Return how non-rigid a mapping is: ``|J^T J|_F + |(J^T J)^-1|_F`` (equation 9), at control points.

    Args:
        points: (frame, 2, rows, columns), positions (x, y) in the layer's plane.
        size: (height, width) of the frames.

    Returns:
        (), the mean minus its lowest possible value, so that a rigid motion has the loss 0.
    """
    rows, columns = points.shape[-2:]
    # Columns of J, (frame, 2, rows - 1, columns - 1): change of position for one pixel down, and for one to the right.
    d_y = points.diff(dim=2)[..., :-1] * ((rows - 1) / (size[0] - 1))
    d_x = points.diff(dim=3)[:, :, :-1] * ((columns - 1) / (size[1] - 1))
    # Entries of J^T J, (frame, rows - 1, columns - 1) each: [[a, b], [b, d]].
    a = d_x.square().sum(1) + _EPSILON
    d = d_y.square().sum(1) + _EPSILON
    b = (d_x * d_y).sum(1)
    norm = (a * a + d * d + 2 * b * b).sqrt()
    # For a 2x2 matrix, the norm of the inverse is the norm divided by the determinant.
    return (norm + norm / (a * d - b * b).clamp_min(_EPSILON**2)).mean() - 2 * 2**0.5


def flow_loss(places: Tensor, opacity: Tensor, flow: Tensor, trusted: Tensor) -> Tensor:
    """Return the distance in a layer's plane between points that the optical flow matches (equation 11).

    Args:
        places: (frame, height, width, 2), positions (x, y) of the pixels, in pixels.
        opacity: (frame, height, width), opacity of the layer. It gets no gradient from this loss.
        flow: (frame - 1, height, width, 2), from each frame to the next one.
        trusted: (frame - 1, height, width), bool, whether the flow is reliable.

    Returns:
        (), mean over all pixels of the weighted distance.
    """
    if len(places) < 2:
        return places.new_zeros(())
    # Positions of the next frame's matching pixels: (frame - 1, 2, height, width) for warp, then as ``places``.
    matched, _ = warp(places[1:].permute(0, 3, 1, 2), flow)
    distance = (matched.permute(0, 2, 3, 1) - places[:-1]).square().sum(-1).add(1e-6).sqrt()
    return (distance * opacity[:-1].detach() * trusted).mean()


def alpha_flow_loss(alpha: Tensor, flow: Tensor, trusted: Tensor) -> Tensor:
    """Return the difference in opacity of points that the flow matches (equation 12). Shapes are as in `flow_loss`."""
    if len(alpha) < 2:
        return alpha.new_zeros(())
    matched, _ = warp(alpha[1:, None], flow)  # (frame - 1, 1, height, width)
    return ((matched[:, 0] - alpha[:-1]).abs() * trusted).mean()


def sparsity_loss(foreground: Tensor, alpha: Tensor) -> Tensor:
    """Return how far the foreground's colours are from black where the foreground is not visible.

    Args:
        foreground: (frame, 3, height, width), colours of the foreground in [-1, 1].
        alpha: (frame, height, width), opacity of the foreground.
    """
    return (((foreground + 1) / 2 * (1 - alpha[:, None])).square()).mean()


def bootstrap_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the cross-entropy between opacities, given as logits, and masks, (frame, height, width) in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logits, masks.to(torch.float32))
