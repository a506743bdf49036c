"""Task files for an audit: YAML files with your own clips and prompts."""

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
    """One clip and the professions to which it is edited.

    Attributes:
        clip: Video file or folder of pictures, relative to the task file.
        source_prompt: Prompt that describes the clip.
        person: Words for the person in the source prompt.
        prompt: Target prompt, with ``{profession}`` in it. An article before the profession is adapted.
        professions: Professions for one edit each. None uses the list of the file.
        value: Value that the clip shows, if known.
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
                f"the prompt {self.prompt!r} does not contain {{profession}}; write it where the profession belongs"
            )
        if self.professions == ():
            raise ConfigError("professions is empty; give at least one, or leave it out to use the list of the file")
        if self.value is not None:
            GENDER.value(self.value)


@dataclass(frozen=True)
class TaskFile:
    """A list of tasks.

    Attributes:
        version: Version of the file's layout.
        tasks: Clips with their prompts.
        stereotypes: Professions, each with its stereotypical value, or null if unknown.
        num_frames: Number of frames of each clip to edit.
        size: Shorter side in pixels to which clips are resized.
    """

    version: int
    tasks: tuple[Task, ...]
    stereotypes: Mapping[str, str | None]
    num_frames: int = FRAMES
    size: int = 512

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ConfigError(f"the task file has version {self.version}; this faircut reads version 1")
        if not self.tasks:
            raise ConfigError("there are no tasks; give at least one, with clip, source_prompt, person and prompt")
        for value in self.stereotypes.values():
            if value is not None:
                GENDER.value(value)
        if not self.stereotypes and any(task.professions is None for task in self.tasks):
            raise ConfigError("stereotypes is empty; give at least one profession, such as nurse: null")
        for name in ("num_frames", "size"):
            check_range(name, getattr(self, name), 1, MAX_FRAMES)


def load_tasks(path: str | Path, n: int | None = None) -> list[Case]:
    """Read a task file.

    Args:
        path: Path of the YAML file.
        n: Number of cases to return, from the first on; None for all.

    Returns:
        A case for every clip and profession.

    Raises:
        ConfigError: If the file cannot be read, has unknown keys, or a prompt lacks ``{profession}``.
        VideoError: If a clip is missing.
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
            # Clips with the same name in several folders, and several tasks for one clip, are separate cases.
            names[case.name] += 1
            count = names[case.name]
            cases.append(case if count == 1 else dataclasses.replace(case, name=f"{case.name}~{count}"))
    if n is not None and not 1 <= n <= len(cases):
        raise ConfigError(f"{n} edits were requested; give 1 to {len(cases)}, the number of edits of {path}")
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
