#!/usr/bin/env bash
# Expected: frame.side_data lists what a frame carries, and at worst leaves out kinds that PyAV has no name for.
#
# What is so: it raises ValueError ("31 is not a valid Type") for every frame whose picture has Exif: JPEG, PNG, WebP,
# AVIF, and each frame of a motion JPEG clip. frame.rotation works, and follows the Exif orientation.
#
# For whoever reads clips: reading the display matrix from side_data fails on such clips. Catch it, and fall back on
# frame.rotation.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy==2.4.6 pillow==13.0.0
venv/bin/python - <<'PY'
import sys
from fractions import Fraction

import av
from PIL import ExifTags, Image


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info)


def seen(path):
    with av.open(path) as clip:
        frame = next(clip.decode(video=0))
        try:
            return frame.rotation, [item.type.name for item in frame.side_data]
        except ValueError as error:
            return frame.rotation, str(error)


def picture(kind, tagged):
    options = {}
    if tagged:
        options["exif"] = exif = Image.Exif()
        exif[ExifTags.Base.Make] = "a camera"
        exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (64, 48), (200, 30, 30)).save(f"frame.{kind}", **options)
    return f"frame.{kind}"


for kind in ("jpg", "png", "webp", "avif"):
    check(f"{kind} without Exif", seen(picture(kind, False)), (0, []))
    check(f"{kind} with Exif", seen(picture(kind, True)), (-90, "31 is not a valid Type"))
with open(picture("jpg", True), "rb") as file:
    data = file.read()
for kind in ("avi", "mov", "mkv"):
    with av.open(f"clip.{kind}", "w") as clip:
        stream = clip.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(3):
            packet = av.Packet(data)
            packet.pts = packet.dts = index
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 10), stream, True
            clip.mux(packet)
    check(f"motion JPEG in {kind}", seen(f"clip.{kind}"), (-90, "31 is not a valid Type"))
PY
