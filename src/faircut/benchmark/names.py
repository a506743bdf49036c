"""Ways of editing by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from faircut.errors import ConfigError, choices

__all__ = ["pick"]

W = TypeVar("W")


def pick(names: Sequence[str], known: Mapping[str, W], groups: Mapping[str, Mapping[str, W]]) -> list[W]:
    """Return ways of editing by their names, each once, in the order in which they were first named.

    Args:
        names: of ways, or of groups of them.
        known: every way by its name.
        groups: some of them under one name, such as ``"all"``.

    Raises:
        ConfigError: there is none of a name.
    """
    found: dict[str, W] = {}
    for name in names:
        if name in groups:
            found |= groups[name]
        elif name in known:
            found[name] = known[name]
        else:
            raise ConfigError(f"no method {name!r}: {choices(name, (*known, *groups))}")
    return list(found.values())
