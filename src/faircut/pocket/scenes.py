"""Sample scenes of the drawn world from the training distribution, with any attribute forced to a value."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ..errors import ConfigError, choices
from .vocabulary import (
    ANIMALS,
    BACKGROUNDS,
    COLOURLESS,
    COLOURS,
    GENDERS,
    HAIR,
    PROFESSIONS,
    SKIN,
    STEREOTYPE,
    STYLES,
    VEHICLES,
    Scene,
    Subject,
)

MENTION_GENDER, MENTION_HAIR, MENTION_CLOTHES, MENTION_PAINT = 1 / 3, 0.20, 0.45, 0.88
"""Probabilities that a caption names a person's gender, hair, colour of plain clothes, and a thing's colour."""
STYLE_SHARE = 0.25
_KINDS: dict[str, float] = {"person": 0.62, "vehicle": 0.17, "animal": 0.21}
_PAIR_SHARE = 0.24  # of the scenes with people, which is about 15% of all scenes
_PLAIN_SHARE = 0.25  # of the people
_INDOORS = ("hospital", "office", "kitchen")
_WATER_SHARE = 0.6  # of the boats and swans, which are on the lake

_T = TypeVar("_T")


def held_out(index: int) -> bool:
    """Return whether a scene belongs to the held-out split (one in twenty), which is never used for training.

    Args:
        index: A scene's seed, at least 0.

    Returns:
        True for the held-out split.
    """
    # One round of splitmix64, so that neighbouring seeds are assigned independently.
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

_NOUNS: dict[str, tuple[str, ...]] = {
    "person": (*PROFESSIONS, "person"),
    "vehicle": VEHICLES,
    "animal": ANIMALS,
}


def _check(name: str, value: Any, possible: tuple[Any, ...]) -> None:
    if value is not None and value not in possible:
        raise ConfigError(f"no {name} {value!r} in the drawn world; {choices(str(value), map(str, possible))}")


def check_scene(scene: Scene) -> None:
    """Check that a scene can be drawn.

    Args:
        scene: The scene, as read from a file.

    Raises:
        ConfigError: If the scene contains an unknown word, a subject lacks an attribute of its kind, or a number is out
            of range.
    """
    _check("background", scene.background, BACKGROUNDS)
    _check("style", scene.style, STYLES)
    if len(scene.subjects) not in (1, 2) or (
        len(scene.subjects) == 2 and any(s.kind != "person" for s in scene.subjects)
    ):
        raise ConfigError(f"a drawn scene has {len(scene.subjects)} subjects; give one subject, or two people")
    if scene.seed < 0:
        raise ConfigError(f"seed is {scene.seed}; give 0 or more")
    for subject in scene.subjects:
        for name in ("gender", "skin", "hair", "colour"):
            _check(name, getattr(subject, name), _POSSIBLE[name])
        _check(f"{subject.kind} named", subject.noun, _NOUNS[subject.kind])
        needed: tuple[str, ...] = ("gender", "skin", "hair") if subject.kind == "person" else ("colour",)
        needed += ("colour",) if subject.noun == "person" else ()
        for name in needed:
            if getattr(subject, name) is None:
                raise ConfigError(f"the {subject.noun} has no {name}; give one of {', '.join(_POSSIBLE[name])}")
        for mention in subject.mentions:
            _check("mention", mention, ("gender", "hair", "colour"))
            if getattr(subject, mention) is None:
                raise ConfigError(
                    f"the mentions of the {subject.noun} contain {mention}, but it has none; remove the mention"
                )
        if not 0 < subject.scale <= 10:
            raise ConfigError(f"scale is {subject.scale}; give a factor above 0 to 10, such as 1")
    numbers = (scene.pan, scene.pan_speed, *(v for s in scene.subjects for v in (s.x, s.y, s.phase, s.speed)))
    if max(map(abs, numbers)) > 1e6:
        raise ConfigError(
            "a position, a phase or a speed is beyond 1e6; give world units, of which the picture is 128 wide"
        )


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
        rng: Random generator for the scene's seed.
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
        mention_colour: Whether captions name the colour, which takes plain clothes or a thing.

    Returns:
        The scene.
    """
    forced = {"kind": kind, "background": background, "noun": noun, "gender": gender, "hair": hair, "skin": skin}
    for name, value in (forced | {"colour": colour, "facing": facing}).items():
        _check(name, value, _POSSIBLE[name])
    _check("style", style, ("random", *STYLES))
    _check("split", split, ("train", "held_out"))
    if people is not None and people not in (1, 2):
        raise ConfigError(f"people is {people}; give 1 or 2")
    noun_kind = None if noun is None else _kind_of(noun)
    person_only = any(v is not None for v in (people, gender, hair, skin, walking, mention_gender, mention_hair))
    kind = kind or noun_kind or ("person" if person_only else None)
    if (noun_kind or kind) != kind or (person_only and kind != "person"):
        raise ConfigError(f"kind {kind!r}, noun {noun!r} and a person's attributes contradict each other")
    if (colour is not None or mention_colour) and noun in PROFESSIONS:
        raise ConfigError(
            f"a {noun} has the clothes of the profession; give a colour only with 'person', a vehicle or an animal"
        )

    mentions_colour = bool(mention_colour or mention_hair)
    if mentions_colour and style in COLOURLESS:
        raise ConfigError(
            f"a caption cannot name a colour in a {style}, which shows none; choose another style or no mention"
        )

    while True:
        seed = int(rng.integers(2**31))
        if held_out(seed) == (split == "held_out"):
            break
    scene_rng = np.random.default_rng([seed, 0])

    if style == "random":
        styles = tuple(name for name in STYLES if not (mentions_colour and name in COLOURLESS))
        style = _pick(scene_rng, styles) if scene_rng.random() < STYLE_SHARE else None
    kind = kind or _pick(scene_rng, tuple(_KINDS), tuple(_KINDS.values()))
    if people is None:
        people = 2 if kind == "person" and scene_rng.random() < _PAIR_SHARE else 1
    nouns = [
        noun if i == 0 and noun is not None else _noun(scene_rng, kind, plain=i == 0 and bool(colour or mention_colour))
        for i in range(people)
    ]
    if background is None:
        background = _background(scene_rng, kind, nouns[0])
    motion = _motion(scene_rng, kind, people, facing, walking)
    forced_mentions = {"gender": mention_gender, "hair": mention_hair, "colour": mention_colour}
    subjects = []
    for i in range(people):
        look = _look(scene_rng, kind, nouns[i], gender, hair, skin, colour, forced_mentions, style)
        x, y, scale = _position(scene_rng, kind, background, nouns[i], people, i, motion["facing"])
        phase = float(scene_rng.uniform(0, 1))
        subjects.append(
            Subject(kind=kind, noun=nouns[i], x=x, y=y, scale=scale, phase=phase, **motion, **look)  # type: ignore[arg-type]
        )
        gender = hair = skin = colour = None
        forced_mentions = dict.fromkeys(forced_mentions)
    pan_speed = float(scene_rng.uniform(-8, 8)) if scene_rng.random() < 0.5 else 0.0
    return Scene(background, style, tuple(subjects), seed, float(scene_rng.uniform(-24, 24)), pan_speed)


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
    """Return direction and speed. Two people share them, so that they stay side by side."""
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
    """Return the attributes of one subject, and which of them captions name."""

    def decide(name: str, share: float) -> bool:
        drawn = rng.random() < share
        return drawn if forced[name] is None else bool(forced[name])

    coloured = style not in COLOURLESS
    mentions = set()
    if kind != "person":
        colour = colour or _pick(rng, COLOURS)
        if decide("colour", MENTION_PAINT) and coloured:
            mentions.add("colour")
        return {"gender": None, "skin": None, "hair": None, "colour": colour, "mentions": frozenset(mentions)}
    # The mention is drawn before the gender, because the stereotype applies only if the caption does not name the
    # gender.
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
    """Return position and scale: large, and inside the picture with the tool in hand."""
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
