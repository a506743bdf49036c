#!/usr/bin/env bash
# Expected: average_rate of a bare H.264 or HEVC stream is the rate that the stream itself states, as it is once the
# same stream is in MPEG-TS.
#
# What is so: average_rate is 25 whatever the stream states, and no frame has a pts. The stream's own rate is in
# codec_context.framerate.
#
# For whoever reads clips: a bare stream of 50 fps read by average_rate plays at half its speed, and code that needs
# frame.pts finds None.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy==2.4.6
venv/bin/python - <<'PY'
import sys

import av
import numpy as np


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info)
for codec, name in (("libx264", "h264"), ("libx265", "hevc"), ("libx264", "mpegts")):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    with av.open(f"clip.{name}", "w", format=name) as clip:
        stream = clip.add_stream(codec, rate=50, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 10, np.uint8))))
        clip.mux(stream.encode())
    with av.open(f"clip.{name}") as clip:
        stream = clip.streams.video[0]
        times = [frame.pts is not None for frame in clip.decode(stream)]
        seen = str(stream.average_rate), str(stream.codec_context.framerate), len(times), any(times)
    described = ("50", "50", 20, True) if name == "mpegts" else ("25", "50", 20, False)
    check(f"{name}: average_rate, codec_context.framerate, frames, any has a pts", seen, described)
PY
