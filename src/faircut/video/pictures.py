"""Read and write the formats that Pillow supports: animations, single pictures and folders of pictures."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from ..errors import VideoError
from ..files import GENERATOR
from .clip import DEFAULT_FPS
from .facts import Facts, Picture, changes_size, damaged, regular_file
from .structure import structure_of

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

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff")
_DURATION_KEY = "faircut-duration"  # Text chunk of faircut's PNG files: seconds as a fraction.
_ORIENTATION = 0x0112  # EXIF tag
# EXIF orientation -> degrees clockwise, then mirrored left to right.
_TURNS = {
    1: (0, False),
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (90, True),
    6: (90, False),
    7: (270, True),
    8: (270, False),
}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags
_FORMATS = ("GIF", "PNG", "WEBP", "AVIF", "JPEG", "BMP", "TIFF")
_PILLOW_LIMIT = threading.RLock()  # Pillow's limit on pixels is global to the process.


def is_picture(path: Path, head: bytes) -> bool:
    """Return whether Pillow can read a file, judging by its first bytes.

    Raises:
        VideoError: If the file is a HEIF picture, which is not supported.
    """
    starts = (b"GIF8", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    if head.startswith(starts) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[4:8] != b"ftyp":
        return False
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(len(head), head[3]), 4))}
    if brands & {b"avif", b"avis"}:
        return True
    if head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
        # FFmpeg would return one uncropped tile as the whole picture.
        raise VideoError(f"{path} is a HEIF picture (heic), which is not supported: save it as jpeg, png or avif first")
    return False


@contextlib.contextmanager
def _pillow(pixels: int) -> Iterator[None]:
    """Apply faircut's limit on pixels to Pillow, without Pillow's warnings.

    Pillow's own limit is the same on every computer: it warns above it, and raises at twice as many pixels.
    """
    with _PILLOW_LIMIT, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max(1, pixels // 2)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _open(path: Path, pixels: int) -> Image.Image:
    regular_file(path, "a picture")
    try:
        with _pillow(pixels):
            return Image.open(path, formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise VideoError(
            f"{path} has more pixels than the {pixels} that fit into half of the free memory: scale it down first"
        ) from error
    except Exception as error:
        # Pillow's plugins raise all kinds of exceptions for a broken file.
        raise VideoError(
            f"{path} is not a picture that can be read ({_reason(error)}); get it again, or leave it out"
        ) from error


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, relative to ``image.size``."""
    if image.format == "TIFF":
        return 1  # Pillow rotates TIFF files itself, and reports the size after the rotation.
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1  # The picture may be intact even if its tags cannot be read.
    return value if value in _TURNS else 1


def _upright(image: Image.Image) -> tuple[int, int]:
    """Return the (height, width) of a picture after it is brought upright."""
    height, width = image.height, image.width
    return (width, height) if _TURNS[_orientation(image)][0] % 180 else (height, width)


class _Unclear(Exception):
    """The values of a picture do not define its brightness."""


