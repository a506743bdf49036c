#!/usr/bin/env bash
# Expected: a place put into Image.Exif by exif.get_ifd(GPSInfo)[...] = ... is saved by every format that can hold it,
# or by none.
#
# What is so: such an Exif counts as empty (its length is 0 and it is false) though its bytes hold the place. JPEG and
# WebP save it; PNG, AVIF and TIFF leave it out without a word. With any tag of the main block beside it, all but TIFF
# save it.
#
# For whoever reads clips: "if exif:" is no test for whether a frame carries data, neither to keep it nor to be sure
# that there is none.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pillow==13.0.0
venv/bin/python - <<'PY'
import io
import sys

import PIL
from PIL import ExifTags, Image


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("Pillow", PIL.__version__)


def keeps(kind, exif):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind, exif=exif)
    return Image.open(file).getexif().get_ifd(ExifTags.IFD.GPSInfo) == {1: "N"}


def place(**others):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    for name, value in others.items():
        exif[ExifTags.Base[name]] = value
    return exif


check("length and truth", (len(place()), bool(place())), (0, False))
again = Image.Exif()
again.load(place().tobytes())
check("the place in its bytes", again.get_ifd(ExifTags.IFD.GPSInfo), {1: "N"})
for kind, alone, beside in (
    ("JPEG", True, True),
    ("WEBP", True, True),
    ("PNG", False, True),
    ("AVIF", False, True),
    ("TIFF", False, False),
):
    check(f"{kind} keeps the place alone", keeps(kind, place()), alone)
    check(f"{kind} keeps the place beside a tag", keeps(kind, place(Software="x")), beside)
PY
