"""What can be unfair: an attribute, its values, and the words that say them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from faircut.errors import ConfigError, choices

__all__ = ["ATTRIBUTES", "GENDER", "HAIR", "Attribute", "Value", "get_attribute"]


@dataclass(frozen=True)
class Value:
    """One value of an attribute.

    Attributes:
        name: what users and reports call it.
        word: the debiasing word, put right before the phrase of the person.
        said_by: words that say this value; where a prompt holds one of them, the user has decided.
        judged: the class of the pocket judge that reads it.
        probe: what a CLIP compares a picture with, to read it.
    """

    name: str
    word: str
    said_by: tuple[str, ...]
    judged: str
    probe: str


@dataclass(frozen=True)
class Attribute:
    """Something about a person that a prompt may leave open.

    Attributes:
        name: what users and reports call it; also the head of the pocket judge.
        values: at least two.
    """

    name: str
    values: tuple[Value, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The values' names."""
        return tuple(value.name for value in self.values)

    def value(self, name: str) -> Value:
        """Return a value by its name.

        Raises:
            ConfigError: there is none of that name.
        """
        for value in self.values:
            if value.name == name:
                return value
        raise ConfigError(f"{self.name} has no value {name!r}: {choices(name, self.names)}")

    def said_in(self, text: str) -> str | None:
        """Return the name of the value that a text says of a person, or None if it leaves it open.

        Raises:
            ConfigError: it says several.
        """
        words = set(re.findall(r"\w+", text.lower()))
        said = [value.name for value in self.values if words & set(value.said_by)]
        if len(said) > 1:
            raise ConfigError(
                f"{text!r} says {' and '.join(said)} at once; give each person a prompt of their own, or leave it open"
            )
        return said[0] if said else None

    def judged(self, name: str) -> str | None:
        """Return the value's name for a class of the pocket judge; None for "unclear"."""
        return next((value.name for value in self.values if value.judged == name), None)


GENDER = Attribute(
    "gender",
    (
        Value(
            "female",
            "female",
            ("female", "woman", "women", "girl", "lady", "she", "her", "mother", "daughter", "sister"),
            "woman",
            "a photo of a woman",
        ),
        Value(
            "male",
            "male",
            ("male", "man", "men", "boy", "gentleman", "he", "his", "father", "son", "brother"),
            "man",
            "a photo of a man",
        ),
    ),
)
"""Perceived gender, binary as the classifiers are."""

HAIR = Attribute(
    "hair",
    tuple(
        Value(name, word, (word,), name, f"a photo of a {word} person")
        for name, word in (
            ("black", "blackhaired"),
            ("brown", "brunette"),
            ("blonde", "blonde"),
            ("red", "redhead"),
            ("grey", "greyhaired"),
        )
    ),
)
"""Hair colour: a second attribute, which shows that nothing here is tied to the first."""

ATTRIBUTES = {attribute.name: attribute for attribute in (GENDER, HAIR)}


def get_attribute(name: str) -> Attribute:
    """Return an attribute by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in ATTRIBUTES:
        raise ConfigError(f"no attribute {name!r}: {choices(name, ATTRIBUTES)}")
    return ATTRIBUTES[name]
