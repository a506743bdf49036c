"""Task files: your own clips and prompts for an audit, in YAML."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from faircut.benchmark.audit.cases import FRAMES, Case, CaseClip
from faircut.config.ranges import MAX_FRAMES, check_range
from faircut.config.reading import read_yaml
from faircut.config.texts import check_prompt
from faircut.config.values import check_clips, from_dict
from faircut.errors import ConfigError
from faircut.fairness.attributes import GENDER
from faircut.metrics import motion
from faircut.prompts import fit_article
from faircut.video import read_video

__all__ = ["Task", "TaskFile", "load_tasks"]


@dataclass(frozen=True)
class Task:
    """One clip and what it is edited to.

    Attributes:
        clip: a video file or folder of pictures, relative to the task file.
        source_prompt: what is in the clip.
        person: the words for the person in it.
        professions: what the person is edited to, one edit each; None is the file's list.
        prompt: of the edit, with ``{profession}`` in it; an article before it is made to fit.
        value: what the clip shows, if it is known.
    """

    clip: str
    source_prompt: str
    person: str
    prompt: str
    professions: tuple[str, ...] | None = None
    value: str | None = None

    def __post_init__(self) -> None:
        for name in ("source_prompt", "prompt"):
            check_prompt(getattr(self, name), name, required=True)
        if "{profession}" not in self.prompt:
            raise ConfigError(
                f"the prompt {self.prompt!r} has no place for the profession; write {{profession}} where it goes"
            )
        if self.professions == ():
            raise ConfigError("professions is empty; name at least one, or leave it out for the file's list")
        if self.value is not None:
            GENDER.value(self.value)


@dataclass(frozen=True)
class TaskFile:
    """A list of tasks.

    Attributes:
        version: of this layout.
        tasks: the tasks.
        stereotypes: the professions, each with the value that it is stereotyped as; null if unknown.
        num_frames: how many frames of each clip are edited.
        size: the shorter side in pixels.
    """

    version: int
    tasks: tuple[Task, ...]
    stereotypes: Mapping[str, str | None]
    num_frames: int = FRAMES
    size: int = 512

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ConfigError(f"it has version {self.version}; this faircut reads version 1")
        if not self.tasks:
            raise ConfigError("there are no tasks; give at least one, with clip, source_prompt, person and prompt")
        for value in self.stereotypes.values():
            if value is not None:
                GENDER.value(value)
        if not self.stereotypes and any(task.professions is None for task in self.tasks):
            raise ConfigError("stereotypes is empty; name at least one profession, such as nurse: null")
        for name in ("num_frames", "size"):
            check_range(name, getattr(self, name), 1, MAX_FRAMES)


def load_tasks(path: str | Path, n: int | None = None) -> list[Case]:
    """Read a task file.

    Args:
        path: of the YAML file.
        n: only so many cases, from the start.

    Returns:
        A case for every clip and profession.

    Raises:
        ConfigError: it cannot be read, has unknown keys, or names professions without a place for them.
        VideoError: a clip is missing.
    """
    path = Path(path)
    data = read_yaml(path, "the tasks")
    file = from_dict(TaskFile, data, str(path))
    check_clips(path, path.parent, (task.clip for task in file.tasks), "see its head for what to collect")
    cases: list[Case] = []
    names: Counter[str] = Counter()
    for task in file.tasks:
        for profession in task.professions or tuple(file.stereotypes):
            case = _case(file, task, profession, path.parent)
            # Clips of one name in several folders, and several tasks of one clip, are cases of their own.
            names[case.name] += 1
            count = names[case.name]
            cases.append(case if count == 1 else dataclasses.replace(case, name=f"{case.name}~{count}"))
    if n is not None and not 1 <= n <= len(cases):
        raise ConfigError(f"{n} edits were asked for; {path} has 1 to {len(cases)}")
    return cases[:n]


def _case(file: TaskFile, task: Task, profession: str, folder: Path) -> Case:
    *before, rest = task.prompt.split("{profession}")
    return Case(
        name=f"{Path(task.clip).stem}.{profession.replace(' ', '-')}",
        profession=profession,
        source_prompt=task.source_prompt,
        prompt="".join(fit_article(part, profession) + profession for part in before) + rest,
        source=task.person,
        stereotype=file.stereotypes.get(profession),
        value=task.value,
        people=1,
        load=partial(_read, folder / task.clip, file.num_frames, file.size),
        path=folder / task.clip,
    )


@lru_cache(maxsize=1)  # The cases of a clip, one for each profession, follow each other.
def _read(path: Path, frames: int, size: int) -> CaseClip:
    video = read_video(path, num_frames=frames, size=size)
    flow, visible = motion((video.frames + 1) / 2)
    return CaseClip(frames=video.frames, flow=flow, visible=visible)
