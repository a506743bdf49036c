"""The drawn world: what can be in a picture, how scenes are sampled, and the picture with its ground truth.

A scene is a place, one subject (or two people side by side) and perhaps a style. Everything follows from the scene's
seed: sampling, the place's variation and the style's noise, so a scene is the same in every process.

The world is biased on purpose. Where a caption does not say whether a person is a woman or a man, the drawn gender
follows `STEREOTYPE`, so that a model trained on the world learns a stereotype of known size, which fair editing must be
able to undo. Where the caption says so, both genders are drawn equally often: every combination can be asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from ..errors import ConfigError, choices
from .draw_animals import draw_animal
from .draw_backgrounds import draw_background
from .draw_outfits import PAINT
from .draw_pen import WORLD, Pen
from .draw_people import HAIR_COLOURS, SKIN_COLOURS, draw_person
from .draw_styles import apply_style
from .draw_things import draw_vehicle

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

MENTION_GENDER, MENTION_HAIR, MENTION_CLOTHES, MENTION_PAINT = 1 / 3, 0.20, 0.45, 0.88
"""How often a caption names a person's gender, hair, plain clothes' colour, and a thing's colour."""
STYLE_SHARE = 0.25
_KINDS: dict[str, float] = {"person": 0.62, "vehicle": 0.17, "animal": 0.21}
_PAIR_SHARE = 0.24  # of the scenes with people, so about 15% of all
_PLAIN_SHARE = 0.25  # of the people
_INDOORS = ("hospital", "office", "kitchen")
_WATER_SHARE = 0.6  # boats and swans that are on the lake
_COLOURLESS = ("sepia photo",)  # styles in which a caption must not name a colour, because none is to be seen

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

_T = TypeVar("_T")


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


@dataclass(frozen=True)
class Frame:
    """A drawn picture.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        masks: (subjects, size, size) bool, where each subject is seen.
    """

    image: np.ndarray
    masks: np.ndarray


def held_out(index: int) -> bool:
    """Whether the scene with this seed belongs to the held-out split (one in twenty), never drawn for training.

    Args:
        index: A scene's seed, at least 0.

    Returns:
        True for the held-out split.
    """
    # One round of splitmix64: neighbouring seeds fall independently.
    z = (index + 0x9E3779B97F4A7C15) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return (z ^ (z >> 31)) % 20 == 0


_POSSIBLE: dict[str, tuple[Any, ...]] = {
    "kind": tuple(_KINDS),
    "background": BACKGROUNDS,
    "noun": (*PROFESSIONS, "person", *VEHICLES, *ANIMALS),
    "gender": GENDERS,
    "hair": HAIR,
    "skin": SKIN,
    "colour": COLOURS,
    "facing": ("left", "right"),
}


def _check(name: str, value: Any, possible: tuple[Any, ...]) -> None:
    if value is not None and value not in possible:
        raise ConfigError(f"no {name} {value!r} in the drawn world; {choices(str(value), map(str, possible))}")


