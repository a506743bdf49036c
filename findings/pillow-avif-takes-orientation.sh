#!/usr/bin/env bash
# Expected: save(exif=exif) only reads the Exif that it is given.
#
# What is so: saving as AVIF takes the orientation out of the caller's own object. Whatever is saved with it next,
# even a second AVIF, is no longer turned. JPEG, PNG, WebP and TIFF leave the object alone.
#
# For whoever reads clips: frames saved in a loop with one Exif are turned in the first and not in the rest. Hand over
# exif.tobytes(), or a new object each time.
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
    Image.new("RGB", (64, 48)).save(file, kind, exif=exif)
    return Image.open(file).getexif().get(ExifTags.Base.Orientation)


exif = Image.Exif()
exif[ExifTags.Base.Orientation] = 6
exif[ExifTags.Base.Make] = "a camera"
for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
    check(f"orientation in the {kind}, and left in the object", (saved(kind, exif), exif.get(274)), (6, 6))
data = exif.tobytes()
check("orientation in the AVIF, and left in the object", (saved("AVIF", exif), exif.get(274)), (6, None))
check("the other tag", exif.get(ExifTags.Base.Make), "a camera")
check("orientation in a second AVIF", saved("AVIF", exif), None)
check("orientation in two AVIFs from bytes", (saved("AVIF", data), saved("AVIF", data)), (6, 6))
PY
