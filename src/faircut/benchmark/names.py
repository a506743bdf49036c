"""Ways of editing by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from faircut.errors import ConfigError, choices

__all__ = ["pick"]

W = TypeVar("W")


def pick(names: Sequence[str], ways: Mapping[str, W], groups: Mapping[str, Mapping[str, W]]) -> list[W]:
    """Return ways of editing by their names, each once, in the order in which they were first named.

    Args:
        names: of ways, or of groups of them.
        ways: every way by its name.
        groups: some of them under one name, such as ``"all"``.

    Raises:
        ConfigError: there is none of a name.
    """
    picked: dict[str, W] = {}
    for name in names:
        if name in groups:
            picked |= groups[name]
        elif name in ways:
            picked[name] = ways[name]
        else:
            raise ConfigError(f"no method {name!r}: {choices(name, (*ways, *groups))}")
    return list(picked.values())
