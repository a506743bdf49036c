"""Limits on the size of a clip, checked before a frame is decoded or memory is allocated."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import psutil

from ..errors import VideoError
from .clip import MIN_SIZE, too_small

__all__ = ["MAX_SIZE", "MemoryBudget", "scaled_size"]

MAX_SIZE = 8192
"""Largest height and width of a frame after scaling, in pixels: somewhat more than 8K video."""

_DECODING = 64  # Bytes per pixel of a source frame: the decoder's pictures, RGB, float32, and buffers for scaling.
_STORED = 24  # Bytes per pixel of a selected frame: three float32 channels, twice while the frames are stacked.


def scaled_size(height: int, width: int, size: int | tuple[int, int] | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size to which a frame is scaled and the size to which it is then cropped.

    Args:
        height: Height of the upright frame in pixels.
        width: Width of the upright frame in pixels.
        size: (height, width) to cover and crop, or one number for the shorter side. None for no scaling.

    Returns:
        (height, width) after scaling, and (height, width) after cropping.

    Raises:
        VideoError: If the frame would be too small or too large for a clip.
    """
    if size is None:
        if min(height, width) < MIN_SIZE:
            raise VideoError(too_small(height, width))
        if max(height, width) > MAX_SIZE:
            raise VideoError(
                f"frames of {width}x{height} pixels are too large: at most {MAX_SIZE}x{MAX_SIZE} can be used; "
                "scale them with size="
            )
        return (height, width), (height, width)
    height, width = max(1, height), max(1, width)
    if isinstance(size, int):
        scale = Fraction(size, min(height, width))
        scaled = target = (round(height * scale), round(width * scale))
    else:
        target = (int(size[0]), int(size[1]))
        scale = max(Fraction(target[0], height), Fraction(target[1], width))
        scaled = (max(target[0], round(height * scale)), max(target[1], round(width * scale)))
    if max(scaled) > MAX_SIZE:
        raise VideoError(
            f"frames of {width}x{height} pixels scaled to size={size} become {scaled[1]}x{scaled[0]}: at most "
            f"{MAX_SIZE}x{MAX_SIZE} are possible; give a smaller size=, or crop the source to a less narrow shape first"
        )
    return scaled, target


class MemoryBudget:
    """The memory budget of a clip: half of the memory that is free when reading begins.

    Args:
        path: File or folder that is read, for error messages.
        size: Requested size, as for `scaled_size`.
    """

    def __init__(self, path: Path, size: int | tuple[int, int] | None) -> None:
        self._path, self._asked = path, size
        self._budget = psutil.virtual_memory().available // 2

    @property
    def pixels(self) -> int:
        """Maximum number of pixels in a frame of the source."""
        return max(1, self._budget // _DECODING)

    def frames(self, size: tuple[int, int]) -> int:
        """Return how many frames fit into the memory budget.

        Args:
            size: Upright (height, width) of the source's frames in pixels.

        Raises:
            VideoError: If not even one frame fits, or the frames are too small or too large.
        """
        try:
            _, target = scaled_size(*size, self._asked)
        except VideoError as error:
            raise VideoError(f"{self._path}: {error}") from None
        left = self._budget - size[0] * size[1] * _DECODING
        fitting = left // (target[0] * target[1] * _STORED)
        if fitting < 1:
            needed = size[0] * size[1] * _DECODING + target[0] * target[1] * _STORED
            # Scaling while reading helps only if decoding alone fits into the budget.
            hint = "scale it down with size=" if left > MIN_SIZE * MIN_SIZE * _STORED else "scale the file down first"
            raise VideoError(
                f"{self._path}: reading one frame of {size[1]}x{size[0]} takes {_gigabytes(needed)} and "
                f"{_gigabytes(self._budget)} (half of the free memory) may be used: {hint}, or free memory"
            )
        return fitting

    def too_many(self, size: tuple[int, int], wanted: int | None) -> VideoError:
        """Return the error for a clip that does not fit into memory, with a number of frames and a size that would fit.

        Args:
            size: Upright (height, width) of the source's frames in pixels.
            wanted: Number of requested frames, or None if the source does not say how many it has.
        """
        _, (height, width) = scaled_size(*size, self._asked)
        fitting = self.frames(size)
        smaller = ""
        if wanted is not None:
            share = (self._budget - size[0] * size[1] * _DECODING) / (wanted * height * width * _STORED)
            side = int(min(height, width) * share**0.5)
            smaller = f", or size={side} for all of them" if side >= MIN_SIZE else ""
        count = f"{wanted} frames" if wanted is not None else f"more than {fitting} frames"
        need = "" if wanted is None else f" take {_gigabytes(wanted * height * width * _STORED)} and"
        return VideoError(
            f"{self._path}: {count} of {width}x{height}{need} do not fit into {_gigabytes(self._budget)} (half of the "
            f"free memory): pass num_frames={fitting} at most{smaller}"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
