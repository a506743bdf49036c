"""Task files of edits: clips, prompts, kinds, masks; drawn scenes, files, and the layouts of other benchmarks."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from faircut.config.ranges import MAX_FRAMES, check_range
from faircut.config.reading import dump_yaml, read_yaml
from faircut.config.texts import check_prompt
from faircut.config.values import check_clips, from_dict, to_dict
from faircut.errors import ConfigError, choices
from faircut.pocket.clips import Clip, render_clip
from faircut.pocket.edit_cases import GUIDANCE, KINDS, LOCAL, EditCase, edit_cases, make_case, with_subject
from faircut.pocket.pictures import to_tensor
from faircut.pocket.scenes import check_scene
from faircut.pocket.vocabulary import Scene
from faircut.video import read_video

__all__ = ["SHIPPED", "Drawn", "EditBenchmark", "EditItem", "ItemClip", "load_edits", "pocket_edit", "to_yaml"]

SHIPPED = {"pocket-edit": Path(__file__).parents[1] / "data" / "pocket-edit.yaml"}
"""Benchmarks that come with faircut, by name."""

_VERSION = 1
_CHANGES = ("background", "style", "noun", "gender", "skin", "hair", "colour")


@dataclass(frozen=True)
class Drawn:
    """A clip of the drawn world, and what it is to become.

    Attributes:
        scene: the source.
        change: fields of the scene, or of its subject, that are another in the target.
    """

    scene: Scene
    change: Mapping[str, str]

    def case(self, kind: str) -> EditCase:
        """Return the edit, whose every fact is known.

        Raises:
            ConfigError: the drawn world has no such scenes.
        """
        check_scene(self.scene)
        for name in self.change:
            if name not in _CHANGES:
                raise ConfigError(f"nothing drawn changes its {name!r}: {choices(name, _CHANGES)}")
        for_scene = {name: value for name, value in self.change.items() if name in ("background", "style")}
        target: Scene = dataclasses.replace(self.scene, **for_scene)  # type: ignore[arg-type]
        rest = {name: value for name, value in self.change.items() if name not in for_scene}
        target = with_subject(target, **rest) if rest else target
        check_scene(target)
        return make_case(kind, self.scene, target)


@dataclass(frozen=True)
class EditItem:
    """One edit of one clip.

    Attributes:
        name: unique in its benchmark.
        kind: of edit, such as ``"colour"``, ``"style"`` or ``"background"``; figures are averaged within kinds first.
        source_prompt: what is in the clip.
        prompt: what the edit is to show.
        clip: a video file or folder of pictures, relative to the task file.
        drawn: or a clip of the drawn world.
        blend: (source words, target words) of what is edited; None for all of the picture.
        style: words of the prompt that say how the whole picture shall look.
        mask: a clip or folder of pictures, bright where the edit is to be; None where it is not known.
    """

    name: str
    kind: str
    source_prompt: str
    prompt: str
    clip: str | None = None
    drawn: Drawn | None = None
    blend: tuple[str, str] | None = None
    style: tuple[str, ...] = ()
    mask: str | None = None

    def __post_init__(self) -> None:
        for name in ("source_prompt", "prompt"):
            check_prompt(getattr(self, name), name, required=True)
        if (self.clip is None) == (self.drawn is None):
            raise ConfigError(f"item {self.name!r} needs a clip or a drawn scene; give one of them")
        if self.drawn is not None:
            if self.kind not in KINDS:
                raise ConfigError(f"a drawn item cannot be of kind {self.kind!r}: {choices(self.kind, KINDS)}")
            self.drawn.case(self.kind)


@dataclass(frozen=True)
class ItemClip:
    """The clip of an item.

    Attributes:
        frames: (frame, 3, height, width), RGB in [-1, 1].
        region: (frame, height, width) bool, what may change; None where it is not known, or all of it may.
        case: the edit with its truth, and `drawn`, the clip with its; None for a clip from a file.
    """

    frames: torch.Tensor
    region: torch.Tensor | None = None
    case: EditCase | None = None
    drawn: Clip | None = None


@dataclass(frozen=True)
class EditBenchmark:
    """A list of edits.

    Attributes:
        version: of the layout, 1.
        name: what results call it.
        items: the edits.
        num_frames: how many frames of each clip are edited.
        size: the shorter side in pixels of clips from files.
        guidance: classifier-free guidance by kind; 7.5 for kinds that are not named.
        folder: that the clips are relative to.
        hash: of the file.
    """

    version: int
    name: str
    items: tuple[EditItem, ...]
    num_frames: int = 8
    size: int = 512
    guidance: Mapping[str, float] = field(default_factory=dict)
    folder: str = field(default=".", metadata={"saved": False})
    hash: str = field(default="", metadata={"saved": False})

    def __post_init__(self) -> None:
        if self.version != _VERSION:
            raise ConfigError(f"it has version {self.version}; this faircut reads version {_VERSION}")
        if not self.items:
            raise ConfigError("there are no items; give at least one, with name, kind, source_prompt, prompt and clip")
        twice = [name for name, n in Counter(item.name for item in self.items).items() if n > 1]
        if twice:
            raise ConfigError(f"items of {self.name!r} share the name {twice[0]!r}; give every item one of its own")
        for name in ("num_frames", "size"):
            check_range(name, getattr(self, name), 1, MAX_FRAMES)
        for kind, scale in self.guidance.items():
            check_range(f"guidance.{kind}", scale, 0, 1000, example="7.5")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of edits, in order."""
        return tuple(dict.fromkeys(item.kind for item in self.items))

    def limited(self, n: int | None) -> EditBenchmark:
        """Return only so many items, evenly from all kinds: the first of each, then the second of each, and so on.

        Raises:
            ConfigError: there are not so many.
        """
        if n is None:
            return self
        if not 1 <= n <= len(self.items):
            raise ConfigError(f"{n} edits were asked for; {self.name} has 1 to {len(self.items)}")
        ranks: dict[str, int] = {}
        order = []
        for place, item in enumerate(self.items):
            ranks[item.kind] = ranks.get(item.kind, -1) + 1
            order.append((ranks[item.kind], place, item))
        return dataclasses.replace(self, items=tuple(item for _, _, item in sorted(order, key=lambda x: x[:2])[:n]))

    def load(self, item: EditItem) -> ItemClip:
        """Read or draw an item's clip.

        Raises:
            VideoError: it cannot be read.
        """
        if item.drawn is not None:
            return _draw(item, self.num_frames)
        folder = Path(self.folder)
        video = read_video(folder / str(item.clip), num_frames=self.num_frames, size=self.size)
        region = None
        if item.mask is not None:
            mask = read_video(folder / item.mask, num_frames=self.num_frames, size=video.size)
            region = (mask.frames.mean(1) > 0).expand(len(video), -1, -1)
        return ItemClip(video.frames, region)


