"""Read a clip from a video, an animation, a picture or a folder of pictures."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from ..errors import VideoError
from .clip import MIN_SIZE, Selection, SourceInfo, Video, as_rate
from .decode import ContainerReader
from .facts import DamagedError, Facts, Reader, regular_file
from .limits import MAX_SIZE, Room, scaled_size
from .pictures import AnimationReader, FolderReader, is_picture

__all__ = ["DEFAULT_MAX_FRAMES", "read_video"]

DEFAULT_MAX_FRAMES = 64
"""Most frames that are read when nobody said how many."""


def read_video(
    path: str | os.PathLike[str],
    *,
    num_frames: int | None = None,
    start: int = 0,
    stride: int = 1,
    end: int | None = None,
    size: int | tuple[int, int] | None = None,
    fps: float | Fraction | str | None = None,
    max_frames: int | None = DEFAULT_MAX_FRAMES,
) -> Video:
    """Read a clip, or a chosen part of it, upright and in RGB.

    Videos (mp4, mov, webm, mkv, avi and more), animations (gif, webp, png), a picture (a clip of one frame) and folders of
    pictures in natural order of their names are told apart by their content, not by their suffix. Rotation is applied,
    non-square pixels are made square, the colour matrix and range of the source are honoured (sources that name none:
    BT.709 from 720 lines or 1280 columns on, BT.601 below, as players do), and alpha is laid over black; all of it is said
    in ``source.notes``. Each frame keeps its time; with a stride a kept frame stands until the next kept one begins.

    Frames are counted by decoding from the beginning, so numbers are exact in every container. How much memory the frames
    will take is found from their size before one is decoded: a clip may take half of what is free. Only the file or folder
    of that name is ever opened: no other one that a file refers to, no address, no pipe or device.

    Args:
        path: a file or a folder.
        num_frames: how many frames to keep; None for all from ``start`` to ``end``.
        start: number of the first frame to keep, from 0.
        stride: keep every ``stride``-th frame.
        end: number of the frame before which to stop; None for the end of the source.
        size: (height, width) to scale to cover and crop at the centre; one number for the shorter side, the aspect ratio
            kept; None for the source's own size. In pixels, 8 to 8192.
        fps: frames per second of a folder or picture, which do not tell (8 where not given; pictures that faircut wrote
            carry their times), or of a raw stream that does not (25); for everything else the source's own times are kept
            and ``fps`` is an error.
        max_frames: how many frames to accept when ``num_frames`` is None; None for any number.

    Returns:
        The clip, with where it came from and what was done to it in ``source``.

    Raises:
        VideoError: nothing there, no video, truncated or damaged, empty, too small, too large for the memory that is free,
            or fewer or more frames than asked for or allowed; the message says what is possible.
    """
    if not os.fspath(path):
        raise VideoError("the name of the clip is empty: give a video, an animation, a picture or a folder of pictures")
    path = Path(path)
    _check_choice(num_frames, start, stride, end, size, max_frames)
    rate = None if fps is None else as_rate(fps)
    room = Room(path, size)
    reader = _open(path, rate, room.pixels)
    try:
        return _select(reader, path, room, num_frames, start, stride, end, size, max_frames)
    finally:
        reader.close()


def _check_choice(
    num_frames: int | None,
    start: int,
    stride: int,
    end: int | None,
    size: int | tuple[int, int] | None,
    max_frames: int | None,
) -> None:
    for name, value, least in (
        ("num_frames", num_frames, 1),
        ("start", start, 0),
        ("stride", stride, 1),
        ("end", end, 1),
        ("max_frames", max_frames, 1),
    ):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise VideoError(f"{name}={value!r}: give a whole number of at least {least}")
    if end is not None and end <= start:
        raise VideoError(
            f"start={start}, end={end} leaves no frames: end is the frame before which to stop, so it must be larger"
        )
    if size is not None:
        sides = tuple(size) if isinstance(size, (tuple, list)) else (size,)
        if len(sides) not in (1, 2) or any(
            isinstance(side, bool) or not isinstance(side, int) or not MIN_SIZE <= side <= MAX_SIZE for side in sides
        ):
            raise VideoError(
                f"size={size!r}: give (height, width), or one number for the shorter side, in "
                f"pixels, at least {MIN_SIZE} and at most {MAX_SIZE}"
            )


def _open(path: Path, fps: Fraction | None, pixels: int) -> Reader:
    try:
        exists = path.exists()
    except OSError as error:
        raise VideoError(f"{path} cannot be opened: {error.strerror or error}") from error
    if not exists:
        near = path.parent if path.parent.exists() else None
        hint = f"; {near.resolve()} exists" if near else f"; its folder {path.parent} does not exist either"
        raise VideoError(f"{path}: no such file or folder{hint}. Check the name")
    if path.is_dir():
        return FolderReader(path, fps, pixels)
    regular_file(path, "a clip")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise VideoError(f"{path} cannot be opened: {error.strerror or error}") from error
    if not head:
        raise VideoError(f"{path} is empty (0 bytes): nothing can be read from it; get the file again")
    if is_picture(path, head):
        return AnimationReader(path, fps, pixels)
    return ContainerReader(path, fps, pixels)


def _select(
    reader: Reader,
    path: Path,
    room: Room,
    num_frames: int | None,
    start: int,
    stride: int,
    end: int | None,
    size: int | tuple[int, int] | None,
    max_frames: int | None,
) -> Video:
    facts = reader.facts
    if num_frames is not None and end is not None and len(range(start, end, stride)) < num_frames:
        raise VideoError(
            f"num_frames={num_frames} from frame {start} with stride {stride} does not fit before end={end}: "
            f"at most {len(range(start, end, stride))} do; ask for fewer, or move end"
        )
    # The frame at which to stop is still asked for its time: it ends the last kept one.
    stops = [stop for stop in (end, None if num_frames is None else start + num_frames * stride) if stop is not None]
    stop = min(stops) if stops else None
    limit = max_frames if num_frames is None else None
    checked, fitting = None, 0
    if min(facts.size) > 0:  # a stream may tell its size only with its first frame
        checked = facts.upright
        fitting = _check_room(reader, room, num_frames, start, stride, stop, limit)
    times: list[Fraction] = []
    pictures: list[torch.Tensor] = []
    ended, total = True, facts.total_frames
    try:
        for index, (time, picture) in enumerate(reader.frames()):
            times.append(time)
            if stop is not None and index >= stop:
                ended = False
                break
            if index >= start and (index - start) % stride == 0:
                if limit is not None and len(pictures) == limit:
                    raise _too_long(reader, path, start, stride, end, limit)
                if facts.upright != checked:
                    checked = facts.upright
                    fitting = _check_room(reader, room, num_frames, start, stride, stop, limit)
                if len(pictures) == fitting:
                    raise room.too_many(facts.upright, num_frames)
                pictures.append(_fit(picture(), size, facts))
        else:
            total = facts.total_frames = len(times)
            _check_enough(
                path, len(times), len(pictures), num_frames, start, stride, end if num_frames is None else None
            )
    except DamagedError as error:
        if stop is None or len(pictures) < len(range(start, stop, stride)):
            raise
        facts.note(f"what follows frame {error.readable - 1} cannot be used, but nothing of it was needed")
    if ended:
        times.append(reader.end_time(times))
    times = reader.exact_times(times)
    kept = range(start, start + len(pictures) * stride, stride)
    # A kept frame stands until the next kept one; the last one as long as its stride, or until the range or source ends.
    last = min(kept[-1] + stride, len(times) - 1)
    first = times[start]
    source = SourceInfo(
        path=path,
        container=facts.container,
        codec=facts.codec,
        fps=facts.fps,
        size=facts.size,
        rotation=facts.rotation,
        mirrored=facts.mirrored,
        pixel_aspect=facts.pixel_aspect,
        audio=facts.audio,
        total_frames=total,
        selection=Selection(start, stride, len(pictures)),
        start_time=first,
        end_time=times[last],
        notes=tuple(facts.notes),
    )
    return Video(torch.stack(pictures), tuple(times[index] - first for index in kept), times[last] - first, source)


def _check_room(
    reader: Reader, room: Room, num_frames: int | None, start: int, stride: int, stop: int | None, limit: int | None
) -> int:
    """Say how many frames fit; if it is known that more are wanted, raise."""
    facts = reader.facts
    fitting = room.frames(facts.upright)

    def wanted(total: int | None) -> int | None:
        stops = [value for value in (stop, total) if value is not None]
        counts = [len(range(start, min(stops), stride))] if stops else []
        return min([*counts, *(value for value in (num_frames, limit) if value is not None)], default=None)

    count = wanted(facts.total_frames)
    if count is not None and count > fitting:
        # More may have been asked for than there are, which is another complaint.
        count = wanted(facts.total_frames or reader.count())
        if count is not None and count > fitting:
            raise room.too_many(facts.upright, count)
    return fitting


def _too_long(reader: Reader, path: Path, start: int, stride: int, end: int | None, limit: int) -> VideoError:
    count = reader.facts.total_frames or reader.count()
    available = min(count, end or count) - start
    chosen = -(-available // stride)
    seconds = count / reader.facts.fps
    return VideoError(
        f"{path} has {count} frames ({float(seconds):.1f} s at {float(reader.facts.fps):.2f} "
        f"fps), of which {chosen} were asked "
        f"for; without num_frames at most {limit} are read. Pass num_frames={limit} for the first {limit}, "
        f"stride={-(-available // limit)} to spread them over the clip, start and end for a part, "
        f"or max_frames={chosen} for all of them"
    )


def _check_enough(
    path: Path, count: int, kept: int, asked: int | None, start: int, stride: int, end: int | None
) -> None:
    if count == 0:
        raise VideoError(f"{path} holds no frames: nothing can be read from it; get the file again")
    if start >= count:
        raise VideoError(f"{path} has {count} frames, numbered 0 to {count - 1}: start={start} is beyond them")
    if asked is not None and kept < asked:
        needed = start + (asked - 1) * stride + 1
        smaller = (count - start - 1) // (asked - 1) if asked > 1 else 0
        stride_hint = f", or stride={smaller}" if 0 < smaller < stride else ""
        raise VideoError(
            f"{path} has {count} frames: num_frames={asked} from start={start} with stride={stride} needs {needed}; "
            f"pass num_frames={kept} at most{stride_hint}, or use a longer clip"
        )
    if end is not None and end > count:
        raise VideoError(
            f"{path} has {count} frames: end={end} is beyond them; pass end={count} at most, or leave it out"
        )


def _fit(picture: np.ndarray, size: int | tuple[int, int] | None, facts: Facts) -> torch.Tensor:
    height, width = picture.shape[:2]
    scaled, target = scaled_size(height, width, size)
    # In place: a large picture exists once as numbers, not three times.
    frame = torch.from_numpy(picture).permute(2, 0, 1).to(torch.float32).div_(127.5).sub_(1)
    if scaled != (height, width):
        frame = torch.nn.functional.interpolate(frame[None], scaled, mode="bicubic", antialias=True)[0].clamp(-1, 1)
        facts.note(f"scaled from {width}x{height} to {scaled[1]}x{scaled[0]}")
    if scaled != target:
        top, left = (scaled[0] - target[0]) // 2, (scaled[1] - target[1]) // 2
        frame = frame[:, top : top + target[0], left : left + target[1]]
        facts.note(f"cropped at the centre to {target[1]}x{target[0]}")
    return frame.contiguous()
