"""Decode video files with PyAV: exact frame times, upright pictures, and the intended colours."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from ..errors import VideoError
from .facts import Facts, Picture, changes_size, damaged, regular_file

__all__ = ["QUALITY_FLAGS", "ContainerReader", "open_input"]

# Without these flags, swscale's colours are wrong by up to 3/255 in exchange for speed.
QUALITY_FLAGS = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)

# Only real video formats and local files: FFmpeg would otherwise play a text file as a terminal recording, and follow
# the addresses in a playlist.
_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,h264,hevc,obu,"
    "m4v,yuv4mpegpipe,mxf,nut,wav,mp3,flac,aac",
    "protocol_whitelist": "file",
}
# Raw streams without a container: their demuxers assume 25 frames per second, whatever the stream itself says.
_RAW = {"h264", "hevc", "mpegvideo", "m4v", "obu"}

# AVCOL_SPC_* of a frame -> name of the matrix in swscale.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_HDR = {16: "PQ", 18: "HLG"}  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_INT_MAX = 2**31 - 1
_ASSUMED_RATE = 25  # Frame rate of a stream that states none.
_COARSE = Fraction(1, 2000)  # A clock with longer ticks than this cannot represent 30 fps well enough.


def open_input(path: Path, pixels: int | None = None, purpose: str = "a clip") -> Any:
    """Open a media file for reading.

    Args:
        path: Path of the file. Other files that it refers to are not opened.
        pixels: Maximum number of pixels in a frame. None for FFmpeg's own limit.
        purpose: What the file is used as, for error messages.

    Raises:
        VideoError: If the file is not a video, or is too damaged to be opened.
    """
    regular_file(path, purpose)
    options = dict(_OPTIONS) if pixels is None else {**_OPTIONS, "max_pixels": str(min(pixels, _INT_MAX))}
    try:
        # Without the protocol, FFmpeg would take a name such as "concat:a" or "http:b.mp4" for an address.
        return av.open(f"file:{os.path.abspath(path)}", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "log", None)
        detail = f" ({reason[2].strip()})" if reason else ""
        raise VideoError(
            f"{path} is not a video that can be read{detail}: it has another format, or its beginning or index is "
            "missing. Possible: mp4, mov, webm, mkv, avi and the like, gif, webp, a picture, a folder of pictures"
        ) from error


class ContainerReader:
    """Reader of the frames of a video file."""

    def __init__(self, path: Path, fps: Fraction | None, pixels: int) -> None:
        self._path, self._pixels = path, pixels
        self._container = open_input(path, pixels)
        try:
            self._stream = self._find_stream()
            self.facts = self._find_facts(fps)
        except BaseException:
            self._container.close()
            raise
        self._last_length: Fraction | None = None
        # True if the frames have no times of their own. They then follow one another at the stated rate.
        self._paced = fps is not None or self._container.format.name in _RAW

    def _find_stream(self) -> Any:
        # FFmpeg also calls the cover of an audio file, thumbnails and the still of an animated picture "video" streams.
        stills = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
        streams = [s for s in self._container.streams.video if not s.disposition & stills]
        if not streams:
            pictures = " and cover pictures" if self._container.streams.video else ""
            kinds = {stream.type for stream in self._container.streams if stream.type != "video"}
            only = (", ".join(sorted(kinds)) + pictures).removeprefix(" and ") or "no streams at all"
            raise VideoError(f"{self._path} has no video stream (only: {only}): give a file with pictures")
        best = self._container.streams.best("video")
        stream = best if best in streams else streams[0]
        if stream.codec_context is None:
            raise VideoError(f"{self._path}: its video codec is not supported; convert it to h264 or vp9 first")
        # With frame threads it is random whether FFmpeg marks the partial frame at the end of a raw or transport stream
        # that ends early as corrupt. Other containers say where their frames end.
        stream.thread_type = "SLICE" if self._container.format.name in {"mpegts", "mpeg", *_RAW} else "AUTO"
        return stream

    def _find_facts(self, fps: Fraction | None) -> Facts:
        stream, container = self._stream, self._container
        names = container.format.name.split(",")
        suffix = self._path.suffix.lower().lstrip(".")
        if container.format.name in _RAW:
            rate = stream.codec_context.framerate
        else:
            rate = stream.average_rate or stream.guessed_rate
        if fps is not None and rate:
            raise VideoError(
                f"{self._path} has its own frame times; fps= is for folders and pictures. To change the speed, "
                "write with fps="
            )
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
        facts = Facts(
            container=suffix if suffix in names else "webm" if suffix == "webm" else names[0],
            codec=stream.codec_context.name.replace("libdav1d", "av1"),
            fps=Fraction(fps or rate or _ASSUMED_RATE),
            size=(stream.codec_context.height, stream.codec_context.width),
            pixel_aspect=Fraction(aspect) if aspect > 0 else Fraction(1),
            audio=bool(container.streams.audio),
            total_frames=stream.frames or None,
        )
        others = len([s for s in container.streams.video if not s.disposition & Disposition.attached_pic]) - 1
        if others:
            facts.note(f"the file has {others + 1} video streams; number {stream.index} was read")
        if fps is None and not rate and container.format.name in _RAW:
            facts.note(f"the stream does not say its rate; {_ASSUMED_RATE} fps are assumed (fps= says otherwise)")
        return facts

    def frames(self) -> Iterator[tuple[Fraction, Picture]]:
        """Yield (time in seconds, function that returns the picture) of each frame in display order."""
        shape: tuple[int, int] | None = None
        for count, frame in enumerate(self._decoded()):
            if shape is None:
                shape = self.facts.size = (frame.height, frame.width)
                self._orient(frame)
            elif shape != (frame.height, frame.width):
                raise changes_size(self._path, count, shape, (frame.height, frame.width))
            base = frame.time_base or self._stream.time_base
            self._paced |= frame.pts is None
            time = count / self.facts.fps if self._paced else frame.pts * Fraction(base)
            length = getattr(frame, "duration", None)
            self._last_length = length * Fraction(base) if length and not self._paced else None
            yield time, lambda frame=frame: self._picture(frame)  # type: ignore[misc]

    def _decoded(self) -> Iterator[Any]:
        """Yield the decoded frames. If the source ends early or is damaged, raise after its last good frame."""
        context, count, packets, reason = self._stream.codec_context, 0, 0, None
        tags = {key.lower(): value for key, value in self._stream.metadata.items()}
        if tags.get("alpha_mode") == "1" and self.facts.codec in ("vp8", "vp9"):
            # FFmpeg's own decoder drops alpha; libvpx's decoder supports it.
            context = av.CodecContext.create({"vp8": "libvpx", "vp9": "libvpx-vp9"}[self.facts.codec], "r")
        context.options = {**context.options, "max_pixels": str(min(self._pixels, _INT_MAX))}
        demuxed = self._container.demux(self._stream)
        while True:
            batch: list[Any] = []
            packet: Any = None
            try:
                packet = next(demuxed, None)
                if packet is not None and packet.size:
                    if _is_encrypted(packet):
                        raise VideoError(f"{self._path} is encrypted: give a copy without protection")
                    if packet.is_corrupt:
                        reason = "a packet is incomplete"
                    else:
                        batch = context.decode(packet)
                        packets += 1
            except av.error.FFmpegError as error:
                reason = getattr(error, "strerror", None) or str(error)
                if isinstance(error, av.error.ArgumentError):  # The decoder's error for max_pixels, among other things.
                    reason += f"; frames of more than {self._pixels} pixels do not fit into half of the free memory"
            done = packet is None or not packet.size or reason is not None
            if done:
                # The frames still in the decoder came from good packets.
                try:
                    batch = [*batch, *context.decode(None)]
                except av.error.FFmpegError as error:
                    reason = reason or getattr(error, "strerror", None) or str(error)
            for frame in batch:
                if frame.is_corrupt:
                    reason, done = reason or f"frame {count} is corrupt", True
                    break
                count += 1
                yield frame
            if done:
                break
        stated = len(self._stream.index_entries) if self._stream.frames else 0
        if reason is None and packets < stated:
            reason = "the file ends early"
        if reason is None:
            missing = _missing_bytes(self._path)
            reason = f"{missing} bytes are missing at its end" if missing else None
        if reason is None and self._container.format.name in ("ivf", "mxf") and self._stream.duration:
            # These formats state their length in frames or ticks, and FFmpeg stops earlier without an error.
            stated = round(self._stream.duration * self._stream.time_base * self.facts.fps)
            reason = f"it states {stated} frames" if packets < stated else None
        if reason is not None:
            raise damaged(self._path, reason, count, self._stream.frames or None)

    def _orient(self, frame: Any) -> None:
        facts = self.facts
        matrix = _display_matrix(frame)
        if matrix is None:
            # The angle alone cannot tell a mirrored picture from a rotated one; cameras usually rotate.
            rotation, mirrored, skewed = round(-frame.rotation / 90) * 90 % 360, False, False
            facts.note("the angle is of its Exif, which does not say here whether the pictures are mirrored")
        else:
            rotation, mirrored, skewed = _orientation(matrix)
        facts.turn(rotation, mirrored)
        if skewed:
            facts.note(f"the file turns its pictures by another angle, which was rounded to {rotation} degrees")
        if facts.pixel_aspect != 1:
            facts.note(f"pixels of aspect {facts.pixel_aspect} were resampled to square ones")
        if frame.interlaced_frame:
            facts.note("interlaced: the two fields of a frame are shown woven, not separated")
        if frame.colorspace not in _MATRICES and not _is_rgb(frame):
            facts.note(f"no colour matrix is named; {_matrix(frame).name} is assumed from the size")
        if frame.color_trc in _HDR:
            facts.note(f"high dynamic range ({_HDR[frame.color_trc]}) was converted to the standard range")
        if "a" in frame.format.name.removeprefix("gray").split("p")[0]:
            facts.note("alpha was laid over black")

    def _picture(self, frame: Any) -> np.ndarray:
        height, width = frame.height, max(1, round(frame.width * self.facts.pixel_aspect))
        rgb = _is_rgb(frame)
        full = rgb or frame.color_range == 2 or frame.format.name.startswith("yuvj")
        alpha = "alpha was laid over black" in self.facts.notes
        options: dict[str, Any] = {}
        if not rgb:
            options = {
                "src_colorspace": _matrix(frame),
                "src_color_range": ColorRange.JPEG if full else ColorRange.MPEG,
                "dst_color_range": ColorRange.JPEG,
            }
        if frame.color_trc in _HDR:
            options |= {"dst_color_trc": 1, "dst_color_primaries": 1}
        picture = frame.reformat(
            width, height, "rgba" if alpha else "rgb24", interpolation=QUALITY_FLAGS, **options
        ).to_ndarray()
        if alpha:
            picture = (picture[..., :3].astype(np.uint16) * picture[..., 3:] + 127) // 255
        picture = np.rot90(picture.astype(np.uint8, copy=False), k=-self.facts.rotation // 90)
        return np.ascontiguousarray(np.fliplr(picture) if self.facts.mirrored else picture)

    def end_time(self, times: list[Fraction]) -> Fraction:
        """Return the end of the last frame in seconds.

        It comes from the stream if that states it, otherwise from the length of the last frame, otherwise from the
        length of the frame before it.

        Args:
            times: Times of all frames of the source, in seconds.
        """
        if not times:
            return Fraction(0)
        stream, last = self._stream, times[-1]
        if self._paced:
            return last + 1 / self.facts.fps
        if stream.duration and stream.frames:
            end = ((stream.start_time or 0) + stream.duration) * Fraction(stream.time_base)
            if end > last:
                return end
        tag = next((text for key, text in stream.metadata.items() if key.upper().startswith("DURATION")), "")
        end = _clock(tag)
        if end > last:
            return end
        if self._last_length:
            return last + self._last_length
        return last + (times[-1] - times[-2] if len(times) > 1 else 1 / self.facts.fps)

    def exact_times(self, times: list[Fraction]) -> list[Fraction]:
        """Undo the rounding of a millisecond clock if all times follow a constant frame rate.

        Times that do not rise are ignored: such frames follow one another at the stated rate.

        Args:
            times: Times of all frames of the source, in seconds.
        """
        if self._paced or any(b <= a for a, b in itertools.pairwise(times)):
            if not self._paced:
                self.facts.note(f"its times do not rise; {float(self.facts.fps):.3f} fps, its stated rate, are taken")
            return [times[0] + index / self.facts.fps for index in range(len(times))]
        tick = Fraction(self._stream.time_base)
        rate = self._stream.average_rate or self._stream.guessed_rate
        if tick < _COARSE or not rate:
            return times
        exact = [times[0] + index / Fraction(rate) for index in range(len(times))]
        return exact if all(abs(a - b) <= tick for a, b in zip(exact, times, strict=True)) else times

    def count(self) -> int:
        """Count the packets, which is much faster than decoding. Each packet is one frame."""
        with open_input(self._path, self._pixels) as container:
            return sum(1 for packet in container.demux(container.streams[self._stream.index]) if packet.size)

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _display_matrix(frame: Any) -> bytes | None:
    """Return the display matrix of a frame as bytes, or empty bytes if it has none.

    Returns None if PyAV cannot read the side data of the frame. PyAV 18.1 raises for Exif side data, as in motion JPEG,
    and then returns none of it (findings/pyav-exif-side-data.sh).
    """
    try:
        return next((bytes(side) for side in frame.side_data if side.type.name == "DISPLAYMATRIX"), b"")
    except ValueError:
        return None


def _orientation(data: bytes) -> tuple[int, bool, bool]:
    """Read a display matrix: clockwise rotation in degrees, whether it mirrors left to right after that, and whether it
    is skewed.

    The matrix maps a stored point (x, y) to (a x + c y, b x + d y). The larger of the pairs (a, d) and (b, c) decides,
    so that every matrix counts as one of the eight possible orientations.
    """
    if len(data) < 36:
        return 0, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", data[:36])
    if not (a or b or c or d):
        return 0, False, False
    upright = abs(a) + abs(d) >= abs(b) + abs(c)
    large, small = ((a, d), (b, c)) if upright else ((c, b), (a, d))
    # Whether the picture is flipped left to right and upside down, after x and y have been exchanged or not.
    flipped, inverted = large[0] < 0, large[1] < 0
    rotation, mirrored = {
        (True, False, False): (0, False),
        (True, True, True): (180, False),
        (True, True, False): (0, True),
        (True, False, True): (180, True),
        (False, True, False): (90, False),
        (False, False, True): (270, False),
        (False, False, False): (90, True),
        (False, True, True): (270, True),
    }[upright, flipped, inverted]
    return rotation, mirrored, max(map(abs, small)) * 50 > max(map(abs, large))


def _is_encrypted(packet: Any) -> bool:
    return packet.has_sidedata("encryption_info")


def _is_rgb(frame: Any) -> bool:
    return frame.format.is_rgb or frame.colorspace == 0


def _matrix(frame: Any) -> Colorspace:
    named = _MATRICES.get(frame.colorspace)
    if named is not None:
        return named
    return Colorspace.ITU709 if frame.height >= 720 or frame.width >= 1280 else Colorspace.ITU601


def _clock(text: str) -> Fraction:
    """Return the seconds of a text such as ``00:01:02.345``, or 0 for any other text."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except ValueError:
        return Fraction(0)


