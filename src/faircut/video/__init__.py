"""Clips in and out: videos, animations and folders of pictures, with their times, orientation, colours and sound."""

from __future__ import annotations

from .clip import Selection, SourceInfo, Video, side_by_side
from .read import DEFAULT_MAX_FRAMES, read_video
from .write import write_video

__all__ = ["DEFAULT_MAX_FRAMES", "Selection", "SourceInfo", "Video", "read_video", "side_by_side", "write_video"]
