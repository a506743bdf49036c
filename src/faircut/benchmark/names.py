"""Look up methods by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from faircut.errors import ConfigError, choices

__all__ = ["pick"]

W = TypeVar("W")


def pick(names: Sequence[str], methods: Mapping[str, W], groups: Mapping[str, Mapping[str, W]]) -> list[W]:
    """Return methods by their names, without duplicates, in the order in which they are first named.

    Args:
        names: Names of methods, or of groups of methods.
        methods: All methods by name.
        groups: Groups of methods by name, such as ``"all"``.

    Raises:
        ConfigError: If there is no method or group of a name.
    """
    picked: dict[str, W] = {}
    for name in names:
        if name in groups:
            picked |= groups[name]
        elif name in methods:
            picked[name] = methods[name]
        else:
            raise ConfigError(f"no method {name!r}: {choices(name, (*methods, *groups))}")
    return list(picked.values())
