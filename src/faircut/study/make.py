"""Make a study: one page that contains all clips, and its key."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from faircut.config.ranges import MAX_FRAMES, check_range
from faircut.config.reading import read_yaml
from faircut.config.values import check_clips, from_dict, to_dict
from faircut.errors import ConfigError, VideoError
from faircut.files import Output, all_or_nothing, check_outputs, write_json, write_text
from faircut.report import Environment, hash_clip
from faircut.report.pictures import fit_for_players
from faircut.study.key import FORMAT, KeyClip, KeyItem, StudyKey, load_key, study_name
from faircut.video import Video, read_video, write_video

__all__ = ["QUESTIONS", "StudyFile", "StudyItem", "load_study", "make_study"]

QUESTIONS = {
    "editing": "Which clip follows the text better?",
    "quality": "Which clip has the better pictures?",
    "consistency": "Which clip is steadier from picture to picture?",
}
"""Questions about every pair of clips: the three of FateZero's user study (Qi et al., 2023)."""

_PLACEHOLDER = "STUDY_DATA"  # in the page's template


@dataclass(frozen=True)
class StudyItem:
    """A source clip and its edits by several methods.

    Attributes:
        prompt: Target prompt of the edits.
        source: Source clip, relative to the study file.
        results: Edited clips by method, relative to the study file; two or more.
    """

    prompt: str
    source: str
    results: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(self.results) < 2:
            raise ConfigError(f"{self.source} has {len(self.results)} results; give two or more to compare")


@dataclass(frozen=True)
class StudyFile:
    """The content of a study file.

    Attributes:
        version: Version of the file's layout.
        items: Clips. Every two results of a clip are one comparison.
        title: Title of the page, which must not reveal what is compared.
        num_frames: Number of frames of every clip to show, from the first on; None for all.
        size: Shorter side in pixels to which every clip is resized; None to keep the size.
    """

    version: int
    items: tuple[StudyItem, ...]
    title: str = "Which edit is better?"
    num_frames: int | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ConfigError(f"the study has version {self.version}; this faircut reads version 1")
        if not self.items:
            raise ConfigError("there are no items; give at least one, with prompt, source and results")
        for name in ("num_frames", "size"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 1, MAX_FRAMES)


def load_study(path: str | Path) -> StudyFile:
    """Read a study file.

    Args:
        path: Path of the YAML file.

    Raises:
        ConfigError: If the file cannot be read, has unknown keys, or compares nothing.
        VideoError: If a clip is missing.
    """
    path = Path(path)
    data = read_yaml(path, "the study")
    file = from_dict(StudyFile, data, str(path))
    check_clips(path, path.parent, (name for item in file.items for name in (item.source, *item.results.values())))
    return file


def make_study(file: StudyFile, folder: str | Path, output: str | Path, *, seed: int = 0) -> StudyKey:
    """Write the page of a study and, next to the page, its key in ``.key.json``.

    All clips are encoded again with the same settings, their source's times and no sound, so that only their pictures
    differ.

    Args:
        file: Content of the study.
        folder: Folder to which the paths of the clips are relative.
        output: Path of the page, which ends in ``.html``.
        seed: Seed of the clips' names and, together with each participant's name, of sides and order.

    Returns:
        The key.

    Raises:
        ConfigError: If the output does not end in ``.html``, or the key of another study would be overwritten.
        VideoError: If a clip cannot be read, or an item's clips differ in size or number of frames.
    """
    folder, output = Path(folder), Path(output)
    if output.suffix != ".html":
        raise ConfigError(f"{output} is not an HTML page; give a name that ends in .html")
    read = [folder / name for item in file.items for name in (item.source, *item.results.values())]
    check_outputs([Output(output), Output(key_path(output))], read)
    items: list[KeyItem] = []
    clips: dict[str, KeyClip] = {}
    shown: list[dict[str, Any]] = []
    for number, item in enumerate(file.items):
        paths = {method: folder / name for method, name in item.results.items()}
        hashes = {method: hash_clip(path) for method, path in paths.items()}
        names = {method: _name(seed, number, method, hashes[method]) for method in paths}
        encoded = _encode(file, folder / item.source, paths)
        items.append(KeyItem(item.prompt, item.source, hash_clip(folder / item.source)))
        clips |= {names[m]: KeyClip(number, m, item.results[m], hashes[m]) for m in paths}
        # Sorted by name, because in the file's order the first would always be the same method.
        results = {name: encoded[method] for method, name in sorted(names.items(), key=lambda pair: pair[1])}
        shown.append({"prompt": item.prompt, "source": encoded[None], "clips": results})
    name = study_name(file.title, seed, QUESTIONS, tuple(items), clips)
    key = StudyKey(file.title, seed, QUESTIONS, tuple(items), clips, name, Environment().versions)
    if key_path(output).exists() and load_key(key_path(output)).study != name:
        raise ConfigError(
            f"{key_path(output)} is the key of another study and would be overwritten; choose another name"
        )
    page: dict[str, Any] = {"format": FORMAT, "study": key.study, "title": file.title, "questions": QUESTIONS}
    page["trials"] = [(n, *pair) for n, item in enumerate(shown) for pair in combinations(item["clips"], 2)]
    _write(Path(output), {**page, "items": shown}, key)
    return key


def key_path(page: Path) -> Path:
    """Return the path of a page's key, next to the page."""
    return page.with_suffix(".key.json")


def _name(seed: int, number: int, method: str, content: str) -> str:
    """Return a name for a clip that does not reveal the method: 16 hexadecimal digits."""
    return hashlib.blake2b(f"{seed}/{number}/{method}/{content}".encode(), digest_size=8).hexdigest()


def _encode(file: StudyFile, source: Path, results: Mapping[str, Path]) -> dict[str | None, str]:
    """Read the clips of one item and encode them alike, as data URIs by method. None is the source."""
    original = read_video(source, num_frames=file.num_frames, size=file.size)
    videos: dict[str | None, Video] = {None: original}
    for method, path in results.items():
        video = videos[method] = read_video(path, num_frames=file.num_frames, size=file.size)
        if (len(video), video.size) != (len(original), original.size):
            of_source, of_result = (f"{len(v)} frames of {v.size[1]}x{v.size[0]}" for v in (original, video))
            raise VideoError(
                f"{path} has {of_result}, but its source {source} has {of_source}; make them equal, "
                "or set num_frames and size in the study file"
            )
    return {method: _data_uri(original, video.frames) for method, video in videos.items()}


def _data_uri(timing: Video, frames: torch.Tensor) -> str:
    with tempfile.TemporaryDirectory(prefix="faircut-") as folder:
        path = write_video(timing.with_frames(fit_for_players(frames)), Path(folder) / "clip.mp4", audio_from=False)
        return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _write(output: Path, page: Mapping[str, Any], key: StudyKey) -> None:
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    # A script element ends at the first "</script", so "<" is written as its JSON escape.
    data = json.dumps(page).replace("<", "\\u003c")
    with all_or_nothing({"page": output, "key": key_path(output)}) as files:
        write_text(files["page"], template.replace(_PLACEHOLDER, data, 1))
        write_json(files["key"], to_dict(key))
