"""A layer of an atlas: a picture, and where in it every pixel of every frame looks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Canvas", "canvas_of", "control_points", "look_up", "over", "push_pull", "splat", "spread"]

_SHRINK = 4
_MARGIN = 2.0


@dataclass(frozen=True)
class Canvas:
    """The part of a layer's plane that its picture covers; the plane's unit is a pixel of the reference frame.

    Attributes:
        left: x of the picture's left edge, in pixels; the centre of the reference frame's first pixel is 0.
        top: y of its upper edge.
        height: in pixels of the reference frame.
        width: likewise.
    """

    left: float
    top: float
    height: float
    width: float

    def normalise(self, places: Tensor) -> Tensor:
        """Turn places, (..., 2), of the plane into those of the picture: (x, y), -1 and 1 are its edges."""
        corner = places.new_tensor([self.left, self.top])
        extent = places.new_tensor([self.width, self.height])
        return 2 * (places - corner) / extent - 1

    def pixels(self, resolution: float) -> tuple[int, int]:
        """Return (height, width) of the picture at so many of its pixels for one of the clip's."""
        return max(2, round(self.height * resolution)), max(2, round(self.width * resolution))


def canvas_of(places: Tensor, seen: Tensor) -> Canvas:
    """Return the canvas that holds what a layer shows, with a margin.

    Args:
        places: (frame, height, width, 2), where the pixels look.
        seen: (frame, height, width), bool: which of them count; all if none does.
    """
    inside = places[seen] if bool(seen.any()) else places.flatten(0, -2)
    (left, top), (right, bottom) = inside.amin(0).tolist(), inside.amax(0).tolist()
    left, top = int(left - _MARGIN) - 0.5, int(top - _MARGIN) - 0.5
    return Canvas(left, top, float(int(bottom - top + 1 + _MARGIN)), float(int(right - left + 1 + _MARGIN)))


def control_points(moves: Tensor, size: tuple[int, int], spacing: int) -> Tensor:
    """Lay out the control points of a mapping, which begins as an affine map of each frame.

    Args:
        moves: (frame, 2, 3), pixel (x, y, 1) to its place (x, y).
        size: (height, width) of the frames.
        spacing: pixels between the points, about; the outermost lie on the outermost pixels.

    Returns:
        (frame, 2, rows, columns), float32: the places.
    """
    rows, columns = (max(2, -(-(side - 1) // spacing) + 1) for side in size)
    y, x = torch.meshgrid(torch.linspace(0, size[0] - 1, rows), torch.linspace(0, size[1] - 1, columns), indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)])
    return torch.einsum("fij,jrc->firc", moves.float(), grid)


def spread(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate control points between each other.

    Args:
        points: (frame, 2, rows, columns), places in the layer's plane.
        size: (height, width) of the frames.

    Returns:
        (frame, height, width, 2), where each pixel looks. Bilinear: an affine map stays one, up to the border.
    """
    return F.interpolate(points, size, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)


def look_up(picture: Tensor, places: Tensor, canvas: Canvas) -> Tensor:
    """Look colours up in an atlas picture.

    Args:
        picture: (channel, height', width'), of any size: it covers the canvas.
        places: (frame, height, width, 2), in the layer's plane; beyond the picture its border goes on.
        canvas: of the layer.

    Returns:
        (frame, channel, height, width).
    """
    count, height, width, _ = places.shape
    # The frames below each other are one look-up in one picture.
    grid = canvas.normalise(places).reshape(1, count * height, width, 2)
    seen = F.grid_sample(picture[None], grid, align_corners=False, padding_mode="border")
    return seen[0].unflatten(1, (count, height)).transpose(0, 1)


def splat(values: Tensor, places: Tensor, canvas: Canvas, size: tuple[int, int]) -> Tensor:
    """Put values of pixels where they look, the adjoint of `look_up`.

    Args:
        values: (frame, channel, height, width).
        places: (frame, height, width, 2).
        canvas: of the layer.
        size: (height', width') of the picture.

    Returns:
        (channel, height', width'): the sums of what fell on each pixel.
    """
    blank = torch.zeros(values.shape[1], *size, requires_grad=True)
    with torch.enable_grad():
        (sums,) = torch.autograd.grad(look_up(blank, places.detach(), canvas), blank, values)
    return sums


def push_pull(total: Tensor, weight: Tensor) -> list[Tensor]:
    """Turn splatted colours into a pyramid without holes (Gortler et al., The Lumigraph, 1996).

    Args:
        total: (channel, height, width), sums of weight times colour.
        weight: (1, height, width), sums of weights, 0 where nothing is known.

    Returns:
        Pictures from fine to coarse, each finer one the difference from the coarser ones enlarged; `over` adds them up.
    """
    if min(total.shape[1:]) < 2 * _SHRINK:
        mean = total.sum((1, 2)) / weight.sum().clamp_min(1e-6)
        return [torch.where(weight > 1e-3, total / weight.clamp_min(1e-3), mean[:, None, None])]
    size = (-(-total.shape[1] // _SHRINK), -(-total.shape[2] // _SHRINK))
    below = push_pull(F.adaptive_avg_pool2d(total, size), F.adaptive_avg_pool2d(weight, size))
    filled = F.interpolate(over(below)[None], total.shape[1:], mode="bilinear")[0]
    sure = weight.clamp(max=1)
    return [sure * (total / weight.clamp_min(1e-3) - filled), *below]


def over(pyramid: list[Tensor]) -> Tensor:
    """Add a pyramid up.

    Args:
        pyramid: (channel, height, width) each, from fine to coarse.

    Returns:
        The finest one's size.
    """
    picture = pyramid[-1]
    for finer in reversed(pyramid[:-1]):
        picture = finer + F.interpolate(picture[None], finer.shape[1:], mode="bilinear")[0]
    return picture
