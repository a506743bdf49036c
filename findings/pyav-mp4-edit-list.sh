#!/usr/bin/env bash
# Expected: times written to an mp4 whose ticks hold them exactly come back exactly, and every frame written is
# decoded, as with Matroska apart from its milliseconds.
#
# What is so: a first frame later than 0 is put there by an edit list, which counts in milliseconds: 5/30 s comes back
# as 2550/15360 s, which is 0.6 ms early, with all later frames. Frames before 0 are written, counted in
# stream.frames, and cut by the edit list: never decoded. Matroska moves them all up instead.
#
# For whoever reads clips: times of an mp4 are not multiples of its rate even where its ticks allow it, and
# stream.frames is no count of what will be decoded.
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


def written(kind, start):
    with av.open(f"clip.{kind}", "w") as clip:
        stream = clip.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 20, np.uint8))
            frame.pts, frame.time_base = start + index, Fraction(1, 30)
            clip.mux(stream.encode(frame))
        clip.mux(stream.encode())
    with av.open(f"clip.{kind}") as clip:
        stream = clip.streams.video[0]
        frames = [(frame.pts, frame.to_ndarray(format="gray").mean()) for frame in clip.decode(stream)]
        return stream.time_base, stream.frames, [pts for pts, _ in frames], round(frames[0][1] / 20)


tick, stated, times, first = written("mp4", 0)
check("mp4 from 0: tick, frames stated and decoded", (str(tick), stated, len(times)), ("1/15360", 10, 10))
check("first three times, in ticks", times[:3], [0, 512, 1024])
tick, stated, times, first = written("mp4", 5)
check("mp4 from frame 5: exact time of the first frame, in ticks", Fraction(5, 30) / tick, 2560)
check("first three times, in ticks", times[:3], [2550, 3062, 3574])
tick, stated, times, first = written("mp4", -5)
check("mp4 from frame -5: frames stated, decoded, first one", (stated, len(times), first), (10, 5, 5))
tick, stated, times, first = written("mkv", -5)
check("mkv from frame -5: frames decoded, first one, its time", (len(times), first, times[0]), (10, 0, 0))
PY