def _missing_bytes(path: Path) -> int:
    """Return how many bytes are missing from a Matroska, RIFF, MPEG-TS or YUV4MPEG file, by the sizes it states."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:1] == head[188:189] == head[376:377] == b"G":
        return -size % 188  # Size of an MPEG-TS packet.
    if head.startswith(b"YUV4MPEG2 "):
        return _missing_of_y4m(head, size)
    if head[:4] == b"RIFF":
        return max(0, 8 + int.from_bytes(head[4:8], "little") - size)
    if head[:4] != b"\x1a\x45\xdf\xa3":
        return 0
    length, used = _ebml_size(head, 4)
    at = 4 + used + length
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return 0
    length, used = _ebml_size(head, at + 4)
    unknown = length == (1 << 7 * used) - 1
    return 0 if unknown else max(0, at + 4 + used + length - size)


def _missing_of_y4m(head: bytes, size: int) -> int:
    """Return how many bytes of the last frame of a YUV4MPEG file are missing; 0 if its frames can vary in length."""
    line = head.partition(b"\n")[0]
    fields = {field[:1]: field[1:] for field in line.split()[1:]}
    chroma = fields.get(b"C", b"420")
    samples = {b"420": Fraction(3, 2), b"422": Fraction(2), b"444": Fraction(3), b"mono": Fraction(1)}
    name = next((name for name in samples if chroma.startswith(name)), None)
    even = all(fields.get(side, b"").isdigit() and int(fields[side]) % 2 == 0 for side in (b"W", b"H"))
    if name is None or not even or b"p1" in chroma or b"alpha" in chroma:
        return 0
    frame = len(b"FRAME\n") + int(int(fields[b"W"]) * int(fields[b"H"]) * samples[name])
    return -(size - len(line) - 1) % frame if head[len(line) + 1 :].startswith(b"FRAME\n") else 0


def _ebml_size(data: bytes, at: int) -> tuple[int, int]:
    """Return the value of the variable-length number at ``at``, and its length in bytes."""
    first = data[at] if at < len(data) else 0x80
    used = 9 - first.bit_length()
    value = int.from_bytes(data[at : at + used], "big") & ((1 << 7 * used) - 1)
    return value, used
