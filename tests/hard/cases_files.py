"""What is written, and over what."""

from __future__ import annotations

from .corpus import Case, edit

CASES = [
    Case("an edit ends well", edit("-o", "out.mp4"), code=0, says=None, new=("out.*",)),
]
