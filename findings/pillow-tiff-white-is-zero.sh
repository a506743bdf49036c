#!/usr/bin/env bash
# Expected: Pillow inverts every grey TIFF whose photometric interpretation is WhiteIsZero, so that 0 is shown white.
#
# What is so: it inverts 1-bit and 8-bit pictures only. Of 16 bits without a sign, and of floats, it gives the stored
# values, which are the negative of what was meant, and says nothing; 32-bit integers it refuses.
#
# For whoever reads clips: 16-bit scans with WhiteIsZero come out as negatives: look at tag 262 yourself, for those
# depths only.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 pillow==13.0.0 tifffile==2026.3.3
venv/bin/python - <<'PY'
import sys

import numpy as np
import PIL
import tifffile
from PIL import Image, UnidentifiedImageError


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("Pillow", PIL.__version__, "tifffile", tifffile.__version__)


def left_and_right(kind, value, photometric):
    pixels = np.zeros((32, 32), kind)
    pixels[:, 16:] = value
    tifffile.imwrite("grey.tif", pixels, photometric=photometric)
    try:
        with Image.open("grey.tif") as picture:
            assert picture.tag_v2[262] == (0 if photometric == "miniswhite" else 1)
            return picture.getpixel((0, 0)), picture.getpixel((31, 0))
    except UnidentifiedImageError:
        return "refused"


for kind, value, described in (
    (bool, True, (255, 0)),
    (np.uint8, 200, (255, 55)),
    (np.uint16, 200, (0, 200)),
    (np.float32, 1, (0, 1)),
    (np.uint32, 200, "refused"),
):
    name = np.dtype(kind).name
    black = (0, 255) if kind is bool else (0, value)
    check(f"{name}, 0 is black: stored 0 and {value} are read as", left_and_right(kind, value, "minisblack"), black)
    check(f"{name}, 0 is white: stored 0 and {value} are read as", left_and_right(kind, value, "miniswhite"), described)
PY
