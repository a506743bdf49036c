"""Read numbers given as text, and check the ranges of settings."""

from __future__ import annotations

import math
import re
from typing import Any

from faircut.config.texts import shorten
from faircut.errors import ConfigError, FaircutError

__all__ = [
    "MAX_FRAMES",
    "MAX_SEED",
    "check_guidance",
    "check_range",
    "check_seed",
    "check_steps",
    "read_float",
    "read_int",
]

MAX_SEED = 2**63 - 1
"""Largest seed: every random number generator accepts it, with room for the seeds counted on from it."""
MAX_FRAMES = 1_000_000
"""Upper limit for settings that count frames; no clip that can be edited has more."""

_INT = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})(e[+-]?[0-9]{1,3})?", re.ASCII | re.IGNORECASE)


def read_int(text: str) -> int:
    """Read a whole number of at most 19 ASCII digits, with at most one sign and without separators.

    Raises:
        ValueError: If the text is not a whole number, or has more than 19 digits.
    """
    if not _INT.fullmatch(text.strip(" ")):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def read_float(text: str) -> float:
    """Read a finite decimal number, such as ``0.8``, ``.5`` or ``3e-5``.

    Raises:
        ValueError: If the text is not a number, or the number is not finite.
    """
    if not _FLOAT.fullmatch(text.strip(" ")):
        raise ValueError(f"{text!r} is not a number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large for a number")
    return value


def check_range(
    name: str,
    value: Any,
    low: float,
    high: float | None = None,
    *,
    flag: str = "",
    example: str = "",
    above: bool = False,
    error: type[FaircutError] = ConfigError,
) -> None:
    """Check that a number is in a range.

    Args:
        name: Name of the setting for the error message.
        value: Value to check.
        low: Smallest possible value.
        high: Largest possible value. None allows any finite number.
        flag: Command-line flag of the setting, for the error message.
        example: Typical value, with its reason if useful, for the error message.
        above: Whether ``low`` itself is excluded.
        error: Exception class to raise.

    Raises:
        FaircutError: If the value is not a number, is not finite, or is out of the range.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Comparisons come first: a whole number may have thousands of digits, and isfinite would overflow on it.
    in_range = is_number and (low < value if above else low <= value) and (high is None or value <= high)
    if in_range and (isinstance(value, int) or math.isfinite(value)):
        return
    minimum = f"more than {low:,}" if above else f"at least {low:,}"
    possible = minimum if high is None else f"{minimum} and at most {high:,}"
    hint = f", such as {example}" if example else ""
    raise error(f"{name} is {_format(value)}{f' ({flag})' if flag else ''}; give {possible}{hint}")


def check_seed(value: Any, name: str = "seed") -> None:
    """Check that a value can be used as a seed.

    Raises:
        ConfigError: If the value is not a whole number from 0 to `MAX_SEED`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} is {shorten(repr(value))}; give a whole number, such as 0")
    check_range(name, value, 0, MAX_SEED, flag=f"--{name}")


def check_steps(value: Any, name: str = "num_inference_steps", flag: str = "--steps") -> None:
    """Check a number of sampling steps. The upper limit of a model is checked when the model is known.

    Raises:
        ConfigError: If the value is not a number from 1 to 100,000.
    """
    if value == 0 and not isinstance(value, bool):
        raise ConfigError(f"0 steps were asked for ({name}, {flag}); give at least 1, such as 50")
    check_range(name, value, 1, 100_000, flag=flag, example="50")


def check_guidance(value: Any, name: str = "guidance_scale", flag: str = "--guidance") -> None:
    """Check a scale of classifier-free guidance.

    Raises:
        ConfigError: If the value is not a number from 0 to 1000.
    """
    check_range(name, value, 0, 1000, flag=flag, example="7.5 (1 is no guidance)")


def _format(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return f"a whole number of more than {int(math.log10(2) * value.bit_length())} digits"
    return shorten(repr(value))
