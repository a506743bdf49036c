"""The interface of a reader: the facts of a source, its frames, and the errors of damaged sources."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import VideoError

__all__ = ["DamagedError", "Facts", "Picture", "Reader", "changes_size", "damaged", "regular_file"]

Picture = Callable[[], np.ndarray]
"""Function that returns the picture of a frame, upright uint8 (height, width, channel) RGB.

It must be called before the next frame is requested. Frames that are skipped are never converted.
"""


@dataclass
class Facts:
    """Facts about a source that a reader knows at the start or learns while it reads.

    The fields mean the same as in `SourceInfo`.
    """

    container: str
    codec: str
    fps: Fraction
    size: tuple[int, int]
    rotation: int = 0
    mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)
    audio: bool = False
    total_frames: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def upright(self) -> tuple[int, int]:
        """(height, width) of the pictures that the reader returns, upright and with square pixels."""
        height, width = self.size[0], max(1, round(self.size[1] * self.pixel_aspect))
        return (width, height) if self.rotation % 180 else (height, width)

    def turn(self, rotation: int, mirrored: bool) -> None:
        """Store how pictures are brought upright: rotated clockwise by ``rotation`` degrees, then mirrored left to
        right.
        """
        self.rotation, self.mirrored = rotation, mirrored
        done = [f"turned {rotation} degrees clockwise"] * bool(rotation) + ["mirrored left to right"] * mirrored
        if done:
            self.note(f"{' and '.join(done)} to stand upright, as the file says")

    def note(self, text: str) -> None:
        """Add a remark, unless it has been added before."""
        if text not in self.notes:
            self.notes.append(text)


class DamagedError(VideoError):
    """A source is damaged after its first ``readable`` frames."""

    def __init__(self, message: str, readable: int) -> None:
        super().__init__(message)
        self.readable = readable


def damaged(path: Path, reason: str, readable: int, stated: int | None = None) -> VideoError:
    """Return the error for a source that ends early or is damaged.

    Args:
        path: File or folder.
        reason: What is wrong with it.
        readable: Number of frames that could be read before that.
        stated: Number of frames that the source states, or None.
    """
    of = f" of {stated}" if stated else ""
    use = f"Pass num_frames={readable} (or end) to use those, or get" if readable else "Get"
    return DamagedError(
        f"{path} is truncated or damaged ({reason}): {readable}{of} frames could be read. {use} the whole file",
        readable,
    )


def changes_size(path: Path, index: int, before: tuple[int, int], after: tuple[int, int]) -> VideoError:
    """Return the error for a source whose frames change their size. The frames before the change can be used.

    Args:
        path: File or folder.
        index: Number of the first frame with another size.
        before: (height, width) of the frames before it, in pixels.
        after: (height, width) of that frame, in pixels.
    """
    return DamagedError(
        f"{path} changes its size at frame {index} from {before[1]}x{before[0]} to {after[1]}x{after[0]}: "
        f"pass end={index} to stop before it, or re-encode it at one size",
        index,
    )


class Reader(Protocol):
    """A source of frames in display order."""

    facts: Facts

    def frames(self) -> Iterator[tuple[Fraction, Picture]]:
        """Yield (time on the source's clock in seconds, function that returns the picture) of each frame."""

    def end_time(self, times: list[Fraction]) -> Fraction:
        """Return when the last frame of the source ends, in seconds.

        Args:
            times: Times of all frames of the source.
        """

    def exact_times(self, times: list[Fraction]) -> list[Fraction]:
        """Return the times without the rounding of a coarse clock, if the frame rate is known to be constant."""

    def count(self) -> int:
        """Count the frames of the whole source without decoding them, if possible."""

    def close(self) -> None:
        """Close the source."""


_NOT_REGULAR = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def regular_file(path: Path, purpose: str) -> None:
    """Check that a path is a regular file. Reading a pipe would block, and a device may never end.

    Args:
        path: Path of the file. Links are followed.
        purpose: What the file is used as, for the error message, such as ``a clip``.

    Raises:
        VideoError: If the path is not a regular file, does not exist, or cannot be accessed.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise VideoError(f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    kind = next((name for test, name in _NOT_REGULAR if test(mode)), None)
    if kind is not None:
        raise VideoError(f"{path} is {kind}, which cannot be {purpose}: give a file")
