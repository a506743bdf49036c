"""Write a clip as a video, an animation, a folder of pictures or a picture, completely or not at all."""

from __future__ import annotations

import itertools
import math
import os
import struct
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import torch

from ..errors import FaircutError, VideoError, choices
from ..files import atomic_path, foreign_files, signature
from .audio import Sound, SoundError
from .clip import Video, as_rate, to_uint8
from .decode import QUALITY_FLAGS
from .facts import regular_file
from .pictures import write_folder, write_gif, write_png, write_webp

__all__ = ["SUFFIXES", "write_video"]

_CONTAINERS = ("mp4", "mov", "webm")
SUFFIXES = (".mp4", ".mov", ".webm", ".gif", ".webp", ".png")
"""Formats that ``write_video`` can write, besides a folder of pictures (a path without a suffix)."""

_FINEST = 1_000_000  # Ticks per second; with more, the arithmetic of players becomes unreliable.


def write_video(
    video: Video | torch.Tensor,
    path: str | os.PathLike[str],
    *,
    fps: float | Fraction | str | None = None,
    audio_from: str | os.PathLike[str] | Literal[False] | None = None,
    quality: int = 90,
) -> Path:
    """Write a clip with its size, times and sound. The suffix of the path determines the format.

    ``.mp4`` and ``.mov`` are h264 in BT.709: yuv420p, which plays everywhere, or yuv444p for an odd height or width,
    which plays in Chrome and in browsers on Linux but not in Apple's players. ``.webm`` is vp9 and keeps odd sizes in
    every browser. ``.gif`` and ``.webp`` loop. ``.png`` is one picture. A path without a suffix, or with a separator at
    its end, is a folder of 00000.png and so on, which store their durations. Frame times are exact in mp4 and mov (or
    rounded to 1/90000 s if there is no common time base of at most a million ticks per second), and rounded to 1/1000 s
    in webm and webp and to 1/100 s in gif; rounding errors do not add up. The file appears when it is complete, and
    nothing partial is left behind.

    Args:
        video: A clip, or a floating-point tensor (frame, channel, height, width) in [-1, 1] together with ``fps``.
        path: Output path. An existing file is replaced, and so is an existing folder with only pictures written by
            faircut.
        fps: Frames per second, instead of the clip's own times.
        audio_from: File whose sound is used from its beginning. None for the sound of the clip's source, cut to the
            selected frames, if it has any and the container can hold sound (mp4, mov, webm). False for no sound.
        quality: 0 (smallest) to 100 (best), for mp4, mov, webm and webp; 90 is crf 17 for h264 and crf 20 for vp9.

    Returns:
        The path.

    Raises:
        VideoError: If the suffix is unknown, the folder contains other files, a frame is not finite, the container
            cannot represent the times or hold sound, or the file system refuses.

    Warns:
        UserWarning: If the sound of the source is left out, because ``fps`` changes the clip's duration, or because the
            sound is broken or its codec is unknown.
    """
    text = os.fspath(path)
    if not text:
        raise VideoError("the name of the output is empty: give a file such as out.mp4, or a folder")
    target = Path(path)
    kind = _kind(text, target)
    clip = _as_clip(video, fps)
    if isinstance(quality, bool) or not isinstance(quality, int) or not 0 <= quality <= 100:
        raise VideoError(f"quality={quality!r}: give a whole number from 0 (smallest) to 100 (best)")
    if kind == "png" and len(clip) > 1:
        raise VideoError(
            f"{target} is one picture and the clip has {len(clip)}: name a folder (no suffix), a .gif or a video"
        )
    if kind == "folder":
        _check_folder(target)
    pictures = to_uint8(clip.frames)
    sound = _sound(clip, video, kind, target, audio_from)
    try:
        _write(target, kind, clip, pictures, sound, quality)
    except SoundError as error:
        if audio_from is not None:
            raise
        # The pictures may have taken an hour to compute, and the user did not ask for the sound explicitly.
        warnings.warn(f"{error}: {target} is written without sound", UserWarning, stacklevel=2)
        _write(target, kind, clip, pictures, None, quality)
    return target


def _write(
    target: Path, kind: str, clip: Video, pictures: np.ndarray, sound: tuple[Path, Fraction] | None, quality: int
) -> None:
    try:
        note = signature(target.name)
        with atomic_path(target) as temporary:
            if kind == "folder":
                write_folder(temporary, pictures, clip.durations)
            elif kind == "png":
                write_png(temporary, pictures[0], clip.durations[0])
            elif kind == "gif":
                write_gif(temporary, pictures, clip.times, clip.duration, note)
            elif kind == "webp":
                write_webp(temporary, pictures, clip.times, clip.duration, quality, note)
            else:
                _write_container(temporary, kind, clip, pictures, sound, quality, note)
    except FaircutError:
        raise
    except (OSError, av.error.FFmpegError, ValueError, OverflowError, struct.error) as error:
        # Encoders and muxers raise many kinds of errors for sizes and times that their format cannot represent.
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise VideoError(f"{target} could not be written ({reason}); nothing was left behind") from error


