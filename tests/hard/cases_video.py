"""Clips that are no clips, are broken, enormous, turned, tagged, or named like something else."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable
from io import BytesIO

import av
import numpy as np
from PIL import Image

from .corpus import Case, World, edit

LEVELS = (30, 90, 150)
OUT = ("out.*",)


def picture(level: int, height: int = 32, width: int = 48) -> Image.Image:
    """A grey picture with one bright corner."""
    array = np.full((height, width, 3), level, np.uint8)
    array[: height // 2, : width // 2] = 230
    return Image.fromarray(array)


def animation(kind: str, **options: object) -> bytes:
    """Three grey frames as gif, png, webp, avif or tiff."""
    stream = BytesIO()
    first, *others = (picture(level) for level in LEVELS)
    first.save(stream, format=kind, save_all=True, append_images=others, **({"duration": 125} | options))
    return stream.getvalue()


def video(kind: str, codec: str = "libx264", tags: dict[str, str] | None = None) -> bytes:
    """Three grey frames in a container of FFmpeg."""
    stream = BytesIO()
    with av.open(stream, "w", format=kind) as container:
        container.metadata.update(tags or {})
        track = container.add_stream(codec, rate=8)
        track.width, track.height, track.pix_fmt = 48, 32, "yuv420p"
        for level in LEVELS:
            frame = av.VideoFrame.from_ndarray(np.array(picture(level)), format="rgb24").reformat(format="yuv420p")
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return stream.getvalue()


def gif_of(width: int, height: int) -> bytes:
    """A gif of a few bytes that declares its size."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00\x3b"


