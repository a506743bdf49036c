"""The geometry of an atlas layer: a picture, and the position in it of every pixel of every frame."""

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
    """The part of a layer's plane that its picture covers. The unit of the plane is a pixel of the reference frame.

    Attributes:
        left: x of the picture's left edge, in pixels. The centre of the reference frame's first pixel is at 0.
        top: y of the picture's upper edge, in pixels.
        height: Height in pixels of the reference frame.
        width: Width in pixels of the reference frame.
    """

    left: float
    top: float
    height: float
    width: float

    def normalise(self, places: Tensor) -> Tensor:
        """Return positions (x, y) of the plane, (..., 2), as positions in the picture, whose edges are at -1 and 1."""
        corner = places.new_tensor([self.left, self.top])
        extent = places.new_tensor([self.width, self.height])
        return 2 * (places - corner) / extent - 1

    def pixels(self, resolution: float) -> tuple[int, int]:
        """Return the picture's (height, width) in pixels for a number of picture pixels for each pixel of the clip."""
        return max(2, round(self.height * resolution)), max(2, round(self.width * resolution))


def canvas_of(places: Tensor, seen: Tensor) -> Canvas:
    """Return the smallest canvas that contains what a layer shows, with a margin.

    Args:
        places: (frame, height, width, 2), positions (x, y) of the pixels in the layer's plane.
        seen: (frame, height, width), bool, pixels that count. If there are none, all pixels count.
    """
    inside = places[seen] if bool(seen.any()) else places.flatten(0, -2)
    # inside: (pixel, 2), over all frames.
    (left, top), (right, bottom) = inside.amin(0).tolist(), inside.amax(0).tolist()
    left, top = int(left - _MARGIN) - 0.5, int(top - _MARGIN) - 0.5
    return Canvas(left, top, float(int(bottom - top + 1 + _MARGIN)), float(int(right - left + 1 + _MARGIN)))


def control_points(moves: Tensor, size: tuple[int, int], spacing: int) -> Tensor:
    """Return the control points of a mapping that begins as an affine map of each frame.

    Args:
        moves: (frame, 2, 3), maps pixel (x, y, 1) to its position (x, y) in the layer's plane.
        size: (height, width) of the frames.
        spacing: Approximate distance between the points, in pixels. The outermost points are on the outermost pixels.

    Returns:
        (frame, 2, rows, columns), float32, positions (x, y) of the control points.
    """
    rows, columns = (max(2, -(-(side - 1) // spacing) + 1) for side in size)
    y, x = torch.meshgrid(torch.linspace(0, size[0] - 1, rows), torch.linspace(0, size[1] - 1, columns), indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)])  # (3, rows, columns)
    # f: frame, i: x or y of the plane, j: x, y or 1 of the frame, r: row, c: column.
    return torch.einsum("fij,jrc->firc", moves.float(), grid)


def spread(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the positions of all pixels, interpolated between the control points.

    Args:
        points: (frame, 2, rows, columns), positions (x, y) in the layer's plane.
        size: (height, width) of the frames.

    Returns:
        (frame, height, width, 2), positions (x, y) of the pixels in the layer's plane. Interpolation is bilinear and
        exact for affine maps, up to the border.
    """
    return F.interpolate(points, size, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)


def look_up(picture: Tensor, places: Tensor, canvas: Canvas) -> Tensor:
    """Return the colours of an atlas picture at given positions.

    Args:
        picture: (channel, height', width'), covering the canvas at any resolution.
        places: (frame, height, width, 2), positions (x, y) in the layer's plane. Beyond the picture its border is
            repeated.
        canvas: Canvas of the layer.

    Returns:
        (frame, channel, height, width).
    """
    count, height, width, _ = places.shape
    # (frame, height, width, 2) -> (1, frame * height, width, 2): all frames sample the same picture, so they are
    # stacked vertically into one call.
    grid = canvas.normalise(places).reshape(1, count * height, width, 2)
    sampled = F.grid_sample(picture[None], grid, align_corners=False, padding_mode="border")
    # (1, channel, frame * height, width) -> (frame, channel, height, width)
    return sampled[0].unflatten(1, (count, height)).transpose(0, 1)


def splat(values: Tensor, places: Tensor, canvas: Canvas, size: tuple[int, int]) -> Tensor:
    """Add values of pixels to a picture at given positions; the adjoint of `look_up`.

    Args:
        values: (frame, channel, height, width), values to add.
        places: (frame, height, width, 2), positions (x, y) in the layer's plane.
        canvas: Canvas of the layer.
        size: (height', width') of the picture.

    Returns:
        (channel, height', width'), sum of the values at each pixel.
    """
    # `look_up` is linear in the picture, so its gradient for outputs ``values`` is the adjoint applied to them.
    blank = torch.zeros(values.shape[1], *size, requires_grad=True)  # (channel, height', width')
    with torch.enable_grad():
        (sums,) = torch.autograd.grad(look_up(blank, places.detach(), canvas), blank, values)
    return sums


def push_pull(total: Tensor, weight: Tensor) -> list[Tensor]:
    """Return splatted colours as a pyramid of pictures without holes (Gortler et al., The Lumigraph, 1996).

    Args:
        total: (channel, height, width), sums of weight times colour.
        weight: (1, height, width), sums of weights, 0 where no colour is known.

    Returns:
        (channel, height, width) each, from fine to coarse. Each level is the difference from the enlarged sum of the
        coarser ones; `over` adds them up.
    """
    # The coarsest level has a colour everywhere: pixels without one get the mean of all.
    if min(total.shape[1:]) < 2 * _SHRINK:
        mean = total.sum((1, 2)) / weight.sum().clamp_min(1e-6)
        return [torch.where(weight > 1e-3, total / weight.clamp_min(1e-3), mean[:, None, None])]
    size = (-(-total.shape[1] // _SHRINK), -(-total.shape[2] // _SHRINK))
    below = push_pull(F.adaptive_avg_pool2d(total, size), F.adaptive_avg_pool2d(weight, size))
    filled = F.interpolate(over(below)[None], total.shape[1:], mode="bilinear")[0]  # (channel, height, width)
    # (1, height, width): where the weight is small, the coarser levels decide the colour.
    confidence = weight.clamp(max=1)
    return [confidence * (total / weight.clamp_min(1e-3) - filled), *below]


def over(pyramid: list[Tensor]) -> Tensor:
    """Return the sum of a pyramid, each level enlarged to the size of the finest.

    Args:
        pyramid: (channel, height, width) each, from fine to coarse.

    Returns:
        (channel, height, width), at the size of the finest level.
    """
    picture = pyramid[-1]
    for finer in reversed(pyramid[:-1]):
        picture = finer + F.interpolate(picture[None], finer.shape[1:], mode="bilinear")[0]
    return picture