def sample_scene(
    rng: np.random.Generator,
    *,
    split: str = "train",
    kind: str | None = None,
    people: int | None = None,
    style: str | None = "random",
    background: str | None = None,
    noun: str | None = None,
    gender: str | None = None,
    hair: str | None = None,
    skin: str | None = None,
    colour: str | None = None,
    facing: str | None = None,
    walking: bool | None = None,
    mention_gender: bool | None = None,
    mention_hair: bool | None = None,
    mention_colour: bool | None = None,
) -> Scene:
    """Draw a scene from the training distribution, with any attribute forced.

    Args:
        rng: Source of the scene's seed.
        split: "train" or "held_out".
        kind: "person", "vehicle" or "animal"; follows from `noun` or `people` if those are given.
        people: 1 or 2 people.
        style: One of `STYLES`, None for a plain picture, "random" for the training distribution.
        background: One of `BACKGROUNDS`.
        noun: A profession, "person", a vehicle or an animal. Attributes of a subject apply to the first of two people.
        gender: One of `GENDERS`.
        hair: One of `HAIR`.
        skin: One of `SKIN`.
        colour: One of `COLOURS`; for people only with plain clothes.
        facing: "left" or "right".
        walking: Whether a person walks or stands.
        mention_gender: Whether captions name the gender.
        mention_hair: Whether captions name the hair.
        mention_colour: Whether captions name the colour.

    Returns:
        The scene.
    """
    forced = {"kind": kind, "background": background, "noun": noun, "gender": gender, "hair": hair, "skin": skin}
    for name, value in (forced | {"colour": colour, "facing": facing}).items():
        _check(name, value, _POSSIBLE[name])
    _check("style", style, ("random", *STYLES))
    _check("split", split, ("train", "held_out"))
    if people is not None and people not in (1, 2):
        raise ConfigError(f"people is 1 or 2, not {people}")
    noun_kind = None if noun is None else _kind_of(noun)
    person_only = any(v is not None for v in (people, gender, hair, skin, walking, mention_gender, mention_hair))
    kind = kind or noun_kind or ("person" if person_only else None)
    if (noun_kind or kind) != kind or (person_only and kind != "person"):
        raise ConfigError(f"kind {kind!r}, noun {noun!r} and a person's attributes contradict each other")
    if colour is not None and noun in PROFESSIONS:
        raise ConfigError(f"a {noun} wears the clothes of the work: colour goes with 'person', a vehicle or an animal")

    while True:
        seed = int(rng.integers(2**31))
        if held_out(seed) == (split == "held_out"):
            break
    own = np.random.default_rng([seed, 0])

    style = (_pick(own, STYLES) if own.random() < STYLE_SHARE else None) if style == "random" else style
    kind = kind or _pick(own, tuple(_KINDS), tuple(_KINDS.values()))
    if people is None:
        people = 2 if kind == "person" and own.random() < _PAIR_SHARE else 1
    nouns = [
        noun if i == 0 and noun is not None else _noun(own, kind, plain=i == 0 and colour is not None)
        for i in range(people)
    ]
    if background is None:
        background = _background(own, kind, nouns[0])
    motion = _motion(own, kind, people, facing, walking)
    forced_mentions = {"gender": mention_gender, "hair": mention_hair, "colour": mention_colour}
    subjects = []
    for i in range(people):
        look = _look(own, kind, nouns[i], gender, hair, skin, colour, forced_mentions, style)
        x, y, scale = _position(own, kind, background, nouns[i], people, i, motion["facing"])
        phase = float(own.uniform(0, 1))
        subjects.append(
            Subject(kind=kind, noun=nouns[i], x=x, y=y, scale=scale, phase=phase, **motion, **look)  # type: ignore[arg-type]
        )
        gender = hair = skin = colour = None
        forced_mentions = dict.fromkeys(forced_mentions)
    pan_speed = float(own.uniform(-8, 8)) if own.random() < 0.5 else 0.0
    return Scene(background, style, tuple(subjects), seed, float(own.uniform(-24, 24)), pan_speed)


def _pick(rng: np.random.Generator, values: tuple[_T, ...], weights: tuple[float, ...] | None = None) -> _T:
    if weights is None:
        return values[int(rng.integers(len(values)))]
    bounds = np.cumsum(weights)
    return values[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]


def _kind_of(noun: str) -> str:
    if noun in VEHICLES:
        return "vehicle"
    return "animal" if noun in ANIMALS else "person"


def _noun(rng: np.random.Generator, kind: str, plain: bool) -> str:
    if kind == "vehicle":
        return _pick(rng, VEHICLES)
    if kind == "animal":
        return _pick(rng, ANIMALS)
    return "person" if plain or rng.random() < _PLAIN_SHARE else _pick(rng, PROFESSIONS)


def _background(rng: np.random.Generator, kind: str, noun: str) -> str:
    if noun in ("boat", "swan") and rng.random() < _WATER_SHARE:
        return "lake"
    if kind == "vehicle":
        if noun != "boat" and rng.random() < 0.25:
            return "street"
        return _pick(rng, tuple(place for place in BACKGROUNDS if place not in _INDOORS))
    return _pick(rng, BACKGROUNDS)


def _motion(
    rng: np.random.Generator, kind: str, people: int, facing: str | None, walking: bool | None
) -> dict[str, Any]:
    """Way and speed; two people share them, so that they stay side by side."""
    facing = facing or _pick(rng, ("left", "right"))
    if kind == "person":
        walks = rng.random() < (0.5 if people == 2 else 0.75) if walking is None else walking
        return {"facing": facing, "speed": float(rng.uniform(8, 20)) if walks else 0.0}
    return {"facing": facing, "speed": float(rng.uniform(10, 24))}