def _kind(text: str, target: Path) -> str:
    if target.exists() and not target.is_dir():
        regular_file(target, "written over by a clip")
    if text.endswith(("/", os.sep)) or target.is_dir() or not target.suffix:
        return "folder"
    if target.suffix.lower() not in SUFFIXES:
        raise VideoError(
            f"{target}: {target.suffix} cannot be written: {choices(target.suffix.lower(), SUFFIXES)}, or a folder"
        )
    return target.suffix.lower()[1:]


def _as_clip(video: Video | torch.Tensor, fps: float | Fraction | str | None) -> Video:
    if isinstance(video, torch.Tensor):
        if fps is None:
            raise VideoError("frames without times: pass fps=, or a Video")
        return Video.from_frames(video, fps)
    if fps is None:
        return video
    rate = as_rate(fps)
    return Video(video.frames, tuple(index / rate for index in range(len(video))), len(video) / rate, video.source)


def _check_folder(target: Path) -> None:
    if target.is_file():
        raise VideoError(f"{target} is a file: choose another name for the folder, or remove it")
    foreign = foreign_files(target)
    if foreign:
        raise VideoError(
            f"the folder {target} contains other files ({', '.join(foreign[:3])}): choose an empty or a new folder"
        )


def _sound(
    clip: Video,
    given: Video | torch.Tensor,
    kind: str,
    target: Path,
    audio_from: str | os.PathLike[str] | Literal[False] | None,
) -> tuple[Path, Fraction] | None:
    """Return where the sound comes from, (file, time in seconds at which it begins), or None for no sound."""
    if audio_from is True:
        raise VideoError("audio_from=True: give a file, False for no sound, or None for the sound of the clip's source")
    if audio_from is False:
        return None
    if audio_from is not None:
        if kind not in _CONTAINERS:
            raise VideoError(
                f"{target} cannot hold sound: write {', '.join('.' + name for name in _CONTAINERS)}, or no audio_from"
            )
        return Path(audio_from), Fraction(0)
    if clip.source is None or not clip.source.audio or kind not in _CONTAINERS:
        return None
    if isinstance(given, Video) and clip.duration != given.duration:
        warnings.warn(
            f"at {float(clip.fps):.3f} fps the clip lasts {float(clip.duration):.3f} s instead of "
            f"{float(given.duration):.3f} s: the sound of {clip.source.path} does not fit and is left out",
            UserWarning,
            stacklevel=3,
        )
        return None
    return clip.source.path, clip.source.start_time


def _ticks(clip: Video, kind: str) -> tuple[Fraction, list[int]]:
    """Return a time base in which all times are whole numbers, and the times and the end in it."""
    finest = math.lcm(*(time.denominator for time in (*clip.times, clip.duration)))
    base = Fraction(1, 1000) if kind == "webm" else Fraction(1, finest if finest <= _FINEST else 90_000)
    marks = [round(time / base) for time in (*clip.times, clip.duration)]
    if any(b <= a for a, b in itertools.pairwise(marks)):
        raise VideoError(f"some frames last less than {float(base):.6f} s, the minimum for {kind}: pass a lower fps=")
    return base, marks


def _write_container(
    path: Path,
    kind: str,
    clip: Video,
    pictures: np.ndarray,
    sound: tuple[Path, Fraction] | None,
    quality: int,
    note: str,
) -> None:
    base, marks = _ticks(clip, kind)
    lengths = {a: b - a for a, b in itertools.pairwise(marks)}
    options = {"movflags": "+faststart"} if kind != "webm" else {}
    track: Sound | None = None
    with av.open(str(path), "w", format=kind, options=options) as container:
        container.metadata["comment"] = note
        try:
            stream = _add_stream(container, kind, clip, base, quality)
            if sound is not None:
                track = Sound(container, kind, sound[0], sound[1], clip.duration)

            def mux(packets: Any) -> None:
                for packet in packets:
                    # Encoders omit the duration if the rate varies; without it the last frame would have none.
                    packet.duration = lengths[packet.pts]
                    container.mux(packet)

            for picture, mark, time in zip(pictures, marks, clip.times, strict=False):
                if track is not None:
                    track.write_until(time)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                    format=stream.pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG", interpolation=QUALITY_FLAGS
                )
                frame.pts, frame.time_base = mark, base
                mux(stream.encode(frame))
            mux(stream.encode())
            if track is not None:
                track.write_until(None)
        finally:
            if track is not None:
                track.close()


def _add_stream(container: Any, kind: str, clip: Video, base: Fraction, quality: int) -> Any:
    height, width = clip.size
    rate = clip.fps.limit_denominator(1001)
    if kind == "webm":
        crf = round(20 + (90 - quality) * 0.45)
        options = {"crf": str(crf), "b": "0", "row-mt": "1", "deadline": "good", "cpu-used": "2"}
        stream = container.add_stream("libvpx-vp9", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
    else:
        # Without B-frames, packets and frames have the same durations, so that variable rates are kept to the last
        # frame.
        options = {"crf": str(round(17 + (90 - quality) * 0.34)), "preset": "medium", "bf": "0"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        # x264 refuses odd sizes in yuv420p, because chroma is stored for pairs of pixels.
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
    stream.height, stream.width = height, width
    context = stream.codec_context
    stream.time_base = context.time_base = base
    context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
    context.color_range = 1  # limited
    return stream
