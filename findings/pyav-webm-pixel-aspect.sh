#!/usr/bin/env bash
# Expected: setting sample_aspect_ratio of the encoder makes the file say that its pixels are not square, whatever the
# container.
#
# What is so: mp4 says so. WebM and Matroska do not, because their muxer looks at the stream, where PyAV does not put
# it: the same VP9 reads back as 4/3 from mp4, as 1 from WebM and as unknown from Matroska, with no error. Only codecs
# that repeat the aspect in their own data, such as H.264, get it through Matroska.
#
# For whoever reads clips: a copy of an anamorphic clip to WebM is shown too narrow. Read the aspect back after
# writing, or write square pixels.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy==2.4.6
venv/bin/python - <<'PY'
import sys
from fractions import Fraction

import av
import numpy as np


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info)
for kind, codec, described in (
    ("mp4", "libvpx-vp9", "4/3"),
    ("webm", "libvpx-vp9", "1"),
    ("mkv", "libvpx-vp9", "None"),
    ("mkv", "ffv1", "None"),
    ("mkv", "libx264", "4/3"),
    ("mp4", "libx264", "4/3"),
):
    with av.open(f"clip.{kind}", "w") as clip:
        stream = clip.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for index in range(4):
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 20, np.uint8))))
        clip.mux(stream.encode())
    with av.open(f"clip.{kind}") as clip:
        check(f"{codec} in {kind}", str(clip.streams.video[0].sample_aspect_ratio), described)
PY
