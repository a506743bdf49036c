"""The drawn world: its vocabulary, the sampling of scenes, and pictures with ground truth.

A scene has a background, one subject (or two people side by side) and optionally a style. Sampling, the background's
variation and the style's noise depend only on the scene's seed, so a scene is the same in every process.

The world is biased on purpose. If a caption does not name the gender of a person, the drawn gender follows
`STEREOTYPE`, so that a model trained on the world learns a stereotype of known size, which fair editing must be able to
undo. If the caption names the gender, both genders are equally frequent, so the model learns every combination.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .draw_animals import draw_animal
from .draw_backgrounds import draw_background
from .draw_pen import Pen
from .draw_people import draw_person
from .draw_styles import apply_style
from .draw_things import draw_vehicle
from .scenes import MENTION_CLOTHES, MENTION_GENDER, MENTION_HAIR, MENTION_PAINT, STYLE_SHARE, held_out, sample_scene
from .vocabulary import (
    ANIMALS,
    BACKGROUNDS,
    COLOURLESS,
    COLOURS,
    GENDERS,
    HAIR,
    IMAGE_SIZE,
    LABELS,
    PROFESSIONS,
    SKIN,
    STEREOTYPE,
    STYLES,
    VEHICLES,
    Scene,
    Subject,
)

__all__ = [
    "ANIMALS",
    "BACKGROUNDS",
    "COLOURLESS",
    "COLOURS",
    "GENDERS",
    "HAIR",
    "IMAGE_SIZE",
    "LABELS",
    "MENTION_CLOTHES",
    "MENTION_GENDER",
    "MENTION_HAIR",
    "MENTION_PAINT",
    "PROFESSIONS",
    "SKIN",
    "STEREOTYPE",
    "STYLES",
    "STYLE_SHARE",
    "VEHICLES",
    "Frame",
    "Scene",
    "Subject",
    "draw",
    "held_out",
    "labels",
    "render",
    "sample_scene",
]


@dataclass(frozen=True)
class Frame:
    """A drawn picture.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        masks: (subjects, size, size) bool, where each subject is visible.
    """

    image: np.ndarray
    masks: np.ndarray


def draw(scene: Scene, *, size: int = IMAGE_SIZE, time: float = 0.0) -> Pen:
    """Draw a scene without its style.

    Args:
        scene: Scene to draw.
        size: Height and width in pixels.
        time: Time in seconds relative to the scene's positions; can be negative.

    Returns:
        The pen, with the picture, the masks and the affine of every part.
    """
    pen = Pen(size)
    draw_background(pen, scene.background, scene.seed, scene.pan + scene.pan_speed * time)
    for owner, s in enumerate(scene.subjects):
        direction = -1.0 if s.facing == "left" else 1.0
        distance = s.speed * time
        common: dict[str, Any] = {
            "noun": s.noun,
            "colour": s.colour,
            "x": s.x + direction * distance,
            "y": s.y,
            "scale": s.scale,
            "facing_left": s.facing == "left",
        }
        if s.kind == "person":
            common |= {"woman": s.gender == "woman", "skin": s.skin, "hair": s.hair, "walking": s.speed > 0}
        # One cycle is 30 units for legs, one turn for wheels, and two seconds for rocking and swaying.
        cycle = {"person": distance / 30, "animal": distance / 30, "vehicle": distance / 68}[s.kind]
        idle = s.noun == "boat" or s.speed == 0
        phase = s.phase + (time / 2 if idle else cycle)
        _DRAW[s.kind](pen, owner, phase=phase, **common)
    return pen


_DRAW: dict[str, Callable[..., None]] = {"person": draw_person, "vehicle": draw_vehicle, "animal": draw_animal}


def render(scene: Scene, *, size: int = IMAGE_SIZE, time: float = 0.0) -> Frame:
    """Draw a scene.

    Args:
        scene: Scene to draw.
        size: Height and width in pixels.
        time: Time in seconds relative to the scene's positions; can be negative.

    Returns:
        The picture and a mask for each subject.
    """
    pen = draw(scene, size=size, time=time)
    image = apply_style(pen.picture(), scene.style, scene.seed)
    return Frame(image=image, masks=pen.masks(len(scene.subjects)))


def labels(scene: Scene) -> dict[str, int]:
    """Return the class indices of a scene, for training and testing a judge.

    Args:
        scene: A scene. Of two people, the first is described.

    Returns:
        For each head of `LABELS` the index of the class, or -1 if the attribute does not apply or is not visible.
    """
    first = scene.subjects[0]
    coloured = scene.style not in COLOURLESS
    person = first.kind == "person"
    values: dict[str, str | None] = {
        "kind": first.kind,
        "profession": first.noun if person else None,
        "gender": first.gender,
        "hair": first.hair if coloured else None,
        "colour": first.colour if coloured else None,
        "object": None if person else first.noun,
        "background": scene.background,
        "style": scene.style or "none",
    }
    return {head: -1 if value is None else LABELS[head].index(value) for head, value in values.items()}
