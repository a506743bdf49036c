#!/usr/bin/env bash
# Expected: frame.rotation of a picture that is only mirrored, and not turned, is 0.
#
# What is so: a picture mirrored left to right has -180, like one turned upside down, and one mirrored top to bottom
# has 0, like an upright one. So of the eight ways each angle stands for two, and -180 for one that is not turned at
# all. The display matrix in side_data tells all eight apart.
#
# For whoever reads clips: turning by frame.rotation puts every selfie that was stored mirrored upside down. Read the
# matrix, or refuse mirrored ones.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy==2.4.6 pillow==13.0.0
venv/bin/python - <<'PY'
import struct
import sys

import av
from PIL import ExifTags, Image


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info)
seen = {}
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    # In AVIF the orientation becomes boxes of the container, and no Exif is left.
    Image.new("RGB", (64, 48), (200, 30, 30)).save("still.avif", exif=exif)
    with av.open("still.avif") as still:
        frame = next(still.decode(video=0))
        matrix = b"".join(bytes(item) for item in frame.side_data if item.type.name == "DISPLAYMATRIX")
    a, b, _, c, d = struct.unpack("=5i", matrix[:20]) if matrix else (1, 0, 0, 0, 1)
    seen[orientation] = frame.rotation, tuple((value > 0) - (value < 0) for value in (a, b, c, d))

check("1 upright", seen[1], (0, (1, 0, 0, 1)))
check("2 mirrored left to right", seen[2], (-180, (-1, 0, 0, 1)))
check("3 turned upside down", seen[3], (-180, (-1, 0, 0, -1)))
check("4 mirrored top to bottom", seen[4], (0, (1, 0, 0, -1)))
check("5 and 6", (seen[5][0], seen[6][0]), (-90, -90))
check("7 and 8", (seen[7][0], seen[8][0]), (90, 90))
check("different matrices", len({matrix for _, matrix in seen.values()}), 8)
PY