def still(mode: str, size: tuple[int, int], colour: object, kind: str = "png", **options: object) -> bytes:
    stream = BytesIO()
    Image.new(mode, size, colour).save(stream, format=kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def holds(name: str, content: Callable[[], bytes]) -> Callable[[World], object]:
    """Make one file."""
    return lambda world: world.write(name, content())


def more(name: str, content: Callable[[], bytes]) -> Callable[[World], object]:
    """Put one more picture into the folder."""
    return holds(f"frames/{name}", content)


def grey(level: float, dtype: object) -> Callable[[World], object]:
    """Make a.tif, of one value everywhere."""

    def content() -> bytes:
        stream = BytesIO()
        Image.fromarray(np.full((32, 48), level, dtype)).save(stream, format="tiff")  # type: ignore[call-overload]
        return stream.getvalue()

    return holds("a.tif", content)


def refused(name: str, clip: str, says: str, make: Callable[[World], object], *arguments: object) -> Case:
    """A clip that is refused in one line; nothing is left."""
    return Case(f"clip: {name}", edit("-o", "out.mp4", *arguments, clip=clip), make=make, says=says)


def edited(name: str, clip: str, make: Callable[[World], object], *arguments: object, **rest: object) -> Case:
    """A clip that is unusual and right: the edit ends well."""
    given = edit("-o", "out.mp4", *arguments, clip=clip)
    return Case(f"clip: {name}", given, make=make, code=0, says=None, new=OUT, **rest)  # type: ignore[arg-type]


def frames_of(count: int, size: tuple[int, int] = (32, 48)) -> Callable[[World, str], object]:
    """The written clip has so many frames of (height, width)."""

    def check(world: World, _: str) -> None:
        from faircut.video import read_video

        video = read_video(world.folder / "out.mp4")
        assert (len(video), video.size) == (count, size)

    return check


# What is no file ------------------------------------------------------------------------------------------------------


def pipe(path: str) -> Callable[[World], object]:
    def make(world: World) -> None:
        (world.folder / path).parent.mkdir(exist_ok=True)
        os.mkfifo(world.folder / path)

    return make


def listening(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.mp4")  # relative, since such paths must be short


NO_FILES = [
    refused("a pipe", "a.mp4", "a.mp4 is a pipe", pipe("a.mp4")),
    refused("a pipe named as a picture", "a.png", "a.png is a pipe", pipe("a.png")),
    refused("a pipe among pictures", "frames", "00003.png is a pipe", pipe("frames/00003.png")),
    refused("a socket", "a.mp4", "is a socket", listening),
    refused("a device", "/dev/zero", "is a device", lambda world: None),
    refused("a device that is empty", "/dev/null", "is a device", lambda world: None),
    refused("a link to a device", "a.mp4", "is a device", lambda w: (w.folder / "a.mp4").symlink_to("/dev/zero")),
    refused("a link to nothing", "a.mp4", "no such file", lambda w: (w.folder / "a.mp4").symlink_to("b.mp4")),
    refused(
        "a link to itself", "a.mp4", "no such file|cannot be opened", lambda w: (w.folder / "a.mp4").symlink_to("a.mp4")
    ),
    refused("a folder without pictures", "empty", "contains no pictures", lambda w: (w.folder / "empty").mkdir()),
    refused(
        "a folder of folders", "box", "a.png is a folder", lambda w: (w.folder / "box" / "a.png").mkdir(parents=True)
    ),
    refused("an empty file", "a.mp4", "is empty", holds("a.mp4", lambda: b"")),
    refused("an empty picture", "a.png", "is empty", holds("a.png", lambda: b"")),
    refused("an empty picture in a folder", "frames", "00003.png", more("00003.png", lambda: b"")),
    refused("no name", "", "clip|name", lambda world: None),
    refused("a name too long", "a" * 300 + ".mp4", "cannot be opened|no such file", lambda world: None),
    refused("a file as a folder", "jeep.mp4/a.mp4", "no such file|cannot be opened", lambda world: None),
]

# What is too large ----------------------------------------------------------------------------------------------------

LARGE = [
    *(
        refused(f"a gif that declares {w} x {h}", "a.gif", rf"{w}x{h}", holds("a.gif", lambda w=w, h=h: gif_of(w, h)))
        for w, h in ((9000, 9000), (65535, 65535), (8193, 32), (32, 65535), (20000, 9000))
    ),
    *(
        refused(f"a png of {w} x {h}", "a.png", rf"{w}x{h}", holds("a.png", lambda w=w, h=h: still("1", (w, h), 0)))
        for w, h in ((9000, 9000), (60000, 16))
    ),
    *(
        refused(f"a thin picture enlarged to {size}", "a.png", "4000x1.*256000x64", thin, "--size", size)
        for thin in [holds("a.png", lambda: still("RGB", (4000, 1), 0))]
        for size in ("64", "64x64")
    ),
    refused("a thin picture", "a.png", "4000x1.*too small", holds("a.png", lambda: still("RGB", (4000, 1), 0))),
    *(
        refused(f"--size {size}", "jeep.mp4", "size", lambda world: None, "--size", size)
        for size in ("100000000", "8193", "99999999999999999999", "48x100000000", "8193x16", "1" * 100)
    ),
    refused("a picture of one pixel", "a.png", "1x1.*too small", holds("a.png", lambda: still("RGB", (1, 1), 0))),
]

# What breaks off, or is broken ----------------------------------------------------------------------------------------


def cut(kind: str, share: float) -> bytes:
    data = animation(kind)
    return data[: int(len(data) * share)]


def cut_video(kind: str, share: float, codec: str = "libx264") -> bytes:
    data = video(kind, codec)
    return data[: int(len(data) * share)]


def flipped(data: bytes, seed: int) -> bytes:
    """Change a byte in the middle of the data."""
    at = random.Random(seed).randrange(len(data) // 3, len(data) - 20)
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


CUT = [
    *(
        refused(
            f"{kind} cut at {share:.0%}",
            f"a.{kind}",
            "truncated|not a picture",
            holds(f"a.{kind}", lambda kind=kind, share=share: cut(kind, share)),
        )
        for kind in ("gif", "png", "webp", "avif")
        for share in (0.1, 0.5, 0.9)
    ),
    *(
        refused(
            f"{name} cut at {share:.0%}",
            f"a.{name}",
            "truncated|not a video|no video stream",
            holds(f"a.{name}", lambda kind=kind, share=share, codec=codec: cut_video(kind, share, codec)),
        )
        for name, kind, codec in (
            ("mp4", "mp4", "libx264"),
            ("mov", "mov", "libx264"),
            ("mkv", "matroska", "libx264"),
            ("webm", "webm", "libvpx-vp9"),
            ("avi", "avi", "libx264"),
        )
        for share in (0.2, 0.6)
    ),
    *(
        refused(
            f"png with a changed byte ({seed})",
            "a.png",
            "truncated or damaged",
            holds("a.png", lambda seed=seed: flipped(animation("png"), seed)),
        )
        for seed in range(3)
    ),
    refused(
        "a damaged picture in a folder",
        "frames",
        r"00001\.png is truncated or damaged",
        lambda world: world.write("frames/00001.png", flipped((world.folder / "frames/00001.png").read_bytes(), 0)),
    ),
    edited(
        "a damaged picture that is not asked for",
        "frames",
        lambda world: world.write("frames/00002.png", b"\x89PNG\r\n\x1a\n" + bytes(50)),
        "--frames",
        2,
        check=frames_of(2),
    ),
]

# What is no clip, or another one --------------------------------------------------------------------------------------

LISTS = {
    "a list for concat": ("a.mp4", "ffconcat version 1.0\nfile jeep.mp4\n"),
    "a playlist": ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\njeep.mp4\n#EXT-X-ENDLIST\n"),
    "a playlist named mp4": ("a.mp4", "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.mp4\n"),
    "a session description": ("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n"),
    "an svg": ("a.png", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    "a page": ("a.mp4", "<!doctype html><title>404</title>"),
    "subtitles": ("a.mp4", "1\n00:00:00,000 --> 00:00:01,000\nwords\n"),
    "a pointer to a large file": ("a.mp4", "version https://git-lfs.github.com/spec/v1\nsize 12\n"),
}

OTHERS = [
    *(
        refused(what, name, "not a video|not a picture", holds(name, lambda text=text: text.encode()))
        for what, (name, text) in LISTS.items()
    ),
    *(
        refused(f"the address {name}", name, "no such file", lambda world: None)
        for name in ("http://127.0.0.1:9/a.mp4", "concat:jeep.mp4|jeep.mp4", "file:jeep.mp4", "file:///etc/hostname")
    ),
    refused("sound alone", "a.wav", "no video stream", holds("a.wav", lambda: wave())),
    refused("a heic", "a.heic", "HEIF", holds("a.heic", lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))),
    refused(
        "an unknown codec", "a.mp4", "codec|encrypted", holds("a.mp4", lambda: video("mp4").replace(b"avc1", b"zzzz"))
    ),
    refused(
        "floats up to 200",
        "a.tif",
        "what white is",
        grey(200.0, np.float32),
    ),
    refused(
        "floats that are no numbers",
        "a.tif",
        "what white is",
        grey(np.nan, np.float32),
    ),
    refused(
        "32-bit integers",
        "a.tif",
        "what white is",
        grey(70000, np.int32),
    ),
    refused(
        "pictures of two sizes",
        "frames",
        r"00003\.png is 64x32",
        more("00003.png", lambda: still("RGB", (64, 32), 0)),
    ),
    refused(
        "two pictures of one name",
        "frames",
        "more than one picture",
        more("00001.jpg", lambda: still("RGB", (48, 32), 0, "jpeg")),
    ),
    refused(
        "an animation in a folder",
        "frames",
        "more than one picture",
        more("00003.webp", lambda: animation("webp")),
    ),
    refused("--start beyond the end", "jeep.mp4", "numbered 0 to 2", lambda world: None, "--start", 3),
    refused("--frames beyond the end", "jeep.mp4", "has 3 frames", lambda world: None, "--frames", 4),
    refused("--frames enormous", "jeep.mp4", "has 3 frames", lambda world: None, "--frames", 100_000),
    refused(
        "--stride beyond the end", "jeep.mp4", "has 3 frames", lambda world: None, "--frames", 2, "--stride", 100_000
    ),
]


def wave() -> bytes:
    """A second of silence."""
    data = bytes(16000)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


# What is unusual and right --------------------------------------------------------------------------------------------


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def turned(orientation: int) -> bytes:
    stream = BytesIO()
    picture(90).save(stream, format="jpeg", exif=exif(orientation))
    return stream.getvalue()


def mirrored(matrix: tuple[int, int, int, int]) -> bytes:
    data = bytearray(video("mp4"))
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return bytes(data)


def bright_corner(corner: tuple[int, int]) -> Callable[[World, str], object]:
    """The bright corner of the source lies at (bottom, right) once it stands upright."""

    def check(world: World, _: str) -> None:
        from faircut.video import read_video

        names = [path for path in world.folder.iterdir() if path.name.startswith("turned")]
        frame = read_video(names[0]).frames[0, 0]
        height, width = frame.shape
        halves = frame[: height // 2 * 2, : width // 2 * 2].reshape(2, height // 2, 2, width // 2).mean((1, 3))
        assert divmod(int(halves.argmax()), 2) == corner

    return check


def mixed(world: World) -> None:
    """A folder of one upright picture and one that must be turned."""
    folder = world.folder / "mixed"
    folder.mkdir()
    picture(90, 48, 32).save(folder / "1.jpg")
    (folder / "2.jpg").write_bytes(turned(6))


def private(world: World) -> None:
    tags = {"title": "SECRET", "comment": "SECRET", "location": "+12.3456+098.7654/", "artist": "SECRET"}
    world.write("a.mp4", video("mp4", tags=tags))


def no_secrets(world: World, _: str) -> None:
    for path in world.folder.iterdir():
        if path.name.startswith("out"):
            assert b"SECRET" not in path.read_bytes(), path
            assert b"12.3456" not in path.read_bytes(), path


def copy_as(name: str) -> Callable[[World], object]:
    return lambda world: world.write(name, (world.folder / "jeep.mp4").read_bytes())


CORNERS = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
MATRICES = {
    (-1, 0, 0, 1): (0, 1),
    (1, 0, 0, -1): (1, 0),
    (-1, 0, 0, -1): (1, 1),
    (0, 1, 1, 0): (0, 0),
    (0, 1, -1, 0): (0, 1),
    (0, -1, 1, 0): (1, 0),
    (0, -1, -1, 0): (1, 1),
}

RIGHT = [
    *(
        edited(
            f"an animated {kind}",
            f"a.{kind}",
            holds(f"a.{kind}", lambda kind=kind: animation(kind)),
            check=frames_of(3),
        )
        for kind in ("avif", "gif", "webp", "png")
    ),
    *(
        edited(
            f"EXIF orientation {value}",
            "turned.jpg",
            holds("turned.jpg", lambda value=value: turned(value)),
            check=bright_corner(corner),
        )
        for value, corner in CORNERS.items()
    ),
    *(
        edited(
            f"display matrix {matrix}",
            "turned.mp4",
            holds("turned.mp4", lambda matrix=matrix: mirrored(matrix)),
            check=bright_corner(corner),
        )
        for matrix, corner in MATRICES.items()
    ),
    edited("pictures turned differently", "mixed", mixed, check=frames_of(2, (48, 32))),
    edited("a tagged clip", "a.mp4", private, check=no_secrets),
    *(
        edited(f"a clip named {name!r}", name, copy_as(name), check=frames_of(3))
        for name in ("concat:a.mp4", "http:a.mp4", "file:a.mp4", "a%05d.mp4", "a b'c.mp4", "ü 日本.mp4", "pipe:0")
    ),
    edited("bare h264", "a.h264", holds("a.h264", lambda: video("h264")), check=frames_of(3)),
    edited(
        "a gif with something behind its end",
        "a.gif",
        holds("a.gif", lambda: animation("gif") + bytes(500)),
        check=frames_of(3),
    ),
    edited("16-bit grey", "a.tif", grey(30000, np.uint16)),
    edited("floats from 0 to 1", "a.tif", grey(0.5, np.float32)),
    edited("a palette", "a.png", holds("a.png", lambda: still("P", (48, 32), 0))),
]

CASES = [*NO_FILES, *LARGE, *CUT, *OTHERS, *RIGHT]