def _draw(item: EditItem, frames: int) -> ItemClip:
    assert item.drawn is not None
    case = item.drawn.case(item.kind)
    clip = render_clip(case.source, frames)
    region = None
    if item.kind in LOCAL:
        # Where either the old or the new subject is: what an edit may change.
        region = torch.from_numpy(clip.masks.any(1) | render_clip(case.target, frames).masks.any(1))
    return ItemClip(to_tensor(clip.frames), region, case, clip)


def load_edits(path: str | Path) -> EditBenchmark:
    """Read a benchmark: the name of a shipped one, a task file, or a folder in one of the known layouts.

    Args:
        path: the name, the YAML file or the folder.

    Raises:
        ConfigError: it cannot be read, or has unknown keys.
        VideoError: clips are missing.
    """
    if str(path) in SHIPPED:
        path = SHIPPED[str(path)]
    path, folder = Path(path), os.path.isdir(path)
    if folder:
        from faircut.benchmark.edits.layouts import read_layout

        benchmark = read_layout(path)
    else:
        benchmark = _read(path)
    named = (name for item in benchmark.items for name in (item.clip, item.mask) if name is not None)
    check_clips(path, Path(benchmark.folder), named, inside=folder)
    return benchmark


def _read(path: Path) -> EditBenchmark:
    if not os.path.lexists(path):
        raise ConfigError(f"no benchmark {str(path)!r}: {choices(str(path), SHIPPED)}; or a YAML file, or a folder")
    data = read_yaml(path, "the tasks")
    if isinstance(data, Mapping) and ("folder" in data or "hash" in data):
        raise ConfigError(f"{path} has a setting folder or hash, which are not for files; leave them out")
    benchmark = from_dict(EditBenchmark, data, str(path))
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return dataclasses.replace(benchmark, folder=str(path.parent), hash=digest)


def pocket_edit() -> EditBenchmark:
    """Build the list of edits of `faircut.pocket.edit_cases.edit_cases` as a benchmark."""
    items = []
    for number, case in enumerate(edit_cases()):
        before, after = case.source.subjects[0], case.target.subjects[0]
        pairs = ((case.source, case.target), (before, after))
        change = {
            f.name: getattr(b, f.name)
            for a, b in pairs
            for f in dataclasses.fields(a)
            if f.name != "subjects" and getattr(a, f.name) != getattr(b, f.name)
        }
        style = tuple(str(case.target.style).split()) if case.kind == "style" else ()
        name, drawn = f"{case.kind}-{number:02d}", Drawn(case.source, change)
        prompts = case.source_prompt, case.prompt
        items.append(EditItem(name, case.kind, *prompts, drawn=drawn, blend=case.blend_words, style=style))
    return EditBenchmark(_VERSION, "pocket-edit", tuple(items), size=128, guidance=GUIDANCE)


def to_yaml(benchmark: EditBenchmark) -> str:
    """Write a benchmark as the text of a task file, an item to a line."""

    def spare(value: Any) -> Any:
        """Leave out what is as by default."""
        return {k: v for k, v in value.items() if v not in (None, [], "")} if isinstance(value, dict) else value

    data = to_dict(benchmark)
    items = data.pop("items")
    head = dump_yaml(data)
    lines = [dump_yaml(spare(item), default_flow_style=True, width=10**6).strip() for item in items]
    return head + "items:\n" + "".join(f"- {line}\n" for line in lines)
