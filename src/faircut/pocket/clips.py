"""Clips of the drawn world: a scene over time, with masks and optical flow from the drawing's geometry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import ConfigError
from .captions import Caption, caption, neutral_caption
from .draw_pen import WORLD, Pen
from .draw_styles import apply_style
from .world import IMAGE_SIZE, Scene, draw


@dataclass(frozen=True)
class Clip:
    """A drawn clip with its ground truth.

    Attributes:
        frames: (frames, size, size, 3) uint8 RGB.
        masks: (frames, subjects, size, size) bool, where each subject is visible.
        flow: (frames - 1, size, size, 2) float32, pixels to the right and down from a frame to the next one.
        scene: Drawn scene.
        caption: The canonical caption.
        neutral_caption: The canonical caption without gender and hair.
        fps: Frames per second.
    """

    frames: np.ndarray
    masks: np.ndarray
    flow: np.ndarray
    scene: Scene
    caption: Caption
    neutral_caption: Caption
    fps: float


def _flow(now: Pen, then: Pen) -> np.ndarray:
    """Return the forward flow between two drawings of one scene: (size, size, 2) float32 in pixels."""
    size = now.size
    zoom = size / WORLD
    centres = (np.arange(size) + 0.5) / zoom
    x, y = np.meshgrid(centres, centres)
    # Each part is rigid: invert its affine in the first drawing, then apply its affine in the second.
    moves = np.stack([b @ np.linalg.inv(a) for a, b in zip(now.affines, then.affines, strict=True)])
    move = moves[now.part_map()]
    u = move[..., 0, 0] * x + move[..., 0, 1] * y + move[..., 0, 2] - x
    v = move[..., 1, 0] * x + move[..., 1, 1] * y + move[..., 1, 2] - y
    return (np.stack([u, v], axis=-1) * zoom).astype(np.float32)


def render_clip(scene: Scene, frames: int = 8, *, size: int = IMAGE_SIZE, fps: float = 8) -> Clip:
    """Draw a scene over time, with the scene's time 0 in the middle of the clip.

    Args:
        scene: Scene to draw.
        frames: Number of frames, at least 1.
        size: Height and width in pixels.
        fps: Frames per second.

    Returns:
        The clip.
    """
    if frames < 1:
        raise ConfigError(f"frames is {frames}; give at least 1")
    if fps <= 0:
        raise ConfigError(f"fps is {fps}; give a number above 0")
    times = (np.arange(frames) - (frames - 1) / 2) / fps
    pens = [draw(scene, size=size, time=float(time)) for time in times]
    flow = [_flow(now, then) for now, then in pairwise(pens)]
    return Clip(
        frames=np.stack([apply_style(pen.picture(), scene.style, scene.seed) for pen in pens]),
        masks=np.stack([pen.masks(len(scene.subjects)) for pen in pens]),
        flow=np.stack(flow) if flow else np.zeros((0, size, size, 2), np.float32),
        scene=scene,
        caption=caption(scene),
        neutral_caption=neutral_caption(scene),
        fps=fps,
    )
