#!/usr/bin/env bash
# Expected: cv2.imread shows every picture upright by its orientation, and IMREAD_UNCHANGED gives it as it is stored.
#
# What is so: a TIFF that lies on its side (orientation 5 to 8) is not read at all unless it is square: None, with
# every flag, though it is a plain 8-bit picture. An AVIF is never turned, with any flag, because its orientation is
# not in Exif but in its own "irot" box. JPEG, PNG and WebP are as expected.
#
# For whoever reads clips: None of OpenCV does not mean that a picture is damaged, and sizes of one clip's frames can
# disagree between OpenCV and Pillow.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 pillow==13.0.0 opencv-python-headless==5.0.0.93
venv/bin/python - <<'PY'
import sys

import cv2
from PIL import ExifTags, Image


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("OpenCV", cv2.__version__)


def sizes(kind, orientation, size=(64, 48)):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", size, (200, 30, 30)).save(f"picture.{kind}", exif=exif)
    flags = (cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED)
    pictures = [cv2.imread(f"picture.{kind}", flag) for flag in flags]
    return [None if picture is None else picture.shape[1::-1] for picture in pictures]


for kind in ("jpg", "png", "webp"):
    check(f"{kind}, orientation 6: in colour, unchanged", sizes(kind, 6), [(48, 64), (64, 48)])
check("avif, orientation 6: in colour, unchanged", sizes("avif", 6), [(64, 48), (64, 48)])
with Image.open("picture.avif") as picture:
    check("the orientation that Pillow finds in it", picture.getexif().get(ExifTags.Base.Orientation), 6)
for orientation in (1, 3):
    check(f"tiff, orientation {orientation}", sizes("tiff", orientation), [(64, 48), (64, 48)])
for orientation in (5, 6, 7, 8):
    check(f"tiff, orientation {orientation}", sizes("tiff", orientation), [None, None])
check("square tiff, orientation 6", sizes("tiff", 6, (48, 48)), [(48, 48), (48, 48)])
PY
