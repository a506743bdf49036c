"""Flags that are options of a dataclass: how a field names its flag, and how what was typed becomes its value."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from faircut.config.ranges import read_float
from faircut.config.texts import shorten
from faircut.errors import ConfigError

__all__ = [
    "Read",
    "blend",
    "number",
    "numbers_of_words",
    "option",
    "pairs",
    "read_number",
    "read_text",
    "read_window",
    "window",
    "windows_of_words",
]

# (what was typed, one text for every time the flag was given; the flag) -> the option's value.
Read = Callable[[Sequence[str], str], Any]


def option(
    default: Any = dataclasses.MISSING,
    *,
    flag: str,
    read: Read,
    default_factory: Any = dataclasses.MISSING,
    syntax: str = "",
    takes: str = "",
    cli_default: str = "",
    metadata: dict[str, Any] | None = None,
) -> Any:
    """Return a field of a dataclass that a flag of the command line sets.

    Args:
        default: Default of the field.
        flag: Flag, such as ``"--cross-replace"``.
        read: Function that turns what was typed into the field's value.
        default_factory: Factory of the default, in place of `default`.
        syntax: Placeholder for what is typed after the flag, such as ``"SOURCE:TARGET"``. By default what `read` reads.
        takes: Help for what is typed, with an example. By default what `read` reads.
        cli_default: Default on the command line, where it differs from the field's.
        metadata: Further metadata of the field.
    """
    placeholder, sentence = _TYPED.get(read, ("VALUE", ""))
    facts = {
        **(metadata or {}),
        "flag": flag,
        "read": read,
        "syntax": syntax or placeholder,
        "takes": takes or sentence,
        "cli_default": cli_default,
    }
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=facts)
    return dataclasses.field(default=default, metadata=facts)


def read_text(texts: Sequence[str], flag: str) -> str:
    """Read a word or a name; the last one typed counts."""
    return texts[-1]


def read_number(texts: Sequence[str], flag: str) -> float:
    """Read a number; the last one typed counts."""
    return number(texts[-1], flag)


def read_window(texts: Sequence[str], flag: str) -> float | list[float]:
    """Read a share of the steps, or where it begins and ends; the last one typed counts."""
    return window(texts[-1], flag)


def windows_of_words(texts: Sequence[str], flag: str) -> dict[str, float | list[float]]:
    """Read ``WORD=SHARE`` texts."""
    return {word: window(value, flag) for word, value in pairs(texts, flag)}


def numbers_of_words(texts: Sequence[str], flag: str) -> dict[str, float]:
    """Read ``WORD=FACTOR`` texts."""
    return {word: number(value, flag) for word, value in pairs(texts, flag)}


def number(text: str, flag: str) -> float:
    """Read a number.

    Raises:
        ConfigError: it is none.
    """
    try:
        return read_float(text)
    except ValueError:
        raise ConfigError(f"{flag} {shorten(text)!r} is not a number; give one, such as 0.8") from None


def window(text: str, flag: str) -> float | list[float]:
    """Read ``0.8`` or ``0.2,0.8``, shares of the steps.

    Raises:
        ConfigError: it is neither.
    """
    parts = [number(part, flag) for part in str(text).split(",")]
    if len(parts) > 2:
        raise ConfigError(f"{flag} {text!r} has {len(parts)} numbers; give a share of the steps (0.8) or two (0.2,0.8)")
    return parts[0] if len(parts) == 1 else parts


def pairs(texts: Sequence[str], flag: str) -> list[tuple[str, str]]:
    """Read ``NAME=VALUE`` texts.

    Raises:
        ConfigError: one is none.
    """
    found = []
    for text in texts:
        word, equals, value = text.rpartition("=") if flag != "--set" else text.partition("=")
        if not equals or not word:
            raise ConfigError(f"{flag} {text!r} does not have the form NAME=VALUE; give one, such as watercolor=4")
        found.append((word, value))
    return found


def blend(texts: Sequence[str], flag: str = "--blend") -> list[list[str]]:
    """Read ``SOURCE:TARGET`` texts as the source's words and the target's.

    Raises:
        ConfigError: one is none.
    """
    sides: list[list[str]] = [[], []]
    for text in texts:
        parts = text.split(":")
        words = [[word.strip() for word in part.split(",") if word.strip()] for part in parts]
        if len(parts) != 2 or not all(words):
            raise ConfigError(
                f"{flag} {text!r} does not have the form SOURCE:TARGET; give words of the source prompt, "
                "a colon, and words of the target prompt, such as jeep:car"
            )
        for side, found in zip(sides, words, strict=True):
            side += found
    return sides


# What is typed after a flag that is read by one of these: a placeholder, and help with an example.
_TYPED: dict[Read, tuple[str, str]] = {
    read_number: ("NUMBER", "number"),
    read_window: ("SHARE|FROM,TO", "a share of the steps, such as 0.8, or where it begins and ends, such as 0.2,0.8"),
    windows_of_words: ("WORD=SHARE", "a word and its share of the steps, such as car=0.5 or car=0.2,0.8; repeatable"),
    numbers_of_words: ("WORD=FACTOR", "a word and its factor, such as watercolor=4; repeatable"),
    blend: (
        "SOURCE:TARGET",
        "words of the source prompt, a colon, words of the target prompt, such as jeep:car; several words are joined "
        "by commas, such as man:female,doctor; repeatable",
    ),
}
