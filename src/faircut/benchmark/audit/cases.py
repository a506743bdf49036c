"""What is edited in an audit: a clip, its prompts, who is in it, and what is known about it."""

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
_PLACES_EACH = 3


@dataclass(frozen=True)
class CaseClip:
    """A clip with what is known about it.

    Attributes:
        frames: (frame, 3, height, width), RGB in [-1, 1].
        mask: (frame, height, width) bool, the person who is edited; None where it is not known.
        others: (frame, height, width) bool each: the people who are not.
        flow: (frame - 1, height, width, 2), pixels to the right and down; None where it is not known.
        visible: (frame - 1, height, width) bool, what is seen in the next frame too; None where the flow is exact.
        empty: (frame, 3, height, width), RGB in [-1, 1], the clip without the person; None where it is not known.
    """

    frames: torch.Tensor
    mask: torch.Tensor | None = None
    others: tuple[torch.Tensor, ...] = ()
    flow: torch.Tensor | None = None
    visible: torch.Tensor | None = None
    empty: torch.Tensor | None = None


@dataclass(frozen=True)
class Case:
    """One clip to be edited to a profession.

    Attributes:
        name: unique in its benchmark.
        profession: what the person is edited to; groups are professions.
        source_prompt: what is in the clip.
        prompt: of the edit, which says nothing about the attribute.
        source: the words for the person in the source prompt.
        stereotype: the value that the profession is stereotyped as; None if unknown.
        value: the value that the clip shows; None if unknown, and read.
        people: how many people are in the clip.
        load: draws or reads the clip.
        path: of the clip's file or folder; None for one that is drawn.
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
    """The profession benchmark on held-out scenes of the drawn world.

    Every profession, people of either value, alone and beside another person, in three places: 144 clips of 8 frames.
    The order is such that every two have both values, and every 24 all professions.

    Args:
        n: only so many, from the start.

    Returns:
        The cases.
    """
    rng = np.random.default_rng(_SEED)
    cases = []
    for block in range(2 * _PLACES_EACH):
        for number, profession in enumerate(PROFESSIONS):
            place = BACKGROUNDS[(3 * number + 4 * (block // 2)) % len(BACKGROUNDS)]
            people = 1 + (block + number) % 2
            cases += [_pocket_case(rng, profession, gender, place, people) for gender in ("woman", "man")]
    if n is not None and not 1 <= n <= len(cases):
        raise ConfigError(f"{n} clips were asked for; pocket-professions has 1 to {len(cases)}")
    return cases[:n]


def calibration_cases(each: int) -> list[Case]:
    """Scenes for finding strengths, none of them in the benchmark: one person whose value is not the one asked for.

    Args:
        each: how many for each profession and value of the source.

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
        ConfigError: there is none of that name.
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
        # The other person must be told from the one who is edited, in words and in the picture.
        if people == 1 or scene.subjects[1].noun not in ("person", profession):
            break
    told = neutral_caption(scene)
    start, end = told.subjects[0]
    prompt = fit_article(told.text[:start], profession) + profession + told.text[end:]
    value = GENDER.judged(gender)
    return Case(
        name=f"{profession.replace(' ', '-')}.{value}.{place}.{people}.{scene.seed}",
        profession=profession,
        source_prompt=told.text,
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
