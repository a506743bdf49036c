"""What is typed after a flag, read: numbers, sizes, pairs, parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faircut.errors import ConfigError

__all__ = ["blend", "commas", "frame", "number", "pairs", "shard_of", "size", "value_of", "window"]


def value_of(text: str) -> Any:
    """Read an option's value as YAML has it: a number, a word, a list.

    Raises:
        ConfigError: it is none.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{text!r} is no value of an option; give a number, a word or [a, list]") from None


def commas(text: str) -> tuple[str, ...]:
    """Read names that are separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def shard_of(text: str) -> tuple[int, int]:
    """Read ``--shard K/N`` as (K - 1, N).

    Raises:
        ConfigError: it is no such part.
    """
    k, slash, n = text.partition("/")
    if not slash or not k.isdigit() or not n.isdigit() or not 1 <= int(k) <= int(n):
        raise ConfigError(f"--shard {text!r} is no part; give K/N with K from 1 to N, such as 1/2")
    return int(k) - 1, int(n)


def number(text: str, flag: str) -> float:
    """Read a number.

    Raises:
        ConfigError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{flag} {text!r} is no number; give one, such as 0.8") from None


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
            raise ConfigError(f"{flag} {text!r} is no NAME=VALUE; give one, such as watercolor=4")
        found.append((word, value))
    return found


def blend(texts: Sequence[str]) -> list[list[str]]:
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
                f"--blend {text!r} is no SOURCE:TARGET; give words of the source prompt, a colon, and words of the target "
                "prompt, such as jeep:car"
            )
        for side, found in zip(sides, words, strict=True):
            side += found
    return sides


def frame(text: str) -> int | str:
    """Read a frame's number, or a word for one, such as ``first``."""
    return int(text) if text.lstrip("+-").isdigit() else text


def size(text: str) -> int | list[int]:
    """Read ``512`` or ``WIDTHxHEIGHT``; the latter as height and width, as tensors have it.

    Raises:
        ConfigError: it is neither.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdigit() for part in parts):
        raise ConfigError(f"--size {text!r} is no size; give the shorter side (512) or WIDTHxHEIGHT (640x360)")
    return int(parts[0]) if len(parts) == 1 else [int(parts[1]), int(parts[0])]
