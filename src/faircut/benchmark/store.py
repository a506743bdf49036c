"""What a benchmark keeps of every edit: a record, a picture and its clip, under a name made of all that decides it."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from PIL import Image

from faircut.config.reading import read_json, set_aside, shown
from faircut.config.values import from_dict, to_dict
from faircut.errors import ConfigError, FaircutError, VideoError
from faircut.files import atomic_path
from faircut.video import read_video, write_video

__all__ = ["Store", "as_kept", "seed_of"]


class Keyed(Protocol):
    """A record of an edit."""

    @property
    def key(self) -> str:
        """Names the edit by all that decides it."""


class Measured(Keyed, Protocol):
    """A record that says what has measured it."""

    @property
    def instruments(self) -> str:
        """Fingerprint of what has measured it."""


R = TypeVar("R", bound=Keyed)

_FPS = 8  # of clips that are kept; nothing is measured by it


def seed_of(seed: int, name: str) -> int:
    """Return the seed of a clip's noise: each has its own, the same in a part of a benchmark as in all of it."""
    return seed + zlib.crc32(name.encode())


def as_kept(frames: torch.Tensor) -> torch.Tensor:
    """Return frames as a file holds them, so that what is measured at once and from the file is the same.

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
        folder: of the benchmark.
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
        """Return where an edit's frames are, where they were kept: a lossless animation that browsers play."""
        return self.folder / "clips" / f"{key}.webp"

    def find_clip(self, key: str, shape: torch.Size) -> torch.Tensor | None:
        """Return the frames that were kept, the same to the bit; None if they were not, or are damaged: set aside.

        Args:
            key: names the edit.
            shape: of its frames.
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

    def is_done(self, record: Measured, instruments: str) -> bool:
        """Say whether nothing is missing of an edit that has a record.

        Args:
            record: what was found.
            instruments: fingerprint of what shall have measured it.
        """
        there = self.picture(record.key).is_file() and (not self.keep_clips or self.clip(record.key).is_file())
        return there and record.instruments == instruments

    def find(self, key: str) -> R | None:
        """Return a record; None if it was not made yet, or is damaged or of another layout: such a file is set aside."""
        path = self._path(key)
        if not os.path.lexists(path):
            return None
        try:
            record = from_dict(self.kind, read_json(path, "the record", finite=False), str(path))
            if record.key != key:
                raise ConfigError(f"it is of {shown(record.key)}")
            return record
        except ConfigError as error:
            set_aside(path, error)
            return None

    def keep(self, key: str, record: R, source: torch.Tensor, edited: torch.Tensor) -> None:
        """Keep a record, and the first, middle and last frame, the source's above the edit's; and the clip, if asked to.

        Args:
            key: names the edit.
            record: what it measured.
            source: (frame, 3, height, width), RGB in [0, 1].
            edited: the same shape; in steps of 1/255 where clips are kept.
        """
        chosen = sorted({0, len(source) // 2, len(source) - 1})
        rows = torch.cat([torch.cat(list(clip[chosen]), dim=-1) for clip in (source, edited)], dim=-2)
        pixels = (rows * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.picture(key)) as temporary:
            Image.fromarray(pixels).save(temporary, format="webp", quality=85)
        if self.keep_clips and not self.clip(key).is_file():
            write_video(edited * 2 - 1, self.clip(key), fps=_FPS, quality=100)
        # The record last: where it is, the rest is.
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(to_dict(record)), encoding="utf-8")
