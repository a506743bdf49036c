"""Read and write what Pillow knows: animations, single pictures, folders of pictures."""

from __future__ import annotations

import itertools
import os
import re
import struct
import warnings
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from ..errors import VideoError
from ..files import GENERATOR
from .clip import DEFAULT_FPS
from .read import Facts, Picture, damaged

__all__ = [
    "IMAGE_SUFFIXES",
    "AnimationReader",
    "FolderReader",
    "is_picture",
    "write_folder",
    "write_gif",
    "write_png",
    "write_webp",
]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_DURATION_KEY = "faircut-duration"  # text chunk of our PNGs: seconds as a fraction
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    UnidentifiedImageError,
    Image.DecompressionBombError,
    struct.error,
)


def is_picture(head: bytes) -> bool:
    """Tell from its first bytes whether a file is for Pillow."""
    starts = (b"GIF8", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
    return head.startswith(starts) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path)
    except _UNREADABLE as error:
        raise VideoError(
            f"{path} is not a picture that can be read ({error}); get it again, or leave it out"
        ) from error


def _rgb(image: Image.Image, facts: Facts) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey where it should scale it.
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        if rgba[..., 3].min() < 255:
            facts.note("alpha was laid over black")
        return ((rgba[..., :3].astype(np.uint16) * rgba[..., 3:] + 127) // 255).astype(np.uint8)
    return np.array(image.convert("RGB"))


def _stored_duration(image: Image.Image) -> Fraction | None:
    try:
        value = Fraction(str(image.info[_DURATION_KEY]))
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None


class _Timed:
    """Times by adding up durations."""

    facts: Facts
    _durations: list[Fraction]

    def end_time(self, times: list[Fraction]) -> Fraction:
        """Say when the last frame ends."""
        return times[-1] + self._durations[len(times) - 1] if times else Fraction(0)

    def exact_times(self, times: list[Fraction]) -> list[Fraction]:
        """Leave the times as they are."""
        return times

    def count(self) -> int:
        """Count the frames."""
        return len(self._durations)

    def close(self) -> None:
        """Nothing is held open."""


class AnimationReader(_Timed):
    """Frames of a gif, webp or animated png, or the one frame of a picture."""

    def __init__(self, path: Path, fps: Fraction | None) -> None:
        self._path = path
        self._image = _open(path)
        kind = (self._image.format or "picture").lower()
        still = getattr(self._image, "n_frames", 1) == 1 and not self._image.info.get("duration")
        if fps is not None and not still:
            self.close()
            raise VideoError(
                f"{path} has times of its own; fps= is for folders and pictures. To change speed, write with fps="
            )
        self.facts = Facts(kind, kind, DEFAULT_FPS, (self._image.height, self._image.width))
        self._still = still
        self._durations = []
        self._scan(fps)

    def _scan(self, fps: Fraction | None) -> None:
        if self._still:
            stored = _stored_duration(self._image)
            if fps is None and stored is None:
                self.facts.note(f"a single picture: it stands for 1/{DEFAULT_FPS} s")
            self._durations = [1 / fps if fps else stored or 1 / DEFAULT_FPS]
        for index in range(0 if self._still else getattr(self._image, "n_frames", 1)):
            try:
                self._image.seek(index)
                self._image.load()
            except _UNREADABLE:
                break  # frames() meets it again and says so
            milliseconds = self._image.info.get("duration") or 0
            if milliseconds <= 0:
                self.facts.note("frames of no duration stand for 0.1 s, as players show them")
            self._durations.append(Fraction(milliseconds or 100).limit_denominator(1_000_000) / 1000)
        if self._durations:
            self.facts.fps = len(self._durations) / sum(self._durations, Fraction(0))
        cut = self._path.stat().st_size < _stated_bytes(self._path)
        self.facts.total_frames = None if cut else getattr(self._image, "n_frames", 1)

    def frames(self) -> Iterator[tuple[Fraction, Picture]]:
        """Yield (time in seconds, picture on demand) of every frame as shown."""
        time = Fraction(0)
        for index, duration in enumerate(self._durations):
            try:
                if not self._still:
                    self._image.seek(index)
                self._image.load()
                picture = _rgb(self._image, self.facts)
            except _UNREADABLE as error:
                raise damaged(self._path, str(error), index, getattr(self._image, "n_frames", None)) from error
            yield time, lambda picture=picture: picture  # type: ignore[misc]
            time += duration
        if self.facts.total_frames is None or len(self._durations) < self.facts.total_frames:
            raise damaged(self._path, "the file ends early", len(self._durations), self.facts.total_frames)

    def close(self) -> None:
        """Close the file."""
        self._image.close()


def _stated_bytes(path: Path) -> int:
    """How long the file should be: a RIFF says it, a gif must end with its trailer, others raise by themselves."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            return 8 + int.from_bytes(head[4:8], "little")
        if head[:4] == b"GIF8":
            file.seek(max(0, size - 64))
            return size if file.read().rstrip(b"\0").endswith(b";") else size + 1
    return size


class FolderReader(_Timed):
    """Pictures of a folder, in the natural order of their names (frame2 before frame10)."""

    def __init__(self, path: Path, fps: Fraction | None) -> None:
        self._path = path
        try:
            entries = [
                entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.name[0] != "."
            ]
        except OSError as error:
            raise VideoError(f"{path} cannot be opened: {error.strerror or error}") from error
        if not entries:
            raise VideoError(
                f"{path} holds no pictures: put some of {', '.join(IMAGE_SUFFIXES)} there, or give a video file"
            )
        self._files = sorted(entries, key=_natural)
        stems = [file.stem for file in self._files]
        double = next((a for a, b in itertools.pairwise(stems) if a == b), None)
        if double is not None:
            raise VideoError(f"{path} holds more than one picture named {double!r}: keep one of each name")
        first = _open(self._files[0])
        self.facts = Facts(
            "folder", (first.format or "picture").lower(), fps or DEFAULT_FPS, (first.height, first.width)
        )
        self.facts.total_frames = len(self._files)
        stored = [] if fps else [_stored_duration(_open(file)) for file in self._files]
        known = [duration for duration in stored if duration is not None]
        if len(known) == len(self._files):
            self._durations = known
            self.facts.fps = len(known) / sum(known, Fraction(0))
        else:
            self._durations = [1 / self.facts.fps] * len(self._files)
            if fps is None:
                self.facts.note(f"pictures do not say their rate; {DEFAULT_FPS} fps are assumed (fps= says otherwise)")

    def frames(self) -> Iterator[tuple[Fraction, Picture]]:
        """Yield (time in seconds, picture on demand) of every picture."""
        time, size = Fraction(0), None
        for file, duration in zip(self._files, self._durations, strict=True):
            with _open(file) as image:
                if size is None:
                    size = image.size
                elif image.size != size:
                    raise VideoError(
                        f"{file} is {image.width}x{image.height}, the pictures before it are {size[0]}x{size[1]}: "
                        "a clip needs pictures of one size; scale or remove it"
                    )
            yield time, lambda file=file: self._picture(file)  # type: ignore[misc]
            time += duration

    def _picture(self, file: Path) -> np.ndarray:
        with _open(file) as image:
            try:
                return _rgb(image, self.facts)
            except _UNREADABLE as error:
                raise VideoError(f"{file} is truncated or damaged ({error}); get it again, or leave it out") from error


def _natural(path: Path) -> list[tuple[int, int, str]]:
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", path.stem.lower())
        if part
    ]


def _rounded(times: tuple[Fraction, ...], duration: Fraction, tick: Fraction, least: int, kind: str) -> list[int]:
    """Durations in ticks, rounded so that errors do not add up."""
    marks = [round(time / tick) for time in (*times, duration)]
    lengths = [b - a for a, b in itertools.pairwise(marks)]
    if min(lengths) < least:
        raise VideoError(
            f"a {kind} cannot show frames for less than {float(least * tick):.3f} s: write mp4 "
            f"or webm, or pass fps={1 / (least * tick)}"
        )
    return lengths


def write_png(path: Path, picture: np.ndarray, duration: Fraction) -> None:
    """Write one uint8 (height, width, channel) picture; its duration in seconds goes into a text chunk."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", GENERATOR)
    info.add_text(_DURATION_KEY, str(duration))
    Image.fromarray(picture).save(path, format="png", pnginfo=info, compress_level=4)


