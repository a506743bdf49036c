#!/usr/bin/env bash
# Expected: an animated AVIF opens as one video stream that holds the animation, as an animated GIF does.
#
# What is so: it has two video streams. The first is a still of one frame; the second is the animation. Both are
# flagged as default, so that flag does not tell them apart; streams.best("video") does.
#
# For whoever reads clips: streams.video[0] and decode(video=0) see one frame and end without an error. Ask for the
# best stream.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy==2.4.6 pillow==13.0.0
venv/bin/python - <<'PY'
import sys

import av
import PIL
from av.stream import Disposition
from PIL import Image


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info, "Pillow", PIL.__version__)
pictures = [Image.new("RGB", (64, 48), (40 * index, 100, 200)) for index in range(6)]
pictures[0].save("clip.avif", save_all=True, append_images=pictures[1:], duration=100)
with av.open("clip.avif") as clip:
    streams = clip.streams.video
    check("frames that the streams state", [stream.frames for stream in streams], [1, 6])
    check("flagged default", [bool(stream.disposition & Disposition.default) for stream in streams], [True, True])
    stills = [bool(stream.disposition & Disposition.still_image) for stream in streams]
    check("flagged as a still", stills, [False, False])
    check("index of the best stream", clip.streams.best("video").index, 1)
for index, count in ((0, 1), (1, 6)):
    with av.open("clip.avif") as clip:
        check(f"frames decoded from stream {index}", sum(1 for _ in clip.decode(video=index)), count)
PY
