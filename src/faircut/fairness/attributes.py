"""Attributes of people that an edit can bias, their values, and the words that express them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from faircut.errors import ConfigError, choices

__all__ = ["ATTRIBUTES", "GENDER", "HAIR", "Attribute", "Value", "get_attribute"]


@dataclass(frozen=True)
class Value:
    """One value of an attribute.

    Attributes:
        name: Name in settings and reports.
        word: Debiasing word, which is inserted right before the phrase for the person.
        said_by: Words that express this value. If a prompt contains one of them, the user has decided.
        judged: Class of the pocket judge for this value.
        probe: Text that a CLIP compares with a picture to recognise this value.
    """

    name: str
    word: str
    said_by: tuple[str, ...]
    judged: str
    probe: str


@dataclass(frozen=True)
class Attribute:
    """A property of a person that a prompt may leave open.

    Attributes:
        name: Name in settings and reports, and of the pocket judge's output for it.
        values: Possible values, at least two.
    """

    name: str
    values: tuple[Value, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values."""
        return tuple(value.name for value in self.values)

    def value(self, name: str) -> Value:
        """Return the value with a name.

        Raises:
            ConfigError: If the attribute has no value of that name.
        """
        for value in self.values:
            if value.name == name:
                return value
        raise ConfigError(f"{self.name} has no value {name!r}: {choices(name, self.names)}")

    def said_in(self, text: str) -> str | None:
        """Return the name of the value that a text expresses, or None if the text leaves it open.

        Raises:
            ConfigError: If the text expresses several values.
        """
        words = set(re.findall(r"\w+", text.lower()))
        names = [value.name for value in self.values if words & set(value.said_by)]
        if len(names) > 1:
            raise ConfigError(
                f"{text!r} says {' and '.join(names)} at once; give each person a separate prompt, or leave it open"
            )
        return names[0] if names else None

    def judged(self, name: str) -> str | None:
        """Return the name of the value for a class of the pocket judge, or None for "unclear"."""
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
"""Perceived gender. It is binary because the classifiers are."""

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
"""Hair colour, a second attribute, which shows that the code does not depend on gender."""

ATTRIBUTES = {attribute.name: attribute for attribute in (GENDER, HAIR)}


def get_attribute(name: str) -> Attribute:
    """Return the attribute with a name.

    Raises:
        ConfigError: If there is no attribute of that name.
    """
    if name not in ATTRIBUTES:
        raise ConfigError(f"no attribute {name!r}: {choices(name, ATTRIBUTES)}")
    return ATTRIBUTES[name]
