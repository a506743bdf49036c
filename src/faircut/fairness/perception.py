"""What people see in a clip: a reading per frame, the majority of the readings, and whether it is clear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

from faircut.fairness.attributes import Attribute

__all__ = ["MARGIN", "Perceived", "Reader", "boxes_of", "crop_to_boxes", "majority", "perceive"]

MARGIN = 0.1
"""Minimum lead of the most frequent value over the next one, as a share of the frames, for a clear reading."""


class Reader(Protocol):
    """Reads an attribute from pictures: a trained judge or a CLIP."""

    def __call__(self, frames: torch.Tensor, boxes: torch.Tensor | None, attribute: Attribute) -> list[str | None]:
        """Read an attribute in each frame.

        Args:
            frames: (frame, 3, height, width), RGB in [0, 1].
            boxes: (frame, 4), left, top, right and bottom of the person in pixels. None for the whole picture.
            attribute: Attribute to read.

        Returns:
            Name of the value in each frame, or None where it is unclear.
        """


@dataclass(frozen=True)
class Perceived:
    """What is perceived in a clip.

    Attributes:
        value: Value of the majority of frames, or None if the clip is unclear.
        stability: Share of the frames that show the most frequent value; 0 if no frame shows any.
        margin: Lead of the most frequent value over the next one, as a share of the frames.
        frames: Value that each frame shows, or None where it is unclear.
    """

    value: str | None
    stability: float
    margin: float
    frames: tuple[str | None, ...]


def perceive(readings: Sequence[str | None]) -> Perceived:
    """Return the majority of the readings of a clip's frames.

    An unclear frame counts against every value: the clip is unclear if its most frequent value is not in more than half
    of all frames, or leads by less than `MARGIN`.

    Args:
        readings: Value of each frame, or None where it is unclear.

    Returns:
        The perceived value with its statistics.
    """
    counts = Counter(r for r in readings if r is not None).most_common(2)
    if not counts:
        return Perceived(None, 0.0, 0.0, tuple(readings))
    n = len(readings)
    first, second = counts[0][1], counts[1][1] if len(counts) > 1 else 0
    margin = (first - second) / n
    clear = 2 * first > n and margin >= MARGIN
    return Perceived(counts[0][0] if clear else None, first / n, margin, tuple(readings))


def majority(readings: Sequence[str | None]) -> str | None:
    """Return the reading of more than half of the frames, or None if there is no such majority or the majority is
    unclear.

    Args:
        readings: Value of each frame, at least one, or None where it is unclear.
    """
    name, count = Counter(readings).most_common(1)[0]
    return name if 2 * count > len(readings) else None


def boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """Return the bounding boxes of masks.

    Args:
        masks: (frame, height, width), bool.

    Returns:
        (frame, 4), float32: left, top, right and bottom in pixels. The whole picture for an empty mask.
    """
    height, width = masks.shape[-2:]
    boxes = []
    for mask in masks:
        ys, xs = torch.nonzero(mask, as_tuple=True)
        if len(ys) == 0:
            boxes.append([0, 0, width, height])
        else:
            boxes.append([int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1])
    return torch.tensor(boxes, dtype=torch.float32)


def crop_to_boxes(frames: torch.Tensor, boxes: torch.Tensor, size: int, margin: float = 0.12) -> torch.Tensor:
    """Cut a square around each box.

    Args:
        frames: (frame, 3, height, width).
        boxes: (frame, 4), left, top, right and bottom in pixels.
        size: Height and width of the result in pixels.
        margin: Margin on each side, as a share of the box's longer side.

    Returns:
        (frame, 3, size, size). Outside the picture, its edge is repeated.
    """
    height, width = frames.shape[-2:]
    left, top, right, bottom = boxes.to(frames).unbind(-1)
    side = torch.maximum(right - left, bottom - top).clamp_min(1.0) * (1 + 2 * margin)
    theta = frames.new_zeros(len(boxes), 2, 3)  # (box, x or y, affine coefficient), in coordinates from -1 to 1
    theta[:, 0, 0], theta[:, 1, 1] = side / width, side / height
    theta[:, 0, 2], theta[:, 1, 2] = (left + right) / width - 1, (top + bottom) / height - 1
    grid = F.affine_grid(theta, [len(boxes), 3, size, size], align_corners=False)
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=False)
