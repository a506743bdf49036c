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
from .limits import MAX_SIZE, MemoryBudget, scaled_size
from .pictures import AnimationReader, FolderReader, is_picture

__all__ = ["DEFAULT_MAX_FRAMES", "read_video"]

DEFAULT_MAX_FRAMES = 64
"""Maximum number of frames that are read if ``num_frames`` is not given."""


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
    """Read a clip, or selected frames of it, upright and in RGB.

    The format is detected from the content, not from the suffix: videos (mp4, mov, webm, mkv, avi and more), animations
    (gif, webp, png), a picture (a clip of one frame), and folders of pictures in natural order of their names. Rotation
    is applied, non-square pixels are made square, and alpha is composited over black. The source's colour matrix and
    range are used; a source that states none is read like in common players, as BT.709 from 720 lines or 1280 columns
    and as BT.601 below. ``source.notes`` lists all such changes. Each frame keeps its time. With a stride, a selected
    frame lasts until the next selected one.

    Frame numbers are exact in every container, because frames are counted by decoding from the beginning. The memory
    that the frames will need is computed from their size before the first one is decoded; a clip can use half of the
    free memory. Only the named file or folder is opened: no other file or address that it refers to, no pipe and no
    device.

    Args:
        path: File or folder.
        num_frames: Number of frames to select. None for all from ``start`` to ``end``.
        start: Number of the first selected frame, from 0.
        stride: Distance between two selected frames; 1 selects every frame.
        end: Number of the first frame after the range. None for the end of the source.
        size: (height, width) to which frames are scaled to cover and then cropped at the centre, or one number for the
            shorter side, which keeps the aspect ratio. None for the source's size. In pixels, 8 to 8192.
        fps: Frames per second of a source without times: a folder or picture (the default is 8, or the times that
            faircut stored in its own pictures) or a raw stream (the default is 25). An error for all other sources.
        max_frames: Maximum number of frames if ``num_frames`` is None. None for no limit.

    Returns:
        The clip. Its ``source`` says where it came from and how it was changed.

    Raises:
        VideoError: If there is no such file, it is not a video, is truncated, damaged or empty, its frames are too
            small, the clip is too large for the free memory, or it has fewer or more frames than requested or allowed.
            The message says what is possible.
    """
    if not os.fspath(path):
        raise VideoError("the name of the clip is empty: give a video, an animation, a picture or a folder of pictures")
    path = Path(path)
    _check_arguments(num_frames, start, stride, end, size, max_frames)
    rate = None if fps is None else as_rate(fps)
    budget = MemoryBudget(path, size)
    reader = _open(path, rate, budget.pixels)
    try:
        return _select(reader, path, budget, num_frames, start, stride, end, size, max_frames)
    finally:
        reader.close()


