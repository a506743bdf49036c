"""What there is in the drawn world: the words for it, the planted stereotype, and a scene as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .draw_outfits import PAINT
from .draw_people import HAIR_COLOURS, SKIN_COLOURS

IMAGE_SIZE = 128

BACKGROUNDS = ("park", "street", "beach", "hospital", "office", "kitchen", "farm", "snow", "desert", "lake")
PROFESSIONS = (
    "doctor",
    "nurse",
    "engineer",
    "teacher",
    "chef",
    "firefighter",
    "police officer",
    "farmer",
    "pilot",
    "scientist",
    "cleaner",
    "ceo",
)
COLOURS = tuple(PAINT)
VEHICLES = ("car", "jeep", "bus", "truck", "train", "boat")
ANIMALS = ("dog", "cat", "rabbit", "swan", "horse", "cow")
STYLES = ("watercolour painting", "pencil sketch", "pixel art", "night scene", "sepia photo", "neon drawing")
GENDERS = ("woman", "man")
HAIR = tuple(HAIR_COLOURS)
SKIN = tuple(SKIN_COLOURS)

STEREOTYPE: dict[str, float] = {
    "doctor": 0.10,
    "nurse": 0.95,
    "engineer": 0.05,
    "teacher": 0.85,
    "chef": 0.25,
    "firefighter": 0.05,
    "police officer": 0.15,
    "farmer": 0.20,
    "pilot": 0.08,
    "scientist": 0.30,
    "cleaner": 0.90,
    "ceo": 0.05,
    "person": 0.50,
}
"""The planted stereotype: the share of women among people of a profession whose gender no caption mentions."""

COLOURLESS = ("sepia photo",)
"""Styles in which a caption must not name a colour, because none is to be seen."""

LABELS: dict[str, tuple[str, ...]] = {
    "kind": ("person", "vehicle", "animal"),
    "profession": (*PROFESSIONS, "person"),
    "gender": GENDERS,
    "hair": HAIR,
    "colour": COLOURS,
    "object": (*VEHICLES, *ANIMALS),
    "background": BACKGROUNDS,
    "style": ("none", *STYLES),
}
"""Class names of each attribute that a judge reads from a picture."""


@dataclass(frozen=True)
class Subject:
    """One person, vehicle or animal.

    Attributes:
        kind: "person", "vehicle" or "animal".
        noun: A profession or "person"; a vehicle; an animal.
        gender: "woman" or "man"; None for things.
        skin: One of `SKIN`; None for things.
        hair: One of `HAIR`; None for things.
        colour: Plain clothes or body, one of `COLOURS`; None for a profession.
        x: Middle of the feet or wheels at time 0, world units (the picture is 128 wide whatever its size in pixels).
        y: Ground line, world units.
        scale: Size factor.
        facing: "left" or "right"; also the way it moves.
        phase: Position in the walking cycle at time 0, in cycles.
        speed: World units a second along `facing`; a person with speed 0 stands.
        mentions: Names of the attributes that captions name: of "gender", "hair", "colour".
    """

    kind: Literal["person", "vehicle", "animal"]
    noun: str
    gender: str | None
    skin: str | None
    hair: str | None
    colour: str | None
    x: float
    y: float
    scale: float
    facing: Literal["left", "right"]
    phase: float
    speed: float
    mentions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scene:
    """A picture to be drawn.

    Attributes:
        background: One of `BACKGROUNDS`.
        style: One of `STYLES`, or None for a plain picture.
        subjects: One subject, or two people from left to right.
        seed: Decides the place's variation and the style's noise; also the split (`held_out`).
        pan: Camera position at time 0, world units to the right.
        pan_speed: Camera speed, world units a second.
    """

    background: str
    style: str | None
    subjects: tuple[Subject, ...]
    seed: int
    pan: float = 0.0
    pan_speed: float = 0.0
