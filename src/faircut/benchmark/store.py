"""The store of a run: for every edit a record, a picture and optionally the clip, all named by the edit's key."""

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

_FPS = 8  # frames per second of stored clips; no metric depends on it


@dataclass(frozen=True, kw_only=True)
class EditRecord:
    """The stored facts about one edit.

    Attributes:
        key: Hash of everything that decides the edit; names its files.
        instruments: Fingerprint of the models and metrics that measured the edit.
        figures: Figures by metric name, without the metrics that do not apply.
        seconds: Seconds that the edit took, without the inversion.
        preparing: Seconds that the method's preparation of the clip took, beyond the plain inversion.
    """

    key: str
    instruments: str
    # NaN is written as null, and null is read as NaN.
    figures: Mapping[str, float] = field(metadata={"finite": False})
    seconds: float
    preparing: float = 0.0


R = TypeVar("R", bound=EditRecord)


def as_kept(frames: torch.Tensor) -> torch.Tensor:
    """Round frames to the 256 levels of a picture file, so that an edit gives the same figures before and after
    storing.

    Args:
        frames: (frame, 3, height, width) in [-1, 1].

    Returns:
        (frame, 3, height, width), RGB in [0, 1], in steps of 1/255.
    """
    return ((frames + 1) / 2 * 255).round() / 255


@dataclass(frozen=True)
class Store(Generic[R]):
    """The records in the folder of a run, which let a stopped run continue.

    Attributes:
        folder: Folder of the run.
        kind: Dataclass of the records.
        keep_clips: Whether all frames are stored, so that an edit can be measured again without being made again.
    """

    folder: Path
    kind: type[R]
    keep_clips: bool = False

    def _path(self, key: str) -> Path:
        return self.folder / "records" / f"{key}.json"

    def picture(self, key: str) -> Path:
        """Return the path of an edit's picture."""
        return self._path(key).with_suffix(".webp")

    def clip(self, key: str) -> Path:
        """Return the path of an edit's stored frames: a lossless animation that browsers play."""
        return self.folder / "clips" / f"{key}.webp"

    def find_clip(self, key: str, shape: torch.Size) -> torch.Tensor | None:
        """Return an edit's stored frames, equal bit by bit.

        Args:
            key: Key of the edit.
            shape: Expected shape of the frames.

        Returns:
            (frame, 3, height, width), RGB in [0, 1]. None if no frames are stored, or if they are damaged; a damaged
            file is renamed.
        """
        path = self.clip(key)
        if not os.path.lexists(path):
            return None
        try:
            frames = as_kept(read_video(path).frames)
            if frames.shape != shape:
                raise VideoError(f"it has the shape {tuple(frames.shape)}, not {tuple(shape)}")
            return frames
        except (FaircutError, OSError) as error:
            set_aside(path, error)
            return None

    def is_done(self, record: EditRecord, instruments: str) -> bool:
        """Return whether an edit with a record is complete.

        Args:
            record: Record of the edit.
            instruments: Fingerprint of the models and metrics that must have measured the edit.
        """
        whole = self.picture(record.key).is_file() and (not self.keep_clips or self.clip(record.key).is_file())
        return whole and record.instruments == instruments

    def find(self, key: str) -> R | None:
        """Return a record, or None. A file that is damaged or has another layout is renamed."""
        path = self._path(key)
        if not os.path.lexists(path):
            return None
        try:
            record = from_dict(self.kind, read_json(path, "the record", finite=False), str(path))
            if record.key != key:
                raise ConfigError(f"it belongs to {short_repr(record.key)}")
            return record
        except ConfigError as error:
            set_aside(path, error)
            return None

    def keep(self, record: R, source: torch.Tensor, edited: torch.Tensor) -> None:
        """Store a record, a picture of three frames (source above, edit below), and the clip if `keep_clips` is set.

        Args:
            record: Record of the edit.
            source: (frame, 3, height, width), RGB in [0, 1].
            edited: Edited frames, with the shape of the source; in steps of 1/255 if clips are stored.
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
        # The record is written last, so that its existence means that the other files exist too.
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(to_dict(record)), encoding="utf-8")