def _check_arguments(
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
    budget: MemoryBudget,
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
    # The time of the frame after the range is needed too, because it ends the last selected frame.
    stops = [stop for stop in (end, None if num_frames is None else start + num_frames * stride) if stop is not None]
    stop = min(stops) if stops else None
    limit = max_frames if num_frames is None else None
    checked, fitting = None, 0
    if min(facts.size) > 0:  # Some streams state their size only with the first frame.
        checked = facts.upright
        fitting = _check_memory(reader, budget, num_frames, start, stride, stop, limit)
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
                    fitting = _check_memory(reader, budget, num_frames, start, stride, stop, limit)
                if len(pictures) == fitting:
                    raise budget.too_many(facts.upright, num_frames)
                pictures.append(_fit(picture(), size, facts))
        else:
            total = facts.total_frames = len(times)
            _check_enough(
                path, len(times), len(pictures), num_frames, start, stride, end if num_frames is None else None
            )
    except DamagedError as error:
        if stop is None or len(pictures) < len(range(start, stop, stride)):
            raise
        facts.note(f"the source is damaged after frame {error.readable - 1}, but the rest was not needed")
    if ended:
        times.append(reader.end_time(times))
    times = reader.exact_times(times)
    selected = range(start, start + len(pictures) * stride, stride)
    # A selected frame lasts until the next one. The last one lasts for a stride, or until the range or the source ends.
    last = min(selected[-1] + stride, len(times) - 1)
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
    return Video(torch.stack(pictures), tuple(times[index] - first for index in selected), times[last] - first, source)


def _check_memory(
    reader: Reader,
    budget: MemoryBudget,
    num_frames: int | None,
    start: int,
    stride: int,
    stop: int | None,
    limit: int | None,
) -> int:
    """Return how many frames fit into memory.

    Raises:
        VideoError: If more frames are selected than fit.
    """
    facts = reader.facts
    fitting = budget.frames(facts.upright)

    def wanted(total: int | None) -> int | None:
        stops = [value for value in (stop, total) if value is not None]
        counts = [len(range(start, min(stops), stride))] if stops else []
        return min([*counts, *(value for value in (num_frames, limit) if value is not None)], default=None)

    count = wanted(facts.total_frames)
    if count is not None and count > fitting:
        # If the source has fewer frames than requested, that is the error to report, not the memory.
        count = wanted(facts.total_frames or reader.count())
        if count is not None and count > fitting:
            raise budget.too_many(facts.upright, count)
    return fitting


def _too_long(reader: Reader, path: Path, start: int, stride: int, end: int | None, limit: int) -> VideoError:
    count = reader.facts.total_frames or reader.count()
    available = min(count, end or count) - start
    selected = -(-available // stride)
    seconds = count / reader.facts.fps
    return VideoError(
        f"{path} has {count} frames ({float(seconds):.1f} s at {float(reader.facts.fps):.2f} fps), of which {selected} "
        f"are selected; without num_frames at most {limit} are read. Pass num_frames={limit} for the first {limit}, "
        f"stride={-(-available // limit)} to spread them over the clip, start and end for a part, "
        f"or max_frames={selected} for all of them"
    )


def _check_enough(
    path: Path, count: int, selected: int, requested: int | None, start: int, stride: int, end: int | None
) -> None:
    if count == 0:
        raise VideoError(f"{path} holds no frames: nothing can be read from it; get the file again")
    if start >= count:
        raise VideoError(f"{path} has {count} frames, numbered 0 to {count - 1}: start={start} is beyond them")
    if requested is not None and selected < requested:
        needed = start + (requested - 1) * stride + 1
        smaller = (count - start - 1) // (requested - 1) if requested > 1 else 0
        stride_hint = f", or stride={smaller}" if 0 < smaller < stride else ""
        raise VideoError(
            f"{path} has {count} frames: num_frames={requested} from start={start} with stride={stride} needs "
            f"{needed}; pass num_frames={selected} at most{stride_hint}, or use a longer clip"
        )
    if end is not None and end > count:
        raise VideoError(
            f"{path} has {count} frames: end={end} is beyond them; pass end={count} at most, or leave it out"
        )


def _fit(picture: np.ndarray, size: int | tuple[int, int] | None, facts: Facts) -> torch.Tensor:
    height, width = picture.shape[:2]
    scaled, target = scaled_size(height, width, size)
    # In-place operations, so that a large picture is in memory only once.
    frame = torch.from_numpy(picture).permute(2, 0, 1).to(torch.float32).div_(127.5).sub_(1)
    if scaled != (height, width):
        frame = torch.nn.functional.interpolate(frame[None], scaled, mode="bicubic", antialias=True)[0].clamp(-1, 1)
        facts.note(f"scaled from {width}x{height} to {scaled[1]}x{scaled[0]}")
    if scaled != target:
        top, left = (scaled[0] - target[0]) // 2, (scaled[1] - target[1]) // 2
        frame = frame[:, top : top + target[0], left : left + target[1]]
        facts.note(f"cropped at the centre to {target[1]}x{target[0]}")
    return frame.contiguous()