def write_folder(path: Path, pictures: np.ndarray, durations: tuple[Fraction, ...]) -> None:
    """Write uint8 (frame, height, width, channel) pictures as 00000.png and so on."""
    path.mkdir()
    for index, (picture, duration) in enumerate(zip(pictures, durations, strict=True)):
        write_png(path / f"{index:05d}.png", picture, duration)


def write_gif(path: Path, pictures: np.ndarray, times: tuple[Fraction, ...], duration: Fraction) -> None:
    """Write a looping gif with one palette for the whole clip, so that what stands still does not flicker.

    FFmpeg's muxer writes it, since Pillow's joins equal neighbours into one frame.

    Args:
        path: the file.
        pictures: uint8 (frame, height, width, channel).
        times: start of each frame in seconds.
        duration: end of the last frame in seconds; times are rounded to 1/100 s.
    """
    ticks = _rounded(times, duration, Fraction(1, 100), 2, "gif")
    height, width = pictures.shape[1:3]
    step = max(1, int(np.sqrt(pictures[..., 0].size / 400_000)))
    sample = pictures[:, ::step, ::step]
    palette = Image.fromarray(sample.reshape(-1, sample.shape[2], 3)).quantize(256, method=Image.Quantize.MEDIANCUT)
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 0] = 255
    entries = np.array(palette.getpalette(), np.uint8).reshape(-1, 3)
    colours[: len(entries), 1:] = entries
    options = {"loop": "0", "final_delay": str(ticks[-1])}
    with av.open(str(path), "w", format="gif", options=options) as container:
        stream = container.add_stream("gif", rate=100)
        stream.width, stream.height, stream.pix_fmt = width, height, "pal8"
        stream.codec_context.time_base = Fraction(1, 100)
        at = 0
        for picture, length in zip(pictures, ticks, strict=True):
            indices = np.array(Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
            frame = av.VideoFrame.from_ndarray((indices, colours), format="pal8")  # type: ignore[arg-type]
            frame.pts, frame.time_base = at, Fraction(1, 100)
            container.mux(stream.encode(frame))
            at += length
        container.mux(stream.encode())
    # A comment before the byte that ends the file; FFmpeg's muxer writes none.
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x21\xfe" + bytes([len(GENERATOR)]) + GENERATOR.encode() + b"\0\x3b")


def write_webp(path: Path, pictures: np.ndarray, times: tuple[Fraction, ...], duration: Fraction, quality: int) -> None:
    """Write a looping webp animation.

    Each frame is encoded by Pillow as a picture of its own and the container is put together here, since libwebp's
    animation encoder joins equal neighbours into one frame.

    Args:
        path: the file.
        pictures: uint8 (frame, height, width, channel).
        times: start of each frame in seconds.
        duration: end of the last frame in seconds; times are rounded to milliseconds.
        quality: 0 to 100; 100 is lossless.
    """
    ticks = _rounded(times, duration, Fraction(1, 1000), 1, "webp")
    height, width = pictures.shape[1:3]

    def chunk(name: bytes, payload: bytes) -> bytes:
        return name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)

    def three(value: int) -> bytes:
        return value.to_bytes(3, "little")

    canvas = three(width - 1) + three(height - 1)
    body = chunk(b"VP8X", b"\x02\0\0\0" + canvas) + chunk(b"ANIM", b"\0\0\0\0" + b"\0\0")
    for picture, length in zip(pictures, ticks, strict=True):
        still = BytesIO()
        Image.fromarray(picture).save(still, format="webp", quality=quality, method=4, lossless=quality == 100)
        # 12 bytes of RIFF header go; flag 2 says: do not blend with the frame before.
        body += chunk(b"ANMF", three(0) + three(0) + canvas + three(length) + b"\x02" + still.getvalue()[12:])
    # Readers pass over chunks that they do not know.
    body += chunk(b"NOTE", GENERATOR.encode())
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body)
