"""What a good atlas is: the losses of Layered Neural Atlases (Kasten et al., 2021, arXiv 2109.11418), over whole
frames.

The numbers of the equations are those that the authors' code gives.
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
    """Reconstruction: mean squared difference of frames, (frame, 3, height, width) in [-1, 1]."""
    return (made - frames).square().mean()


def gradient_loss(made: Tensor, frames: Tensor) -> Tensor:
    """Mean squared difference of the frames' differences between neighbouring pixels (equation 7)."""
    error = made - frames
    return error.diff(dim=-1).square().mean() + error.diff(dim=-2).square().mean()


def rigidity_loss(points: Tensor, size: tuple[int, int]) -> Tensor:
    """How far a mapping is from a rotation: ``|J^T J|_F + |(J^T J)^-1|_F`` (equation 9), at the control points.

    Args:
        points: (frame, 2, rows, columns), places in the layer's plane.
        size: (height, width) of the frames.

    Returns:
        The mean less its least value, so that a rigid motion has none.
    """
    rows, columns = points.shape[-2:]
    d_y = points.diff(dim=2)[..., :-1] * ((rows - 1) / (size[0] - 1))
    d_x = points.diff(dim=3)[:, :, :-1] * ((columns - 1) / (size[1] - 1))
    a = d_x.square().sum(1) + _EPSILON
    d = d_y.square().sum(1) + _EPSILON
    b = (d_x * d_y).sum(1)
    norm = (a * a + d * d + 2 * b * b).sqrt()
    # Of a 2x2 matrix the inverse's norm is the norm over the determinant.
    return (norm + norm / (a * d - b * b).clamp_min(_EPSILON**2)).mean() - 2 * 2**0.5


def flow_loss(places: Tensor, opacity: Tensor, flow: Tensor, trusted: Tensor) -> Tensor:
    """Distance in a layer's plane of points that the optical flow calls one (equation 11).

    Args:
        places: (frame, height, width, 2), in pixels.
        opacity: (frame, height, width), how much of the layer is seen; not learnt from this.
        flow: (frame - 1, height, width, 2), from each frame to the next one.
        trusted: (frame - 1, height, width), bool.

    Returns:
        Mean over all pixels of the weighted distance.
    """
    if len(places) < 2:
        return places.new_zeros(())
    there, _ = warp(places[1:].permute(0, 3, 1, 2), flow)
    apart = (there.permute(0, 2, 3, 1) - places[:-1]).square().sum(-1).add(1e-6).sqrt()
    return (apart * opacity[:-1].detach() * trusted).mean()


def alpha_flow_loss(alpha: Tensor, flow: Tensor, trusted: Tensor) -> Tensor:
    """Difference of the opacities of points that the optical flow calls one (equation 12); shapes as in `flow_loss`."""
    if len(alpha) < 2:
        return alpha.new_zeros(())
    there, _ = warp(alpha[1:, None], flow)
    return ((there[:, 0] - alpha[:-1]).abs() * trusted).mean()


def sparsity_loss(foreground: Tensor, alpha: Tensor) -> Tensor:
    """What the foreground would show where it is not seen, which shall be nothing: black.

    Args:
        foreground: (frame, 3, height, width), its colours in [-1, 1].
        alpha: (frame, height, width).
    """
    return (((foreground + 1) / 2 * (1 - alpha[:, None])).square()).mean()


def bootstrap_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy between opacities, given as logits, and masks, (frame, height, width) in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logits, masks.to(torch.float32))
