"""Draw a picture in a style, such as a painting, a sketch or a night scene. Styles are strong on purpose.

The noise of a style depends only on the scene's seed and the position in the picture, so it is constant over a clip.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np


def _noise(size: int, seed: int, cells: int) -> np.ndarray:
    """Return smooth noise with about `cells` blobs per side: (size, size) float32 in [-1, 1]."""
    grid = np.random.default_rng([seed, 2, cells]).uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.clip(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), -1, 1)


def _edges(image: np.ndarray) -> np.ndarray:
    """Return the strength of the outlines: (H, W) float32 in [0, 1]."""
    gradient = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)).max(axis=2)
    return np.clip(gradient.astype(np.float32) / 110 - 0.12, 0, 1)


def _finish(image: np.ndarray) -> np.ndarray:
    """Convert a float picture to uint8."""
    return np.clip(image, 0, 255).astype(np.uint8)


def _watercolour(image: np.ndarray, seed: int) -> np.ndarray:
    size = image.shape[0]
    # Wobbly outlines, washed-out pigment that pools in blots, paper showing through and a white, ragged border.
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    wobble = size / 128 * 3.0
    dx, dy = _noise(size, seed, 17) * wobble, _noise(size, seed, 18) * wobble
    moved = cv2.remap(image, columns + dx, rows + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    pigment = cv2.medianBlur(moved, 5).astype(np.float32)
    blots = (0.78 + 0.28 * _noise(size, seed, 12))[..., None]
    pigment = 255 - (255 - pigment) * np.clip(blots, 0.5, 1.0)
    middle = np.abs(np.mgrid[:size, :size].astype(np.float32) * (2 / (size - 1)) - 1).max(axis=0)
    paper = np.clip((middle + 0.1 * _noise(size, seed, 14) - 0.86) * 14, 0, 1)[..., None]
    return _finish(pigment * (1 - paper) + 255 * paper)


def _pencil(image: np.ndarray, seed: int) -> np.ndarray:
    size = image.shape[0]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    rows, columns = np.mgrid[:size, :size] * (128 / size)
    hatch = 0.5 + 0.5 * np.sin((rows + columns) * (2 * np.pi / 5.0) + 1.5 * _noise(size, seed, 16))
    tone = 255 - (255 - grey) * 0.75 * hatch
    lines = 1 - 0.85 * _edges(image)
    sketch = (tone * lines)[..., None]
    # A little colour remains, as with a coloured pencil, so that "red" is still true in a sketch.
    chroma = image.astype(np.float32) - grey[..., None]
    return _finish(sketch + 0.35 * chroma)


def _pixels(image: np.ndarray, seed: int) -> np.ndarray:
    size = image.shape[0]
    cells = max(size // 4, 1)
    small = cv2.resize(image, (cells, cells), interpolation=cv2.INTER_AREA).astype(np.float32)
    flat = np.round((small - 128) * 1.2 / 32) * 32 + 128
    big = cv2.resize(_finish(flat), (size, size), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    step = size // cells
    # The dark grid between the cells distinguishes pixel art from a blurred picture.
    big[step - 1 :: step] *= 0.72
    big[:, step - 1 :: step] *= 0.72
    return _finish(big)


def _night(image: np.ndarray, seed: int) -> np.ndarray:
    size = image.shape[0]
    dark = image.astype(np.float32) * (0.46, 0.46, 0.58) + (0, 4, 46)
    rng = np.random.default_rng([seed, 2])
    for x, y in rng.uniform((0, 0), (size, size * 0.42), (22, 2)):
        cv2.circle(dark, (int(x), int(y)), max(size // 128, 1), (240, 240, 200), -1)
    side = 0.16 if rng.random() < 0.5 else 0.84
    centre, radius = (round(size * side), round(size * 0.14)), round(size * 0.075)
    cv2.circle(dark, centre, radius, (255, 248, 190), -1, cv2.LINE_AA)
    return _finish(dark)


def _sepia(image: np.ndarray, seed: int) -> np.ndarray:
    size = image.shape[0]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None] / 255
    brown = np.array((58, 30, 8)) + grey * np.array((192, 180, 140))
    rows, columns = np.mgrid[:size, :size] * (2 / (size - 1)) - 1
    vignette = 1.08 - 0.42 * (rows**2 + columns**2)[..., None]
    return _finish(brown * np.clip(vignette, 0.25, 1.0))


def _neon(image: np.ndarray, seed: int) -> np.ndarray:
    bright = cv2.dilate(image, np.ones((3, 3), np.uint8)).astype(np.float32)
    peak = bright.max(axis=2, keepdims=True)
    low = bright.min(axis=2, keepdims=True)
    glow = (bright - 0.8 * low) / np.maximum(peak - 0.8 * low, 1) * 255
    lines = _edges(image)
    halo = cv2.GaussianBlur(lines, (0, 0), image.shape[0] / 64)
    strength = np.clip(lines * 1.2 + halo * 0.8, 0, 1)[..., None]
    return _finish(glow * (0.10 + 0.9 * strength) * 0.95 + np.array((14, 4, 24)))


_STYLES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "watercolour painting": _watercolour,
    "pencil sketch": _pencil,
    "pixel art": _pixels,
    "night scene": _night,
    "sepia photo": _sepia,
    "neon drawing": _neon,
}


def apply_style(image: np.ndarray, style: str | None, seed: int) -> np.ndarray:
    """Redraw a picture in a style.

    Args:
        image: (size, size, 3) uint8 RGB.
        style: One of the world's `STYLES`, or None for the plain picture.
        seed: Seed of the style's noise.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    return image if style is None else _STYLES[style](image, seed)
