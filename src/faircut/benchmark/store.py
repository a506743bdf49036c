"""What is kept of every edit: a record, a picture and, if asked for, its clip, named by the edit's key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from PIL import Image

from faircut.config.reading import read_json, set_aside, short_repr
from faircut.config.values import from_dict, to_dict
from faircut.errors import ConfigError, FaircutError, VideoError
from faircut.files import atomic_path
from faircut.video import read_video, write_video

__all__ = ["EditRecord", "Store", "as_kept"]

_FPS = 8  # of clips that are kept; nothing is measured by it


@dataclass(frozen=True, kw_only=True)
class EditRecord:
    """What is known of one edit.

    Attributes:
        key: names the edit by all that decides it, and its files.
        instruments: fingerprint of what has measured it.
        figures: by metric; what does not apply is missing.
        seconds: of the edit, without the inversion.
        preparing: seconds of what the method needs once for a clip, beside the plain inversion.
    """

    key: str
    instruments: str
    # Written as null where they are NaN, and read as that again.
    figures: Mapping[str, float] = field(metadata={"finite": False})
    seconds: float
    preparing: float = 0.0


R = TypeVar("R", bound=EditRecord)


def as_kept(frames: torch.Tensor) -> torch.Tensor:
    """Return frames as a file holds them, so that an edit measures the same at once and from its file.

    Args:
        frames: (frame, 3, height, width) in [-1, 1].

    Returns:
        The same shape, RGB in [0, 1], in steps of 1/255.
    """
    return ((frames + 1) / 2 * 255).round() / 255


@dataclass(frozen=True)
class Store(Generic[R]):
    """Records in a folder; a stopped run finds what it has made.

    Attributes:
        folder: of the run.
        kind: dataclass of the records.
        keep_clips: whether all frames are kept, so that an edit can be measured again without being made again.
    """

    folder: Path
    kind: type[R]
    keep_clips: bool = False

    def _path(self, key: str) -> Path:
        return self.folder / "records" / f"{key}.json"

    def picture(self, key: str) -> Path:
        """Return where an edit's picture is."""
        return self._path(key).with_suffix(".webp")

    def clip(self, key: str) -> Path:
        """Return where an edit's frames are, if they were kept: a lossless animation that browsers play."""
        return self.folder / "clips" / f"{key}.webp"

    def find_clip(self, key: str, shape: torch.Size) -> torch.Tensor | None:
        """Return the frames that were kept, the same to the bit.

        Args:
            key: names the edit.
            shape: of its frames.

        Returns:
            (frame, 3, height, width), RGB in [0, 1]; None if they were not kept, or are damaged and set aside.
        """
        path = self.clip(key)
        if not os.path.lexists(path):
            return None
        try:
            frames = as_kept(read_video(path).frames)
            if frames.shape != shape:
                raise VideoError(f"it holds {tuple(frames.shape)}, not {tuple(shape)}")
            return frames
        except (FaircutError, OSError) as error:
            set_aside(path, error)
            return None

    def is_done(self, record: EditRecord, instruments: str) -> bool:
        """Say whether nothing is missing of an edit that has a record.

        Args:
            record: of the edit.
            instruments: fingerprint of what must have measured it.
        """
        whole = self.picture(record.key).is_file() and (not self.keep_clips or self.clip(record.key).is_file())
        return whole and record.instruments == instruments

    def find(self, key: str) -> R | None:
        """Return a record; None if there is none, or it is damaged or of another layout: such a file is set aside."""
        path = self._path(key)
        if not os.path.lexists(path):
            return None
        try:
            record = from_dict(self.kind, read_json(path, "the record", finite=False), str(path))
            if record.key != key:
                raise ConfigError(f"it is of {short_repr(record.key)}")
            return record
        except ConfigError as error:
            set_aside(path, error)
            return None

    def keep(self, record: R, source: torch.Tensor, edited: torch.Tensor) -> None:
        """Keep a record, and the first, middle and last frame, the source's above the edit's; and the clip, if asked
        to.

        Args:
            record: of the edit.
            source: (frame, 3, height, width), RGB in [0, 1].
            edited: the same shape; in steps of 1/255 where clips are kept.
        """
        shown_frames = sorted({0, len(source) // 2, len(source) - 1})
        # Each clip's frames side by side, the source's row above the edit's: (channel, height, width).
        rows = torch.cat([torch.cat(list(clip[shown_frames]), dim=-1) for clip in (source, edited)], dim=-2)
        pixels = (rows * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        path, picture, clip = self._path(record.key), self.picture(record.key), self.clip(record.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(picture) as temporary:
            Image.fromarray(pixels).save(temporary, format="webp", quality=85)
        if self.keep_clips and not clip.is_file():
            write_video(edited * 2 - 1, clip, fps=_FPS, quality=100)
        # The record last: where it is, the rest is.
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(to_dict(record)), encoding="utf-8")
