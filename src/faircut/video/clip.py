"""A clip in memory: pictures, the time of each, and where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..errors import VideoError

__all__ = ["DEFAULT_FPS", "MIN_SIZE", "Selection", "SourceInfo", "Video", "as_rate", "side_by_side", "to_uint8"]

MIN_SIZE = 8
"""Smallest height and width of a frame, in pixels: one latent of the usual VAE."""

DEFAULT_FPS = Fraction(8)
"""Frames per second of pictures that say nothing of time."""


@dataclass(frozen=True)
class Selection:
    """Which frames of a source were kept: ``start``, ``start + stride``, ... ``count`` of them."""

    start: int
    stride: int
    count: int

    def __str__(self) -> str:
        return f"{self.count} frames from frame {self.start}, every {self.stride}"


@dataclass(frozen=True)
class SourceInfo:
    """Where a clip came from and what reading it did to the pictures.

    Attributes:
        path: the file or folder.
        container: its kind: ``mp4``, ``matroska``, ``gif``, ``webp``, ``folder``, ``png`` and so on.
        codec: the name of the codec of its pictures, such as ``h264`` or ``png``.
        fps: average frames per second of the whole source.
        size: (height, width) in pixels as stored, before rotation and before non-square pixels were made square.
        rotation: degrees clockwise by which the stored pictures were turned to stand upright: 0, 90, 180 or 270.
        mirrored: whether they were then mirrored left to right, as the file says (front cameras, scanned slides).
        pixel_aspect: width over height of a stored pixel; pictures are resampled to square pixels.
        audio: whether the source has sound.
        total_frames: frames in the whole source; None where it does not say and was not read to its end.
        selection: which of them were kept.
        start_time: time of the first kept frame on the source's own clock, in seconds; its sound is cut there.
        end_time: time on the source's own clock at which the last kept frame ends, in seconds.
        notes: what was assumed or changed on the way in, in words, such as a rotation or an assumed rate.
    """

    path: Path
    container: str
    codec: str
    fps: Fraction
    size: tuple[int, int]
    rotation: int
    pixel_aspect: Fraction
    audio: bool
    total_frames: int | None
    selection: Selection
    start_time: Fraction
    end_time: Fraction
    notes: tuple[str, ...] = ()
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Video:
    """A clip: its pictures, when each begins, and where they came from.

    Attributes:
        frames: float32 (frame, channel, height, width), RGB in [-1, 1], upright, square pixels.
        times: start of each frame in seconds, beginning at 0 and rising; variable frame rates are kept.
        duration: end of the last frame, in seconds.
        source: the file or folder it was read from; None for a clip made in memory.

    Raises:
        VideoError: the tensor is not of that shape, or the times do not fit the frames.
    """

    frames: torch.Tensor
    times: tuple[Fraction, ...]
    duration: Fraction
    source: SourceInfo | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.frames.shape)
        if len(shape) != 4 or shape[1] != 3 or shape[0] < 1:
            raise VideoError(
                f"frames of shape {shape}: a clip is (frame, channel, height, width) with at "
                f"least one frame and 3 channels; "
                "rearrange the tensor, or stack single pictures with frames[None]"
            )
        if min(shape[2:]) < MIN_SIZE:
            raise VideoError(too_small(shape[2], shape[3]))
        if self.frames.dtype != torch.float32:
            raise VideoError(f"frames of {self.frames.dtype}: a clip is float32 in [-1, 1]; scale and convert it first")
        if len(self.times) != len(self.frames):
            raise VideoError(f"{len(self.times)} times for {len(self.frames)} frames: give the start of each frame")
        ends = (*self.times[1:], self.duration)
        if self.times[0] != 0 or any(end <= start for start, end in zip(self.times, ends, strict=True)):
            raise VideoError("the times of a clip begin at 0, rise from frame to frame and end before its duration")

    @classmethod
    def from_frames(cls, frames: torch.Tensor, fps: float | Fraction | str = DEFAULT_FPS) -> Video:
        """Make a clip of a constant rate from pictures in memory.

        Args:
            frames: floating (frame, channel, height, width), RGB in [-1, 1].
            fps: frames per second; a string such as ``"30000/1001"`` is exact.

        Returns:
            The clip, in float32 on the CPU, without a source.

        Raises:
            VideoError: the frames are not of that shape, or the rate is not positive.
        """
        rate = as_rate(fps)
        if not frames.is_floating_point():
            raise VideoError(
                f"frames of {frames.dtype}: a clip is floating RGB in [-1, 1]; use frames / 127.5 - 1 for bytes"
            )
        times = tuple(index / rate for index in range(len(frames)))
        return cls(frames.detach().to("cpu", torch.float32), times, len(frames) / rate)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def fps(self) -> Fraction:
        """Average frames per second."""
        return len(self) / self.duration

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.frames.shape[2]), int(self.frames.shape[3])

    @property
    def durations(self) -> tuple[Fraction, ...]:
        """How long each frame stands, in seconds."""
        return tuple(b - a for a, b in zip(self.times, (*self.times[1:], self.duration), strict=True))

    def with_frames(self, frames: torch.Tensor) -> Video:
        """Keep the times and the source of this clip and take new pictures.

        Args:
            frames: floating (frame, channel, height, width), RGB in [-1, 1]; as many frames as this clip, of any size.

        Returns:
            The new clip, its pictures in float32 on the CPU.

        Raises:
            VideoError: another number of frames, or a tensor that is no clip.
        """
        if len(frames) != len(self):
            raise VideoError(
                f"{len(frames)} new frames for a clip of {len(self)}: give one for each, or make "
                f"a clip with Video.from_frames"
            )
        return replace(self, frames=frames.detach().to("cpu", torch.float32))

    def __repr__(self) -> str:
        height, width = self.size
        origin = f", from {self.source.path.name}" if self.source else ""
        pace = f"{float(self.duration):.3f} s, {float(self.fps):.3f} fps"
        return f"Video({len(self)} frames of {width}x{height}, {pace}{origin})"


def too_small(height: int, width: int) -> str:
    """Say that frames are too small, and what is possible."""
    return (
        f"frames of {width}x{height} pixels are too small: at least {MIN_SIZE}x{MIN_SIZE} are needed; "
        "use a larger clip, or enlarge it with size="
    )


def as_rate(fps: float | Fraction | str) -> Fraction:
    """Turn frames per second into a positive fraction; 29.97 and 23.976 mean what the field means by them.

    Args:
        fps: frames per second, above 0 and at most 1000.

    Returns:
        The rate. Floats are taken to the nearest n/1001 or n/1000 so that 29.97 is 30000/1001.

    Raises:
        VideoError: not a number, or out of range.
    """
    try:
        rate = Fraction(fps)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        raise VideoError(
            f"fps={fps!r} is not a rate: give frames per second, such as 8, 29.97 or '30000/1001'"
        ) from None
    if not 0 < rate <= 1000:
        raise VideoError(f"fps={fps} is out of range: give frames per second above 0 and at most 1000")
    if isinstance(fps, float):
        ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
        rate = (
            ntsc if 0 < abs(ntsc - rate) < Fraction(6, 1000) and rate.denominator > 64 else rate.limit_denominator(1000)
        )
    return rate


def to_uint8(frames: torch.Tensor) -> np.ndarray:
    """Turn pictures into bytes.

    Args:
        frames: float (frame, channel, height, width) in [-1, 1]; what lies outside is clamped.

    Returns:
        uint8 (frame, height, width, channel) in [0, 255].

    Raises:
        VideoError: some values are not numbers.
    """
    if not bool(torch.isfinite(frames).all()):
        bad = [index for index, frame in enumerate(frames) if not bool(torch.isfinite(frame).all())]
        raise VideoError(f"frames {bad} hold values that are not numbers (NaN or infinite); nothing was written")
    return ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def side_by_side(videos: Sequence[Video], labels: Sequence[str] | None = None) -> Video:
    """Put clips next to each other, in order, each under its label.

    Lower clips are centred on black. The times, the source and with it the sound are the first clip's.

    Args:
        videos: clips of the same number of frames, of any sizes.
        labels: one line of text for each, drawn in a strip above it; None for no strip.

    Returns:
        One clip as wide as all of them together and as high as the highest (plus the strip).

    Raises:
        VideoError: no clips, different numbers of frames, or not one label for each.
    """
    if not videos:
        raise VideoError("no clips to put side by side: give at least one")
    counts = [len(video) for video in videos]
    if len(set(counts)) > 1:
        raise VideoError(
            f"clips of {counts} frames cannot stand side by side: read them with the same num_frames and stride"
        )
    if labels is not None and len(labels) != len(videos):
        raise VideoError(f"{len(labels)} labels for {len(videos)} clips: give one for each")
    height = max(video.size[0] for video in videos)
    columns = []
    for index, video in enumerate(videos):
        low = (height - video.size[0]) // 2
        column = torch.full((len(video), 3, height, video.size[1]), -1.0)
        column[:, :, low : low + video.size[0]] = video.frames
        if labels is not None:
            strip = _label(labels[index], video.size[1], height)
            column = torch.cat([strip.expand(len(video), -1, -1, -1), column], dim=2)
        columns.append(column)
    return videos[0].with_frames(torch.cat(columns, dim=3))


def _label(text: str, width: int, height: int) -> torch.Tensor:
    # The letters follow the picture's height, but a label that would not fit its column gets smaller ones.
    size = max(8, min(32, height // 16))
    strip = Image.new("RGB", (width, 2 * ((size * 8 // 5 + 1) // 2)))
    font = ImageFont.load_default(size)
    while size > 6 and font.getlength(text) > width - 4:
        size -= 1
        font = ImageFont.load_default(size)
    ImageDraw.Draw(strip).text((width / 2, strip.height / 2), text, fill="white", font=font, anchor="mm")
    return torch.from_numpy(np.array(strip)).permute(2, 0, 1).float()[None] / 127.5 - 1
