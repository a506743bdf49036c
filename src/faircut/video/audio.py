"""Carry sound over to a written video: copied if the container can hold its codec, and encoded again otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from ..errors import VideoError
from .decode import open_input

__all__ = ["Sound", "SoundError"]

_HELD = {
    "mp4": {"aac", "mp3", "mp3float", "ac3", "eac3", "opus", "libopus", "flac", "alac"},
    "mov": {"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le"},
    "webm": {"opus", "libopus", "vorbis", "libvorbis"},
}
_ENCODERS = {"mp4": "aac", "mov": "aac", "webm": "libopus"}


class SoundError(VideoError):
    """The sound of a source exists but cannot be carried over."""


class Sound:
    """Packets of the first audio stream of a file, from ``start`` for ``duration`` seconds, for a container being
    written.

    Args:
        container: PyAV output container.
        kind: ``mp4``, ``mov`` or ``webm``.
        path: File that contains the sound.
        start: Time on that file's clock at which the written clip begins, in seconds.
        duration: Duration of the written clip in seconds.

    Raises:
        VideoError: If the file does not exist, is not a media file, or has no sound.
        SoundError: If the sound cannot be read or written.
    """

    def __init__(self, container: Any, kind: str, path: Path, start: Fraction, duration: Fraction) -> None:
        if not path.exists():
            raise VideoError(
                f"{path}: no such file to take the sound from; pass audio_from=False to write without sound"
            )
        self._path, self._start, self._end = path, start, start + duration
        self._input = open_input(path, purpose="a source of sound")
        if not self._input.streams.audio:
            self.close()
            raise VideoError(f"{path} has no sound: give another file, or pass audio_from=False to write without sound")
        self._source = self._input.streams.audio[0]
        context = self._source.codec_context
        if context is None or not context.sample_rate or not context.channels:
            self.close()
            raise SoundError(
                f"the sound of {path} has a codec that is not supported; pass audio_from=False to write without it"
            )
        if context.name in _HELD[kind]:
            self._stream = container.add_stream_from_template(self._source)
            if context.name.endswith("vorbis"):
                self._stream.codec_context.extradata = _without_comments(bytes(context.extradata or b""))
            self._packets = self._copied()
        else:
            name = _ENCODERS[kind]
            rate = 48_000 if name == "libopus" else context.sample_rate
            self._stream = container.add_stream(name, rate=rate)
            self._stream.codec_context.layout = "mono" if context.channels == 1 else "stereo"
            self._packets = self._encoded()
        self._container, self._next = container, None

    def write_until(self, time: Fraction | None) -> None:
        """Write the packets that begin before a time, so that the sound is interleaved with the pictures.

        Args:
            time: Time of the clip in seconds. None writes all remaining packets.
        """
        try:
            while True:
                packet = self._next or next(self._packets, None)
                self._next = None
                if packet is None:
                    return
                if time is not None and packet.pts * Fraction(packet.time_base) >= time:
                    self._next = packet
                    return
                self._container.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SoundError(
                f"the sound of {self._path} cannot be carried over ({reason}); pass audio_from=False to leave it out"
            ) from error

    def close(self) -> None:
        """Close the source file."""
        self._input.close()

    def _copied(self) -> Iterator[Any]:
        base = Fraction(self._source.time_base)
        shift = round(self._start / base)
        # An encoder's priming samples come before time 0; they are kept if the clip begins at the start of the file.
        first = self._source.start_time if self._start <= 0 else None
        for packet in self._input.demux(self._source):
            if packet.pts is None or packet.dts is None:
                continue
            if packet.pts * base >= self._end:
                return
            if packet.pts >= shift or (first is not None and packet.pts < 0):
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = self._stream
                yield packet

    def _encoded(self) -> Iterator[Any]:
        context, source = self._stream.codec_context, self._source
        context.open(strict=False)
        graph: Any = None
        clock = Fraction(1, context.sample_rate)
        for frame in self._input.decode(source):
            if frame.pts is not None and frame.pts * Fraction(frame.time_base) >= self._end:
                break
            graph = graph or self._cutter(frame, context)
            graph.push(frame)
            yield from self._pulled(graph, context, clock)
        if graph is not None:
            graph.push(None)
            yield from self._pulled(graph, context, clock)
        for packet in self._stream.encode(None):
            packet.stream = self._stream
            yield packet

    def _cutter(self, frame: Any, context: Any) -> Any:
        graph = av.filter.Graph()
        nodes = [
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=frame.time_base,
            ),
            graph.add("atrim", f"start={float(self._start):.6f}:end={float(self._end):.6f}"),
            graph.add("asetpts", f"PTS-{float(self._start):.6f}/TB"),
            graph.add("aresample", f"{context.sample_rate}"),
            graph.add(
                "aformat",
                f"sample_fmts={context.format.name}:channel_layouts={context.layout.name}"
                f":sample_rates={context.sample_rate}",
            ),
            graph.add("asetnsamples", f"n={context.frame_size or 1024}:p=0"),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        return graph

    def _pulled(self, graph: Any, context: Any, clock: Fraction) -> Iterator[Any]:
        while True:
            try:
                frame = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield from self._stream.encode(frame)


def _without_comments(extradata: bytes) -> bytes:
    """Remove the comments from Vorbis's three headers, because they are tags such as a place or an artist.

    The headers follow one another. Before them come the lengths of the first two, in bytes of which 255 means that more
    follow.
    """
    lengths: list[int] = []
    at = 1
    while len(lengths) < 2:
        length = 0
        while extradata[at : at + 1] == b"\xff":
            length, at = length + 255, at + 1
        length, at = length + int.from_bytes(extradata[at : at + 1]), at + 1
        lengths.append(length)
    first, rest = extradata[at : at + lengths[0]], extradata[at + sum(lengths) :]
    comments = b"\x03vorbis" + bytes(8) + b"\x01"  # no vendor, no comments, the bit that ends the header
    return b"\x02" + b"\xff" * (len(first) // 255) + bytes([len(first) % 255, len(comments)]) + first + comments + rest