def _look(
    rng: np.random.Generator,
    kind: str,
    noun: str,
    gender: str | None,
    hair: str | None,
    skin: str | None,
    colour: str | None,
    forced: dict[str, bool | None],
    style: str | None,
) -> dict[str, Any]:
    """Attributes of one subject and which of them captions name."""

    def decide(name: str, share: float) -> bool:
        drawn = rng.random() < share
        return drawn if forced[name] is None else bool(forced[name])

    coloured = style not in _COLOURLESS
    mentions = set()
    if kind != "person":
        colour = colour or _pick(rng, COLOURS)
        if decide("colour", MENTION_PAINT) and coloured:
            mentions.add("colour")
        return {"gender": None, "skin": None, "hair": None, "colour": colour, "mentions": frozenset(mentions)}
    # First whether the caption speaks of gender, then the gender: the stereotype rules only where it is silent.
    if decide("gender", MENTION_GENDER):
        mentions.add("gender")
    share = 0.5 if "gender" in mentions else STEREOTYPE[noun]
    drawn = "woman" if rng.random() < share else "man"
    if decide("hair", MENTION_HAIR) and coloured:
        mentions.add("hair")
    hair, skin = hair or _pick(rng, HAIR), skin or _pick(rng, SKIN)
    if noun == "person":
        colour = colour or _pick(rng, COLOURS)
        if decide("colour", MENTION_CLOTHES) and coloured:
            mentions.add("colour")
    return {"gender": gender or drawn, "skin": skin, "hair": hair, "colour": colour, "mentions": frozenset(mentions)}


def _position(
    rng: np.random.Generator, kind: str, background: str, noun: str, people: int, index: int, facing: str
) -> tuple[float, float, float]:
    """Place and size: large, and inside the picture with the tool in hand."""
    sign = 1.0 if facing == "right" else -1.0
    if kind == "person" and people == 2:
        x = (30.0, 92.0)[index] if sign > 0 else (36.0, 98.0)[index]
        return x + float(rng.uniform(-2, 2)), float(rng.uniform(119, 125)), float(rng.uniform(0.80, 0.90))
    if kind == "person":
        x = 64.0 + sign * float(rng.uniform(-26, 14))
        return x, float(rng.uniform(119, 126)), float(rng.uniform(0.90, 1.04))
    y = float(rng.uniform(108, 120))
    if background == "lake" and noun in ("boat", "swan"):
        y -= 4.0
    scale = float(rng.uniform(0.84, 1.04))
    return 64.0 + float(rng.uniform(-14, 14)), y, scale


def draw(scene: Scene, *, size: int = IMAGE_SIZE, time: float = 0.0) -> Pen:
    """Draw a scene without its style.

    Args:
        scene: What to draw.
        size: Height and width in pixels.
        time: Seconds since the scene's own moment; may be negative.

    Returns:
        The pen, which knows the picture, the masks and where every part is.
    """
    pen = Pen(size)
    draw_background(pen, scene.background, scene.seed, scene.pan + scene.pan_speed * time)
    for owner, s in enumerate(scene.subjects):
        way = -1.0 if s.facing == "left" else 1.0
        walked = s.speed * time
        common: dict[str, Any] = {
            "noun": s.noun,
            "colour": s.colour,
            "x": s.x + way * walked,
            "y": s.y,
            "scale": s.scale,
            "facing_left": s.facing == "left",
        }
        if s.kind == "person":
            common |= {"woman": s.gender == "woman", "skin": s.skin, "hair": s.hair, "walking": s.speed > 0}
        # A cycle per 30 units for legs, per turn for wheels, per two seconds for rocking and swaying.
        cycle = {"person": walked / 30, "animal": walked / 30, "vehicle": walked / 68}[s.kind]
        idle = s.noun == "boat" or s.speed == 0
        phase = s.phase + (time / 2 if idle else cycle)
        _DRAW[s.kind](pen, owner, phase=phase, **common)
    return pen


_DRAW: dict[str, Callable[..., None]] = {"person": draw_person, "vehicle": draw_vehicle, "animal": draw_animal}


def render(scene: Scene, *, size: int = IMAGE_SIZE, time: float = 0.0) -> Frame:
    """Draw a scene.

    Args:
        scene: What to draw.
        size: Height and width in pixels.
        time: Seconds since the scene's own moment; may be negative.

    Returns:
        The picture and a mask per subject.
    """
    pen = draw(scene, size=size, time=time)
    image = apply_style(pen.picture(), scene.style, scene.seed)
    return Frame(image=image, masks=pen.masks(len(scene.subjects)))


def labels(scene: Scene) -> dict[str, int]:
    """Class indices of a scene for training and asking a judge.

    Args:
        scene: A scene; of two people the first counts.

    Returns:
        For each head of `LABELS` the index of the class, or -1 where it does not apply or cannot be seen.
    """
    first = scene.subjects[0]
    coloured = scene.style not in _COLOURLESS
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


assert WORLD == IMAGE_SIZE, "positions are in world units, which are pixels at the default size"
