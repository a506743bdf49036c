"""The items of a benchmark of edits: prompts, kinds, masks and clips, which are drawn scenes or files."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from faircut.config.ranges import MAX_FRAMES, check_range
from faircut.config.texts import check_prompt
from faircut.errors import ConfigError, choices
from faircut.pocket.clips import Clip, render_clip
from faircut.pocket.edit_cases import KINDS, LOCAL, EditCase, make_case, with_subject
from faircut.pocket.pictures import to_tensor
from faircut.pocket.scenes import check_scene
from faircut.pocket.vocabulary import Scene
from faircut.video import read_video

__all__ = ["VERSION", "Drawn", "EditBenchmark", "EditItem", "ItemClip"]

VERSION = 1
"""Version of the layout of task files."""
_CHANGES = ("background", "style", "noun", "gender", "skin", "hair", "colour")


@dataclass(frozen=True)
class Drawn:
    """A clip of the drawn world and its change.

    Attributes:
        scene: Source scene.
        change: Fields of the scene or its subject that differ in the target, with their new values.
    """

    scene: Scene
    change: Mapping[str, str]

    def case(self, kind: str) -> EditCase:
        """Return the edit with its ground truth.

        Raises:
            ConfigError: If the drawn world has no such scenes.
        """
        check_scene(self.scene)
        for name in self.change:
            if name not in _CHANGES:
                raise ConfigError(f"a drawn scene cannot change its {name!r}: {choices(name, _CHANGES)}")
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
        name: Name, unique in the benchmark.
        kind: Kind of edit, such as ``"colour"``, ``"style"`` or ``"background"``. Figures are averaged within kinds
            first.
        source_prompt: Prompt that describes the clip.
        prompt: Target prompt.
        clip: Video file or folder of pictures, relative to the task file. None for a drawn clip.
        drawn: Clip of the drawn world. None for a clip from a file.
        blend: (source words, target words) of the edited subject. None to edit the whole frame.
        style: Words of the target prompt that describe the style of the whole frame.
        mask: Clip or folder of pictures, bright where the edit belongs. None if unknown.
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
        region: (frame, height, width) bool, pixels that may change; None if unknown, or if all may change.
        case: Edit with its ground truth; None for a clip from a file.
        drawn: Drawn clip with its ground truth; None for a clip from a file.
    """

    frames: torch.Tensor
    region: torch.Tensor | None = None
    case: EditCase | None = None
    drawn: Clip | None = None


@dataclass(frozen=True)
class EditBenchmark:
    """A list of edits.

    Attributes:
        version: Version of the file's layout, 1.
        name: Name in results.
        items: Edits to make.
        num_frames: Number of frames of each clip to edit.
        size: Shorter side in pixels to which clips from files are resized.
        guidance: Guidance scale by kind; 7.5 for kinds that are not listed.
        folder: Folder to which the paths of the clips are relative.
        hash: Hash of the file.
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
        if self.version != VERSION:
            raise ConfigError(f"the task file has version {self.version}; this faircut reads version {VERSION}")
        if not self.items:
            raise ConfigError("there are no items; give at least one, with name, kind, source_prompt, prompt and clip")
        twice = [name for name, n in Counter(item.name for item in self.items).items() if n > 1]
        if twice:
            raise ConfigError(f"items of {self.name!r} share the name {twice[0]!r}; give every item a unique name")
        for name in ("num_frames", "size"):
            check_range(name, getattr(self, name), 1, MAX_FRAMES)
        for kind, scale in self.guidance.items():
            check_range(f"guidance.{kind}", scale, 0, 1000, example="7.5")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of edits, in the order of the items."""
        return tuple(dict.fromkeys(item.kind for item in self.items))

    def limited(self, n: int | None) -> EditBenchmark:
        """Return a benchmark of n items, spread evenly over the kinds: the first of each, then the second of each, and
        so on.

        Raises:
            ConfigError: If there are fewer than n items, or n is below 1.
        """
        if n is None:
            return self
        if not 1 <= n <= len(self.items):
            raise ConfigError(
                f"{n} edits were requested; give 1 to {len(self.items)}, the number of edits of {self.name}"
            )
        ranks: dict[str, int] = {}
        order = []
        for position, item in enumerate(self.items):
            ranks[item.kind] = ranks.get(item.kind, -1) + 1
            order.append((ranks[item.kind], position, item))
        return dataclasses.replace(self, items=tuple(item for _, _, item in sorted(order, key=lambda x: x[:2])[:n]))

    def load(self, item: EditItem) -> ItemClip:
        """Read or draw the clip of an item.

        Raises:
            VideoError: If the clip cannot be read.
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
        # An edit may change pixels of the old and of the new subject.
        region = torch.from_numpy(clip.masks.any(1) | render_clip(case.target, frames).masks.any(1))
    return ItemClip(to_tensor(clip.frames), region, case, clip)
