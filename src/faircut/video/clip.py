"""A clip in memory: its frames, their times, and where they came from."""

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
"""Smallest height and width of a frame in pixels: one latent of the usual VAE."""

DEFAULT_FPS = Fraction(8)
"""Frames per second of pictures that store no times."""


@dataclass(frozen=True)
class Selection:
    """Which frames of a source were selected: ``count`` frames at ``start``, ``start + stride`` and so on."""

    start: int
    stride: int
    count: int

    def __str__(self) -> str:
        return f"{self.count} frames from frame {self.start}, every {self.stride}"


@dataclass(frozen=True)
class SourceInfo:
    """Where a clip came from, and how reading changed its pictures.

    Attributes:
        path: File or folder.
        container: Kind of the source: ``mp4``, ``matroska``, ``gif``, ``webp``, ``folder``, ``png`` and so on.
        codec: Codec of the pictures, such as ``h264`` or ``png``.
        fps: Average frames per second of the whole source.
        size: (height, width) in pixels as stored, before rotation and before resampling to square pixels.
        rotation: Clockwise rotation that was applied to the stored pictures, in degrees: 0, 90, 180 or 270.
        mirrored: Whether the pictures were then mirrored left to right, as the file says (front cameras, scanned
            slides).
        pixel_aspect: Width divided by height of a stored pixel. The pictures were resampled to square pixels.
        audio: Whether the source has sound.
        total_frames: Number of frames in the whole source. None if the source does not say and was not read to its end.
        selection: Which frames were selected.
        start_time: Time of the first selected frame on the source's clock, in seconds. Its sound is cut there.
        end_time: Time on the source's clock at which the last selected frame ends, in seconds.
        notes: Remarks on what was assumed or changed while reading, such as a rotation or an assumed frame rate.
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
    """A clip: its frames, when each one begins, and where they came from.

    Attributes:
        frames: float32 (frame, channel, height, width), RGB in [-1, 1], upright, with square pixels.
        times: Start of each frame in seconds, rising from 0. Variable frame rates are preserved.
        duration: End of the last frame in seconds.
        source: Where the clip was read from. None for a clip made in memory.

    Raises:
        VideoError: If the tensor does not have this shape, or the times do not fit the frames.
    """

    frames: torch.Tensor
    times: tuple[Fraction, ...]
    duration: Fraction
    source: SourceInfo | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.frames.shape)
        if len(shape) != 4 or shape[1] != 3 or shape[0] < 1:
            raise VideoError(
                f"frames of shape {shape}: a clip is (frame, channel, height, width) with at least one frame and 3 "
                "channels; rearrange the tensor, or stack single pictures with frames[None]"
            )
        if min(shape[2:]) < MIN_SIZE:
            raise VideoError(too_small(shape[2], shape[3]))
        if self.frames.dtype != torch.float32:
            raise VideoError(f"frames of {self.frames.dtype}: a clip is float32 in [-1, 1]; scale and convert it first")
        if len(self.times) != len(self.frames):
            raise VideoError(f"{len(self.times)} times for {len(self.frames)} frames: give the start of each frame")
        ends = (*self.times[1:], self.duration)
        if self.times[0] != 0 or any(end <= start for start, end in zip(self.times, ends, strict=True)):
            raise VideoError(
                "the times of a clip must begin at 0, rise from frame to frame and end before its duration"
            )

    @classmethod
    def from_frames(cls, frames: torch.Tensor, fps: float | Fraction | str = DEFAULT_FPS) -> Video:
        """Create a clip with a constant frame rate from frames in memory.

        Args:
            frames: Floating-point (frame, channel, height, width), RGB in [-1, 1].
            fps: Frames per second. A string such as ``"30000/1001"`` is exact.

        Returns:
            The clip, in float32 on the CPU and without a source.

        Raises:
            VideoError: If the frames do not have this shape, or the rate is not positive.
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
        """Duration of each frame in seconds."""
        return tuple(b - a for a, b in zip(self.times, (*self.times[1:], self.duration), strict=True))

    def with_frames(self, frames: torch.Tensor) -> Video:
        """Return a clip with new frames and the times and source of this one.

        Args:
            frames: Floating-point (frame, channel, height, width), RGB in [-1, 1]; as many frames as this clip, of any
                size.

        Returns:
            The new clip, in float32 on the CPU.

        Raises:
            VideoError: If the number of frames differs, or the tensor is not a clip.
        """
        if len(frames) != len(self):
            raise VideoError(
                f"{len(frames)} new frames for a clip of {len(self)}: give one for each, or make a clip with "
                "Video.from_frames"
            )
        return replace(self, frames=frames.detach().to("cpu", torch.float32))

    def __repr__(self) -> str:
        height, width = self.size
        origin = f", from {self.source.path.name}" if self.source else ""
        pace = f"{float(self.duration):.3f} s, {float(self.fps):.3f} fps"
        return f"Video({len(self)} frames of {width}x{height}, {pace}{origin})"


def too_small(height: int, width: int) -> str:
    """Return the error message for frames that are too small."""
    return (
        f"frames of {width}x{height} pixels are too small: at least {MIN_SIZE}x{MIN_SIZE} are needed; "
        "use a larger clip, or enlarge it with size="
    )


def as_rate(fps: float | Fraction | str) -> Fraction:
    """Convert frames per second to a positive fraction; 29.97 and 23.976 become the NTSC rates 30000/1001 and
    24000/1001.

    Args:
        fps: Frames per second, above 0 and at most 1000.

    Returns:
        The rate. A float is rounded to the nearest n/1001 or n/1000.

    Raises:
        VideoError: If the value is not a number, or is out of range.
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
    """Convert frames to bytes.

    Args:
        frames: Floating-point (frame, channel, height, width) in [-1, 1]. Values outside are clamped.

    Returns:
        uint8 (frame, height, width, channel) in [0, 255].

    Raises:
        VideoError: If a value is NaN or infinite.
    """
    if not bool(torch.isfinite(frames).all()):
        bad = [index for index, frame in enumerate(frames) if not bool(torch.isfinite(frame).all())]
        raise VideoError(f"frames {bad} hold values that are not numbers (NaN or infinite); nothing was written")
    return ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def side_by_side(videos: Sequence[Video], labels: Sequence[str] | None = None) -> Video:
    """Arrange clips side by side in order, each below its label.

    Smaller clips are centred vertically on black. The times, the source and so the sound come from the first clip.

    Args:
        videos: Clips with equally many frames, of any size.
        labels: One line of text for each clip, drawn in a strip above it. None for no strip.

    Returns:
        A clip as wide as all clips together and as high as the highest one, plus the strip.

    Raises:
        VideoError: If there are no clips, their numbers of frames differ, or there is not one label for each.
    """
    if not videos:
        raise VideoError("no clips to put side by side: give at least one")
    counts = [len(video) for video in videos]
    if len(set(counts)) > 1:
        raise VideoError(
            f"clips of {counts} frames cannot be put side by side: read them with the same num_frames and stride"
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
    # The font size follows the height of the picture, but a label that is wider than its column gets a smaller one.
    size = max(8, min(32, height // 16))
    strip = Image.new("RGB", (width, 2 * ((size * 8 // 5 + 1) // 2)))
    font = ImageFont.load_default(size)
    while size > 6 and font.getlength(text) > width - 4:
        size -= 1
        font = ImageFont.load_default(size)
    ImageDraw.Draw(strip).text((width / 2, strip.height / 2), text, fill="white", font=font, anchor="mm")
    return torch.from_numpy(np.array(strip)).permute(2, 0, 1).float()[None] / 127.5 - 1
