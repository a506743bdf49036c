"""What a reader of clips has to offer and to say: its facts, its frames, and what is wrong with a source."""

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
"""Makes the upright uint8 (height, width, channel) RGB picture of a frame, before the next one is asked for; dropped
frames are never converted."""


@dataclass
class Facts:
    """What a reader knows of its source before, or learns while, it reads."""

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
        """(height, width) of the pictures that are given: upright, with square pixels."""
        height, width = self.size[0], max(1, round(self.size[1] * self.pixel_aspect))
        return (width, height) if self.rotation % 180 else (height, width)

    def turn(self, rotation: int, mirrored: bool) -> None:
        """Remember how pictures are brought upright: turned clockwise, then mirrored left to right."""
        self.rotation, self.mirrored = rotation, mirrored
        done = [f"turned {rotation} degrees clockwise"] * bool(rotation) + ["mirrored left to right"] * mirrored
        if done:
            self.note(f"{' and '.join(done)} to stand upright, as the file says")

    def note(self, text: str) -> None:
        """Remember a remark once."""
        if text not in self.notes:
            self.notes.append(text)


class DamagedError(VideoError):
    """A source that breaks off; ``readable`` frames came before."""

    def __init__(self, message: str, readable: int) -> None:
        super().__init__(message)
        self.readable = readable


def damaged(path: Path, reason: str, readable: int, stated: int | None = None) -> VideoError:
    """Say that a source breaks off, and how much of it can be used."""
    of = f" of {stated}" if stated else ""
    use = f"Pass num_frames={readable} (or end) to use those, or get" if readable else "Get"
    return DamagedError(
        f"{path} is truncated or damaged ({reason}): {readable}{of} frames could be read. {use} the whole file",
        readable,
    )


def changes_size(path: Path, index: int, before: tuple[int, int], after: tuple[int, int]) -> VideoError:
    """Say that frames from ``index`` on have another (height, width); those before it can be used."""
    return DamagedError(
        f"{path} changes its size at frame {index} from {before[1]}x{before[0]} to {after[1]}x{after[0]}: "
        f"pass end={index} to stop before it, or re-encode it at one size",
        index,
    )


class Reader(Protocol):
    """A source of frames in the order in which they are shown."""

    facts: Facts

    def frames(self) -> Iterator[tuple[Fraction, Picture]]:
        """Yield the time of each frame on the source's clock in seconds, and its picture on demand."""

    def end_time(self, times: list[Fraction]) -> Fraction:
        """Say when the last frame of the source ends, given the times of all of its frames."""

    def exact_times(self, times: list[Fraction]) -> list[Fraction]:
        """Undo the rounding of times by a coarse clock, where the rate is known to be constant."""

    def count(self) -> int:
        """Count the frames of the whole source, cheaply."""

    def close(self) -> None:
        """Let go of the file."""


_NO_FILES = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def regular_file(path: Path, purpose: str) -> None:
    """Check that something is a file with an end: a pipe would be waited for, a device might never end.

    Args:
        path: a file, links followed.
        purpose: what it would be, such as ``a clip``.

    Raises:
        VideoError: it is no file, is not there, or cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise VideoError(f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    kind = next((name for test, name in _NO_FILES if test(mode)), None)
    if kind is not None:
        raise VideoError(f"{path} is {kind}, which cannot be {purpose}: give a file")
