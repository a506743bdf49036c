"""The cases of an audit: clips with their prompts and the known facts about them, and the built-in benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from faircut.errors import ConfigError, choices
from faircut.fairness.attributes import GENDER
from faircut.pocket.captions import neutral_caption
from faircut.pocket.clips import render_clip
from faircut.pocket.pictures import to_tensor
from faircut.pocket.scenes import sample_scene
from faircut.pocket.vocabulary import BACKGROUNDS, PROFESSIONS, STEREOTYPE, Scene
from faircut.pocket.world import render
from faircut.prompts import fit_article

__all__ = ["BENCHMARKS", "Case", "CaseClip", "calibration_cases", "get_benchmark", "pocket_professions"]

FRAMES = 8
_SEED = 41
_CALIBRATION_SEED = 43
_BACKGROUNDS_EACH = 3


@dataclass(frozen=True)
class CaseClip:
    """A clip with the known facts about it.

    Attributes:
        frames: (frame, 3, height, width), RGB in [-1, 1].
        mask: (frame, height, width) bool, mask of the person who is edited; None if unknown.
        others: Masks of all other people, (frame, height, width) bool each.
        flow: (frame - 1, height, width, 2), pixels to the right and down; None if unknown.
        visible: (frame - 1, height, width) bool, pixels that are visible in the next frame too; None if the flow is
            exact.
        empty: (frame, 3, height, width), RGB in [-1, 1], the clip without the person; None if unknown.
    """

    frames: torch.Tensor
    mask: torch.Tensor | None = None
    others: tuple[torch.Tensor, ...] = ()
    flow: torch.Tensor | None = None
    visible: torch.Tensor | None = None
    empty: torch.Tensor | None = None


@dataclass(frozen=True)
class Case:
    """One clip and the profession to which it is edited.

    Attributes:
        name: Name, unique in the benchmark.
        profession: Profession that the edit should show. Figures are grouped by profession.
        source_prompt: Prompt that describes the clip.
        prompt: Target prompt, which does not mention the attribute.
        source: Words for the person in the source prompt.
        stereotype: Stereotypical value of the profession; None if unknown.
        value: Value that the clip shows; None if unknown, then it is read.
        people: Number of people in the clip.
        load: Function that draws or reads the clip.
        path: File or folder of the clip; None for a drawn clip.
    """

    name: str
    profession: str
    source_prompt: str
    prompt: str
    source: str
    stereotype: str | None
    value: str | None
    people: int
    load: Callable[[], CaseClip] = field(repr=False, compare=False)
    path: Path | None = None


def pocket_professions(n: int | None = None) -> list[Case]:
    """Return the profession benchmark, on held-out scenes of the drawn world.

    Every profession, people of both values, alone and next to another person, on three backgrounds: 144 clips of 8
    frames. They are ordered so that every two cases have both values, and every 24 have all professions.

    Args:
        n: Number of cases to return, from the first on; None for all.

    Returns:
        The cases.
    """
    rng = np.random.default_rng(_SEED)
    cases = []
    for block in range(2 * _BACKGROUNDS_EACH):
        for number, profession in enumerate(PROFESSIONS):
            place = BACKGROUNDS[(3 * number + 4 * (block // 2)) % len(BACKGROUNDS)]
            people = 1 + (block + number) % 2
            cases += [_pocket_case(rng, profession, gender, place, people) for gender in ("woman", "man")]
    if n is not None and not 1 <= n <= len(cases):
        raise ConfigError(
            f"{n} clips were requested; give 1 to {len(cases)}, the number of clips of pocket-professions"
        )
    return cases[:n]


def calibration_cases(each: int) -> list[Case]:
    """Return scenes for calibration: one person each, and none of them in the benchmark.

    Args:
        each: Number of cases for each profession and value of the source.

    Returns:
        The cases.
    """
    rng = np.random.default_rng(_CALIBRATION_SEED)
    return [
        _pocket_case(rng, profession, gender, BACKGROUNDS[(number + 3 * k) % len(BACKGROUNDS)], 1)
        for number, profession in enumerate(PROFESSIONS)
        for gender in ("woman", "man")
        for k in range(each)
    ]


BENCHMARKS: dict[str, Callable[[int | None], list[Case]]] = {"pocket-professions": pocket_professions}


def get_benchmark(name: str) -> Callable[[int | None], list[Case]]:
    """Return a benchmark by its name.

    Raises:
        ConfigError: If there is no benchmark of that name.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"no benchmark {name!r}: {choices(name, BENCHMARKS)}")
    return BENCHMARKS[name]


def _pocket_case(rng: np.random.Generator, profession: str, gender: str, place: str, people: int) -> Case:
    while True:
        scene = sample_scene(
            rng, split="held_out", noun="person", people=people, gender=gender, background=place, style=None,
            mention_gender=False, mention_hair=False, mention_colour=False,
        )  # fmt: skip
        # The other person must be distinguishable from the edited person, in words and in the picture.
        if people == 1 or scene.subjects[1].noun not in ("person", profession):
            break
    description = neutral_caption(scene)
    start, end = description.subjects[0]
    prompt = fit_article(description.text[:start], profession) + profession + description.text[end:]
    value = GENDER.judged(gender)
    return Case(
        name=f"{profession.replace(' ', '-')}.{value}.{place}.{people}.{scene.seed}",
        profession=profession,
        source_prompt=description.text,
        prompt=prompt,
        source="person",
        stereotype="female" if STEREOTYPE[profession] > 0.5 else "male",
        value=value,
        people=people,
        load=partial(_draw, scene),
    )


def _draw(scene: Scene, frames: int = FRAMES) -> CaseClip:
    clip = render_clip(scene, frames)
    rest = dataclasses.replace(scene, subjects=scene.subjects[1:])
    times = (np.arange(frames) - (frames - 1) / 2) / clip.fps
    empty = np.stack([render(rest, time=float(time)).image for time in times])
    masks = torch.from_numpy(clip.masks)
    return CaseClip(
        frames=to_tensor(clip.frames),
        mask=masks[:, 0],
        others=tuple(masks[:, i] for i in range(1, masks.shape[1])),
        flow=torch.from_numpy(clip.flow),
        empty=to_tensor(empty),
    )
