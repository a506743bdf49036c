"""The vocabulary of the drawn world, the planted stereotype, and the dataclasses of a scene."""

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
"""The planted stereotype: the share of women in a profession, if the caption does not name the gender."""

COLOURLESS = ("sepia photo",)
"""Styles without colour, in which a caption must not name one."""

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
"""Class names of each attribute that the judge reads from a picture."""


@dataclass(frozen=True)
class Subject:
    """One person, vehicle or animal.

    Attributes:
        kind: "person", "vehicle" or "animal".
        noun: A profession or "person"; a vehicle; an animal.
        gender: "woman" or "man"; None for things.
        skin: One of `SKIN`; None for things.
        hair: One of `HAIR`; None for things.
        colour: Colour of plain clothes or of the thing, one of `COLOURS`; None for a profession.
        x: Middle of the feet or wheels at time 0, world units (the picture is 128 units wide at any size in pixels).
        y: Ground line, world units.
        scale: Size factor.
        facing: "left" or "right", also the direction of motion.
        phase: Position in the walking cycle at time 0, in cycles.
        speed: World units per second in the direction `facing`; a person with speed 0 stands.
        mentions: Attributes that captions name, of "gender", "hair" and "colour".
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
    """The description of a picture to draw.

    Attributes:
        background: One of `BACKGROUNDS`.
        style: One of `STYLES`, or None for a plain picture.
        subjects: One subject, or two people from left to right.
        seed: Seed of the background's variation and the style's noise, which also decides the split (`held_out`).
        pan: Camera position at time 0, world units to the right.
        pan_speed: Camera speed, world units per second.
    """

    background: str
    style: str | None
    subjects: tuple[Subject, ...]
    seed: int
    pan: float = 0.0
    pan_speed: float = 0.0
