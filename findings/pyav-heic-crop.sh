#!/usr/bin/env bash
# Expected: a HEIC still opens with the size that its file states, as an AVIF still of the same size does.
#
# What is so: sizes that the encoder had to pad come out padded: 64x48 as 64x64, 101x71 as 102x72. The file's crop is
# a "clap" box, which is ignored without a word. Sizes that need no such box are right.
#
# For whoever reads clips: a HEIC still read through FFmpeg can have extra rows and columns at its edges. Compare the
# size with what a HEIF library says, or read stills with one.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy==2.4.6 pillow==13.0.0 pillow-heif==1.8.1
venv/bin/python - <<'PY'
import sys

import av
import pillow_heif
from PIL import Image


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info, "pillow-heif", pillow_heif.__version__)
pillow_heif.register_heif_opener()
for size, decoded in (((64, 48), (64, 64)), ((40, 30), (64, 64)), ((101, 71), (102, 72)), ((100, 70), (100, 70))):
    for kind in ("heic", "avif"):
        Image.new("RGB", size, (10, 120, 30)).save(f"still.{kind}")
        with av.open(f"still.{kind}") as still:
            frame = next(still.decode(video=0))
        check(f"{kind} of {size} is decoded as", (frame.width, frame.height), decoded if kind == "heic" else size)
    with Image.open("still.heic") as picture, open("still.heic", "rb") as data:
        check("the HEIF library's size", picture.size, size)
        check("the file has a clap box", b"clap" in data.read(), size != decoded)
PY
