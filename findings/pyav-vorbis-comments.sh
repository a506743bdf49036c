#!/usr/bin/env bash
# Expected: copying packets to a new file with add_stream_from_template, and no metadata, leaves titles and artists
# behind.
#
# What is so: Vorbis in Matroska or WebM keeps its comment header in the codec's private data. PyAV shows none of it
# in metadata, and the copy holds it word for word. Through Ogg it does not happen: there FFmpeg empties the header.
#
# For whoever reads clips: a remux that is to hold nothing personal has to empty the second Vorbis header itself;
# empty metadata in the source or the copy proves nothing.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy==2.4.6
venv/bin/python - <<'PY'
import struct
import sys
from fractions import Fraction

import av
import numpy as np


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info)


def copy(source, target, extradata=None):
    with av.open(source) as old, av.open(target, "w") as new:
        track = new.add_stream_from_template(old.streams.audio[0])
        if extradata:
            track.codec_context.extradata = extradata
        for packet in old.demux(old.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = track
                new.mux(packet)


with av.open("plain.mkv", "w") as sound:
    track = sound.add_stream("vorbis", rate=48000, layout="stereo", options={"strict": "-2"})
    for index in range(20):
        wave = np.random.default_rng(index).normal(0, 0.1, (2, 1000)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, index * 1000, Fraction(1, 48000)
        sound.mux(track.encode(frame))
    sound.mux(track.encode())

# As taggers write it: three headers, of which the second holds the comments.
with av.open("plain.mkv") as sound:
    packed = bytes(sound.streams.audio[0].codec_context.extradata)
assert packed[0] == 2 and max(packed[1:3]) < 255
first, third = packed[3 : 3 + packed[1]], packed[3 + packed[1] + packed[2] :]
comment = b"TITLE=a private title"
second = b"\x03vorbis" + struct.pack("<III", 0, 1, len(comment)) + comment + b"\x01"
copy("plain.mkv", "tagged.mkv", bytes([2, len(first), len(second)]) + first + second + third)

copy("tagged.mkv", "copy.webm")
copy("tagged.mkv", "copy.ogg")
copy("copy.ogg", "again.webm")
for name, leaks in (("tagged.mkv", True), ("copy.webm", True), ("again.webm", False)):
    with av.open(name) as sound:
        shown = {**sound.metadata, **sound.streams.audio[0].metadata}
        assert sum(frame.samples for frame in sound.decode(audio=0)) > 10000
    check(f"{name}: title in metadata", any("title" in str(item).lower() for item in shown.items()), False)
    with open(name, "rb") as data:
        check(f"{name}: title in its bytes", comment in data.read(), leaks)
PY
