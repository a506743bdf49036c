"""Numbers from outside: how they are read, and the ranges that settings have."""

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
"""What every generator of random numbers takes, with room for the seeds that are counted on from it."""
MAX_FRAMES = 1_000_000
"""No clip that could be edited has more."""

_INT = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})(e[+-]?[0-9]{1,3})?", re.ASCII | re.IGNORECASE)


def read_int(text: str) -> int:
    """Read a whole number as people write it: ASCII digits, at most one sign, no separators.

    Raises:
        ValueError: it is none, or beyond 19 digits.
    """
    if not _INT.fullmatch(text.strip(" ")):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def read_float(text: str) -> float:
    """Read a finite number as people write it, such as ``0.8``, ``.5`` or ``3e-5``.

    Raises:
        ValueError: it is none, or not finite.
    """
    if not _FLOAT.fullmatch(text.strip(" ")):
        raise ValueError(f"{text!r} is no number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is beyond what a number can be")
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
    """Check that a number is in its range.

    Args:
        name: of the setting.
        value: its value.
        low: the least.
        high: the most; None for any finite number.
        flag: of the command line that sets it, for the message.
        example: a usual value and why, for the message.
        above: whether it must be above ``low``.
        error: what to raise.

    Raises:
        FaircutError: it is out of the range, no number, or not finite.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Before anything is computed: a whole number may have thousands of digits.
    fits = number and (low < value if above else low <= value) and (high is None or value <= high)
    if fits and (isinstance(value, int) or math.isfinite(value)):
        return
    least = f"more than {low:,}" if above else f"at least {low:,}"
    possible = least if high is None else f"{least} and at most {high:,}"
    such = f", such as {example}" if example else ""
    raise error(f"{name} is {_shown(value)}{f' ({flag})' if flag else ''}; give {possible}{such}")


def check_seed(value: Any, name: str = "seed") -> None:
    """Check that a number can be a seed.

    Raises:
        ConfigError: it is no whole number from 0 to `MAX_SEED`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} is {shorten(repr(value))}; give a whole number, such as 0")
    check_range(name, value, 0, MAX_SEED, flag=f"--{name}")


def check_steps(value: Any, name: str = "num_inference_steps", flag: str = "--steps") -> None:
    """Check that a number can be one of steps of a sampler; what a model allows is checked with the model.

    Raises:
        ConfigError: it cannot.
    """
    if value == 0 and not isinstance(value, bool):
        raise ConfigError(f"0 steps were asked for ({name}, {flag}); give at least 1, such as 50")
    check_range(name, value, 1, 100_000, flag=flag, example="50")


def check_guidance(value: Any, name: str = "guidance_scale", flag: str = "--guidance") -> None:
    """Check that a number can be a scale of classifier-free guidance.

    Raises:
        ConfigError: it cannot.
    """
    check_range(name, value, 0, 1000, flag=flag, example="7.5 (1 is no guidance)")


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return f"a whole number of more than {int(math.log10(2) * value.bit_length())} digits"
    return shorten(repr(value))