def _rgb(image: Image.Image, facts: Facts) -> np.ndarray:
    rotation, mirrored = _TURNS[_orientation(image)]
    if image.mode == "F":
        array = _eight_bits_of_floats(image)
        facts.note("floating values from 0 to 1 were taken as black to white")
    elif image.mode == "I":
        raise _Unclear("signed or 32-bit integers, which do not say what white is: save it with 8 or 16 bits")
    elif image.mode.startswith("I;16"):
        array = _eight_bits_of_sixteen(image)
    else:
        array = _eight_bits(image, facts)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    array = np.rot90(array, k=-rotation // 90)
    return np.array(np.fliplr(array) if mirrored else array)


def _white_is_zero(image: Image.Image) -> bool:
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def _eight_bits_of_floats(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # Also true if a value is NaN.
        raise _Unclear(
            f"floating values from {low:g} to {high:g}, which do not say what white is: save it with 8 or 16 bits, "
            "or with values from 0 to 1"
        )
    values = 1 - values if _white_is_zero(image) else values
    return (values * 255).round().astype(np.uint8)


def _eight_bits_of_sixteen(image: Image.Image) -> np.ndarray:
    # Pillow clips 16-bit grey instead of scaling it, and ignores both 12-bit depth and "0 is white".
    values = np.asarray(image).astype(np.float32)
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
    values *= 255 / (2 ** min(16, bits[0]) - 1)
    values = 255 - values if _white_is_zero(image) else values
    return values.round().clip(0, 255).astype(np.uint8)


def _eight_bits(image: Image.Image, facts: Facts) -> np.ndarray:
    transparent = image.has_transparency_data
    if image.mode not in ("RGB", "RGBA", "L", "CMYK"):
        image = image.convert("RGBA" if transparent else "L" if image.mode == "1" else "RGB")
    image = _to_srgb(image, facts)
    if not transparent:
        return np.asarray(image.convert("RGB"))
    rgba = np.asarray(image.convert("RGBA"))
    if rgba[..., 3].min() < 255:
        facts.note("alpha was laid over black")
    return ((rgba[..., :3].astype(np.uint16) * rgba[..., 3:] + 127) // 255).astype(np.uint8)


def _to_srgb(image: Image.Image, facts: Facts) -> Image.Image:
    """Convert a picture to sRGB by its embedded colour profile, as viewers do."""
    stored = image.info.get("icc_profile")
    if not stored:
        if image.mode == "CMYK":
            facts.note("CMYK without a colour profile was converted plainly")
        return image
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(stored))
        name = " ".join(ImageCms.getProfileDescription(profile).split())
        if "sRGB" in name:
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(
            image,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode=mode,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except Exception as error:
        # The profile is broken or has another colour space than the picture; viewers ignore such profiles too.
        facts.note(f"the colour profile cannot be used ({_reason(error)}): sRGB was assumed")
        return image
    facts.note("colours were converted to sRGB by the picture's own profile")
    return converted or image


def _stored_duration(image: Image.Image) -> Fraction | None:
    try:
        value = Fraction(str(image.info[_DURATION_KEY]))
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None


class _Timed:
    """Frame times as sums of durations, for readers of pictures."""

    facts: Facts
    _durations: list[Fraction]

    def end_time(self, times: list[Fraction]) -> Fraction:
        """Return when the last frame ends, in seconds."""
        return times[-1] + self._durations[len(times) - 1] if times else Fraction(0)

    def exact_times(self, times: list[Fraction]) -> list[Fraction]:
        """Return the times unchanged."""
        return times

    def count(self) -> int:
        """Count the frames."""
        return len(self._durations)

    def close(self) -> None:
        """Do nothing, because no file is open."""


class AnimationReader(_Timed):
    """Reader of the frames of a gif, webp, avif or animated png, of the pages of a tiff, or of a single picture."""

    def __init__(self, path: Path, fps: Fraction | None, pixels: int) -> None:
        self._path, self._pixels = path, pixels
        self._structure = structure_of(path)
        if self._structure is not None and math.prod(self._structure.size) > pixels:
            # The frames of a gif may be larger than its stated canvas.
            height, width = self._structure.size
            raise VideoError(
                f"{path} has frames of {width}x{height}, and at most {pixels} pixels fit into half of the free memory: "
                "scale it down first"
            )
        self._image = _open(path, pixels)
        try:
            self._begin(fps)
        except BaseException:
            self.close()
            raise

    def _begin(self, fps: Fraction | None) -> None:
        image = self._image
        kind = (image.format or "picture").lower()
        if kind == "mpo":
            kind = "jpeg"  # A phone's jpeg with a preview or a gain map after the picture.
        with _pillow(self._pixels):
            # Pillow counts the frames of a gif by reading all of it; the structure has counted them already.
            count = 1 if kind == "jpeg" else self._stated_frames()
        # A default picture, for players without animations, is not part of the animation.
        self._first = int(bool(getattr(image, "default_image", False)) and count > 1)
        self._count = count - self._first
        timeless = kind == "tiff" or (count == 1 and not image.info.get("duration"))
        if fps is not None and not timeless:
            raise VideoError(
                f"{self._path} has its own frame times; fps= is for folders and pictures. To change the speed, "
                "write with fps="
            )
        self.facts = Facts(kind, kind, fps or DEFAULT_FPS, (image.height, image.width), total_frames=self._count)
        self.facts.turn(*_TURNS[_orientation(image)])
        self._pace = None
        if timeless:
            stored = _stored_duration(image) if count == 1 else None
            if fps is None and stored is None:
                alone = count == 1
                self.facts.note(
                    f"a single picture: it stands for 1/{DEFAULT_FPS} s"
                    if alone
                    else f"pages do not say their rate; {DEFAULT_FPS} fps are assumed (fps= says otherwise)"
                )
            self._pace = 1 / fps if fps else stored or 1 / DEFAULT_FPS
            self.facts.fps = 1 / self._pace
        self._durations = []

    def _stated_frames(self) -> int:
        if self._image.format == "GIF" and self._structure is not None:
            return max(1, self._structure.frames)
        try:
            return max(1, int(getattr(self._image, "n_frames", 1)))
        except Exception:
            return 1  # frames() raises the error.

    def frames(self) -> Iterator[tuple[Fraction, Picture]]:
        """Yield (time in seconds, function that returns the picture) of each frame in display order."""
        time, image = Fraction(0), self._image
        whole, fault = self._count, None
        if self._structure is not None and self._structure.fault is not None:
            # After the complete frames, decoders return invented content.
            whole, fault = min(whole, max(0, self._structure.frames - self._first)), self._structure.fault
        for index in range(whole):
            try:
                with _pillow(self._pixels):
                    if self._count + self._first > 1:
                        image.seek(self._first + index)
                    size = (image.height, image.width)
                    if index and size != self.facts.size:
                        raise changes_size(self._path, index, self.facts.size, size)
                    self.facts.size = size
                    if math.prod(size) > self._pixels:
                        raise VideoError(f"{self._path} has {size[1]}x{size[0]} pixels, too many for the free memory")
                    image.load()
                duration = self._duration()
            except VideoError:
                raise
            except Exception as error:
                raise damaged(self._path, _reason(error), index, self._stated()) from error
            self._durations.append(duration)
            if self._pace is None:
                self.facts.fps = len(self._durations) / sum(self._durations, Fraction(0))
            yield time, lambda index=index: self._picture(index)  # type: ignore[misc]
            time += duration
        if fault is not None:
            raise damaged(self._path, fault, whole, self._stated())

    def _stated(self) -> int | None:
        # A gif does not state its number of frames.
        return None if self._image.format == "GIF" else self._count

    def _duration(self) -> Fraction:
        if self._pace is not None:
            return self._pace
        milliseconds = self._image.info.get("duration") or 0
        if not milliseconds > 0:
            self.facts.note("frames of no duration stand for 0.1 s, as players show them")
            milliseconds = 100
        return Fraction(milliseconds).limit_denominator(1_000_000) / 1000

    def _picture(self, index: int) -> np.ndarray:
        try:
            with _pillow(self._pixels):
                return _rgb(self._image, self.facts)
        except _Unclear as error:
            raise VideoError(f"{self._path} holds {error}") from error
        except Exception as error:
            raise damaged(self._path, _reason(error), index, self._stated()) from error

    def count(self) -> int:
        """Count the frames."""
        return self._count

    def close(self) -> None:
        """Close the file."""
        self._image.close()


class FolderReader(_Timed):
    """Reader of the pictures in a folder, in the natural order of their names (frame2 before frame10)."""

    def __init__(self, path: Path, fps: Fraction | None, pixels: int) -> None:
        self._path, self._pixels = path, pixels
        self._size: tuple[int, int] | None = None
        try:
            entries = [
                entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.name[0] != "."
            ]
        except OSError as error:
            raise VideoError(f"{path} cannot be opened: {error.strerror or error}") from error
        if not entries:
            raise VideoError(
                f"{path} contains no pictures ({', '.join(IMAGE_SUFFIXES)}): add pictures, or give a video file"
            )
        self._files = sorted(entries, key=_natural)
        stems = [file.stem for file in self._files]
        duplicate = next((a for a, b in itertools.pairwise(stems) if a == b), None)
        if duplicate is not None:
            raise VideoError(f"{path} contains more than one picture named {duplicate!r}: keep one of each name")
        for file in self._files:
            regular_file(file, "a picture of a clip")
        with _open(self._files[0], pixels) as first:
            self.facts = Facts(
                "folder", (first.format or "picture").lower(), fps or DEFAULT_FPS, (first.height, first.width)
            )
            self.facts.turn(*_TURNS[_orientation(first)])
        self.facts.total_frames = len(self._files)
        stored = [] if fps else [self._stored(file) for file in self._files]
        durations = [duration for duration in stored if duration is not None]
        if len(durations) == len(self._files):
            self._durations = durations
            self.facts.fps = len(durations) / sum(durations, Fraction(0))
        else:
            self._durations = [1 / self.facts.fps] * len(self._files)
            if fps is None:
                self.facts.note(f"pictures do not say their rate; {DEFAULT_FPS} fps are assumed (fps= says otherwise)")

    def _stored(self, file: Path) -> Fraction | None:
        try:
            with _open(file, self._pixels) as image:
                return _stored_duration(image)
        except VideoError:
            return None  # The error is raised when the picture is read.

    def frames(self) -> Iterator[tuple[Fraction, Picture]]:
        """Yield (time in seconds, function that returns it) of each picture. Skipped pictures are not opened."""
        time = Fraction(0)
        for file, duration in zip(self._files, self._durations, strict=True):
            yield time, lambda file=file: self._picture(file)  # type: ignore[misc]
            time += duration

    def _picture(self, file: Path) -> np.ndarray:
        structure = structure_of(file)
        fault = structure.fault if structure is not None else None
        if fault is None:
            with _open(file, self._pixels) as image:
                self._check_size(file, _upright(image))
                try:
                    with _pillow(self._pixels):
                        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                            raise _Unclear("more than one picture: save each one as a file")
                        if _orientation(image) != 1:
                            self.facts.note("pictures were turned upright, as they say")
                        return _rgb(image, self.facts)
                except _Unclear as error:
                    raise VideoError(f"{file} holds {error}") from error
                except Exception as error:
                    fault = _reason(error)
        raise VideoError(f"{file} is truncated or damaged ({fault}); get it again, or leave it out")

    def _check_size(self, file: Path, size: tuple[int, int]) -> None:
        before = self._size = self._size or size
        if size != before:
            raise VideoError(
                f"{file} is {size[1]}x{size[0]}, the pictures before it are {before[1]}x{before[0]}: "
                "a clip needs pictures of one size; scale or remove it"
            )


def _natural(path: Path) -> list[tuple[int, int, str]]:
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", path.stem.lower())
        if part
    ]


def _rounded(
    times: tuple[Fraction, ...], duration: Fraction, tick: Fraction, least: int, most: int, kind: str
) -> list[int]:
    """Return durations in ticks, rounded so that the errors do not add up.

    Args:
        times: Start of each frame in seconds.
        duration: End of the last frame in seconds.
        tick: Length of a tick in seconds.
        least: Minimum duration in ticks.
        most: Maximum duration in ticks.
        kind: Format, for the error message.

    Raises:
        VideoError: If a duration is not possible in the format.
    """
    marks = [round(time / tick) for time in (*times, duration)]
    lengths = [b - a for a, b in itertools.pairwise(marks)]
    if min(lengths) < least:
        raise VideoError(
            f"a {kind} cannot show frames for less than {float(least * tick):.3f} s: write mp4 "
            f"or webm, or pass fps={1 / (least * tick)}"
        )
    if max(lengths) > most:
        raise VideoError(f"a {kind} cannot show a frame for more than {float(most * tick):.0f} s: write mp4 or webm")
    return lengths


def write_png(path: Path, picture: np.ndarray, duration: Fraction) -> None:
    """Write one uint8 (height, width, channel) picture. Its duration in seconds is stored in a text chunk."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", GENERATOR)
    info.add_text(_DURATION_KEY, str(duration))
    Image.fromarray(picture).save(path, format="png", pnginfo=info, compress_level=4)


def write_folder(path: Path, pictures: np.ndarray, durations: tuple[Fraction, ...]) -> None:
    """Write uint8 (frame, height, width, channel) pictures as 00000.png and so on, with their durations in seconds."""
    path.mkdir()
    for index, (picture, duration) in enumerate(zip(pictures, durations, strict=True)):
        write_png(path / f"{index:05d}.png", picture, duration)


def write_gif(path: Path, pictures: np.ndarray, times: tuple[Fraction, ...], duration: Fraction, note: str) -> None:
    """Write a looping gif. The whole clip has one palette, so that still areas do not flicker.

    FFmpeg's muxer writes it, because Pillow merges equal neighbouring frames.

    Args:
        path: Path of the file.
        pictures: uint8 (frame, height, width, channel).
        times: Start of each frame in seconds.
        duration: End of the last frame in seconds. All times are rounded to 1/100 s.
        note: Comment of the file, ASCII, at most 255 characters.
    """
    ticks = _rounded(times, duration, Fraction(1, 100), 2, 0xFFFF, "gif")
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
    # FFmpeg's muxer writes no comment, so it is inserted before the byte that ends the file.
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x21\xfe" + bytes([len(note)]) + note.encode() + b"\0\x3b")


def write_webp(
    path: Path, pictures: np.ndarray, times: tuple[Fraction, ...], duration: Fraction, quality: int, note: str
) -> None:
    """Write a looping webp animation.

    Pillow encodes each frame as a picture, and this function assembles the container, because libwebp's animation
    encoder merges equal neighbouring frames.

    Args:
        path: Path of the file.
        pictures: uint8 (frame, height, width, channel).
        times: Start of each frame in seconds.
        duration: End of the last frame in seconds. All times are rounded to milliseconds.
        quality: 0 to 100; 100 is lossless.
        note: Comment of the file.
    """
    ticks = _rounded(times, duration, Fraction(1, 1000), 1, 0xFFFFFF, "webp")
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
        # The 12 bytes of the RIFF header are cut off. Flag 2 means: do not blend with the previous frame.
        body += chunk(b"ANMF", three(0) + three(0) + canvas + three(length) + b"\x02" + still.getvalue()[12:])
    # Readers skip chunks that they do not know.
    body += chunk(b"NOTE", note.encode())
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body)
