#!/usr/bin/env bash
# Expected: Image.open(formats=[...]) takes every format that Pillow can save and that it gives as Image.format, "MPO"
# among them.
#
# What is so: "MPO" raises KeyError, before Image.init() and after it, alone or before others. An MPO file is opened
# under the name "JPEG", and then says that its format is MPO; a list with "JPEG" first hides the error.
#
# For whoever reads clips: a list of the formats that a program lets in cannot be made of the names in Image.format,
# and "JPEG" in it lets files of several pictures in.
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
from PIL import Image


def check(what, seen, described):
    print(f"{what}: {seen}")
    if seen != described:
        sys.exit(f"not as described: expected {described}")


print("Pillow", PIL.__version__)


def opened(formats):
    try:
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            return picture.format, picture.n_frames
    except KeyError as error:
        return repr(error)


file = io.BytesIO()
Image.new("RGB", (8, 8)).save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
data = file.getvalue()
for moment in ("before", "after"):
    if moment == "after":
        Image.init()
    check(f"JPEG, {moment} init", opened(["JPEG"]), ("MPO", 2))
    check(f"MPO, {moment} init", opened(["MPO"]), "KeyError('MPO')")
    check(f"MPO then JPEG, {moment} init", opened(["MPO", "JPEG"]), "KeyError('MPO')")
    check(f"JPEG then MPO, {moment} init", opened(["JPEG", "MPO"]), ("MPO", 2))
check("MPO among the names to save, and to open", ("MPO" in Image.SAVE, "MPO" in Image.OPEN), (True, False))
PY
