"""Count the complete frames of a picture or an animation from its file structure, without decoding.

Decoders handle incomplete files differently: some raise, some stop early without an error, some fill in grey. The
structure tells in advance how many frames are complete.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Structure", "structure_of"]


@dataclass(frozen=True)
class Structure:
    """The complete content of a file.

    Attributes:
        frames: Number of complete frames.
        fault: Why no further frames can be read, or None if the file is complete.
        size: (height, width) in pixels that contains every frame.
    """

    frames: int
    fault: str | None
    size: tuple[int, int]


_ENDS_EARLY = "the file ends early"


class _Broken(Exception):
    """The structure ends here. The message is the reason."""


def structure_of(path: Path) -> Structure | None:
    """Count the complete frames of a gif, png or webp file.

    Args:
        path: Path of the file.

    Returns:
        Its structure. None for files of other kinds, whose decoders raise where data is missing.
    """
    with path.open("rb") as file:
        head = file.read(12)
        walk: Callable[[BinaryIO], Iterator[tuple[int, int]]]
        if head.startswith(b"GIF8"):
            walk = _gif
        elif head.startswith(b"\x89PNG"):
            walk = _png
        elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            walk = _webp
        else:
            return None
        frames, fault, height, width = -1, None, 0, 0
        try:
            for frames, (bottom, right) in enumerate(walk(file)):  # noqa: B007
                height, width = max(height, bottom), max(width, right)
        except _Broken as error:
            fault = str(error)
        return Structure(max(0, frames), fault, (height, width))


def _read_exactly(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    data = file.read(length)
    if len(data) < length:
        raise _Broken(_ENDS_EARLY)
    return data


# Each of these functions yields the (height, width) of the canvas, then the (bottom, right) of every complete frame.


def _gif(file: BinaryIO) -> Iterator[tuple[int, int]]:
    head = _read_exactly(file, 0, 13)
    yield int.from_bytes(head[8:10], "little"), int.from_bytes(head[6:8], "little")
    at = 13 + _palette_bytes(head[10])
    while True:
        kind = _read_exactly(file, at, 1)[0]
        if kind == 0x3B:
            return
        if kind == 0x21:
            at = _after_blocks(file, at + 2)
        elif kind == 0x2C:
            box = _read_exactly(file, at, 10)
            left, top, width, height = (int.from_bytes(box[i : i + 2], "little") for i in (1, 3, 5, 7))
            at = _after_blocks(file, at + 11 + _palette_bytes(box[9]))
            yield top + height, left + width
        elif kind == 0:
            at += 1  # Padding between blocks, which players skip.
        else:
            raise _Broken(f"byte {at} begins neither a frame nor an extension nor the end of the file")


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(file: BinaryIO, at: int) -> int:
    while True:
        length = _read_exactly(file, at, 1)[0]
        at += 1 + length
        if not length:
            return at


def _png(file: BinaryIO) -> Iterator[tuple[int, int]]:
    at, begun, animated, header = 8, False, False, (0, 0)
    while True:
        length = int.from_bytes(_read_exactly(file, at, 4), "big")
        kind = _read_exactly(file, at + 4, 4)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"fdAT", b"fcTL", b"acTL", b"IEND"):
            checksum = _checksum(file, at + 4, 4 + length)
            if checksum != int.from_bytes(_read_exactly(file, at + 8 + length, 4), "big"):
                raise _Broken(f"the checksum of its chunk {kind.decode()} at byte {at} is wrong")
        if kind == b"IHDR":
            width, height = (int.from_bytes(_read_exactly(file, at + i, 4), "big") for i in (8, 12))
            header = (height, width)
            yield header
        elif kind == b"acTL":
            animated = True
        elif kind == b"fcTL" and animated:
            if begun:
                yield header
            begun = False
        elif kind in (b"IDAT", b"fdAT"):
            begun = True
        elif kind == b"IEND":
            if begun:
                yield header
            return
        at += 12 + length


def _checksum(file: BinaryIO, at: int, length: int) -> int:
    value = 0
    for start in range(at, at + length, 1 << 20):
        value = zlib.crc32(_read_exactly(file, start, min(1 << 20, at + length - start)), value)
    return value


def _webp(file: BinaryIO) -> Iterator[tuple[int, int]]:
    # The size of a still picture is in its bitstream, which Pillow reads before it allocates memory, so 0 is enough
    # here.
    yield 0, 0
    at, end = 12, 8 + int.from_bytes(_read_exactly(file, 4, 4), "little")
    while at + 8 <= end:
        kind, length = _read_exactly(file, at, 4), int.from_bytes(_read_exactly(file, at + 4, 4), "little")
        if length:
            _read_exactly(file, at + 8 + length - 1, 1)
        if kind in (b"ANMF", b"VP8 ", b"VP8L"):
            yield 0, 0
        at += 8 + length + length % 2
    _read_exactly(file, end - 1, 1)
