#!/usr/bin/env bash
# Expected: an Image.Exif with a place in it can be saved to TIFF as it can to JPEG, PNG, WebP and AVIF.
#
# What is so: TIFF raises AttributeError: 'Exif' object has no attribute 'fp', if the GPS block was assigned as a
# dictionary. Read back from a JPEG, the same Exif is saved to TIFF without trouble.
#
# For whoever reads clips: whoever writes frames with a place to TIFF either catches this or sends the Exif through
# bytes first.
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


def saved(kind, exif):
    file = io.BytesIO()
    try:
        Image.new("RGB", (8, 8)).save(file, kind, exif=exif)
    except AttributeError as error:
        return str(error)
    return dict(Image.open(file).getexif().get_ifd(ExifTags.IFD.GPSInfo))


place = {1: "N", 2: (1.0, 2.0, 3.0)}
exif = Image.Exif()
exif[ExifTags.IFD.GPSInfo] = place
for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
    check(kind, saved(kind, exif), place)
check("TIFF", saved("TIFF", exif), "'Exif' object has no attribute 'fp'")
again = Image.Exif()
again.load(exif.tobytes())
check("TIFF, after a turn through bytes", saved("TIFF", again), place)
PY
