"""Choices, one frozen dataclass each; the same object feeds Python, the command line, YAML files and the report."""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar

from faircut.errors import ConfigError, VideoError, choices
from faircut.ranges import MOST_FRAMES, check_range

__all__ = ["SpatialTemporal", "Supplier", "check_clips", "from_dict", "read_yaml", "to_dict"]

Supplier = Literal["auto", "live", "memory", "disk"]

T = TypeVar("T")


@dataclass(frozen=True)
class SpatialTemporal:
    """How the frames of a clip see each other, in inversion and in editing alike (FateZero, section 3.4).

    Attributes:
        frames: whose keys and values a query sees, concatenated: relative indices (0 the frame itself, -1 the one before;
            clamped to the clip), ``"first"``, ``"middle"`` or ``"last"``. The paper has (0, "middle"), the published
            style and attribute configurations have ("middle",).
        least_channels: self-attention layers narrower than this attend within their own frame; 0 is none.
        clip_norm: group norms of residual blocks take their statistics over the whole clip.
    """

    frames: tuple[int | str, ...] = ("middle",)
    least_channels: int = 0
    clip_norm: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.frames, (str, int)):
            object.__setattr__(self, "frames", (self.frames,))
        object.__setattr__(self, "frames", tuple(self.frames))
        if not self.frames:
            raise ConfigError("no frames to attend to were given; give at least one, such as (0,) for the frame itself")
        for frame in self.frames:
            if isinstance(frame, str) and frame not in ("first", "middle", "last"):
                raise ConfigError(
                    f"no frame {frame!r} to attend to: {choices(frame, ('first', 'middle', 'last'))}, "
                    "or an integer relative to the frame itself"
                )
            if not isinstance(frame, str):
                check_range("a frame to attend to", frame, -MOST_FRAMES, MOST_FRAMES, flag="--attend", example="-1")
        check_range("least_channels", self.least_channels, 0, 1_000_000, flag="--least-channels")


TUNED = SpatialTemporal(("first", -1))
"""As Tune-A-Video tunes a model to a clip, and as frames see each other on a tuned model."""


def to_dict(value: Any) -> Any:
    """Turn a dataclass, however nested, into what JSON and YAML can hold, but for fields of metadata ``saved: False``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if f.metadata.get("saved", True)]
        return {f.name: to_dict(getattr(value, f.name)) for f in fields}
    if isinstance(value, Mapping):
        return {str(k): to_dict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_dict(v) for v in value]
    if isinstance(value, frozenset):
        return sorted(to_dict(v) for v in value)
    if isinstance(value, (Fraction, PurePath)):
        return str(value)
    return value


def read_yaml(path: str | Path, what: str) -> Any:
    """Read a YAML file, without objects.

    Args:
        path: of the file.
        what: it is, for the message, such as ``"the tasks"``.

    Raises:
        ConfigError: it cannot be read.
    """
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {what} {path}: {' '.join(str(error).split())}") from None


def check_clips(path: str | Path, folder: Path, names: Iterable[str], remedy: str = "check their names") -> None:
    """Check that the clips that a file names are there.

    Args:
        path: of the file, for the message.
        folder: what the names are relative to.
        names: of the clips.
        remedy: what to do.

    Raises:
        VideoError: some are not.
    """
    missing = sorted({name for name in names if not (folder / name).exists()})
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise VideoError(f"{path} names clips that are not in {folder}: {', '.join(missing[:3])}{more}; {remedy}")


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build a dataclass from what a YAML file holds.

    Args:
        cls: the dataclass.
        data: its fields by name; missing ones take their defaults.
        where: what to call it in messages.

    Raises:
        ConfigError: a key that the dataclass does not have, or a value of another type.
    """
    where = where or cls.__name__
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where} is {data!r}; give a mapping of {', '.join(typing.get_type_hints(cls))}")
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(typing.cast(Any, cls)) if f.init]
    values = {}
    for key, value in data.items():
        if key not in names:
            raise ConfigError(f"{where} has no setting {key!r}: {choices(str(key), names)}")
        values[key] = _convert(hints[key], value, f"{where}.{key}")
    return cls(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check a value against a type hint; lists become tuples, mappings become dataclasses."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        nested = [option for option in args if isinstance(option, type) and dataclasses.is_dataclass(option)]
        if len(nested) == 1 and isinstance(value, Mapping):
            return _convert(nested[0], value, where)  # What is wrong with it is worth saying.
        for option in args:
            try:
                return _convert(option, value, where)
            except ConfigError:
                continue
    elif origin is Literal:
        if value in args:
            return value
        raise ConfigError(f"{where} is {value!r}: {choices(str(value), map(str, args))}")
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return from_dict(hint, value, where)
    elif origin is frozenset and isinstance(value, (list, tuple, frozenset)):
        return frozenset(_convert(args[0], v, where) for v in value)
    elif origin is tuple and isinstance(value, (list, tuple)):
        if args and args[-1] is not Ellipsis:
            if len(args) == len(value):
                return tuple(_convert(a, v, where) for a, v in zip(args, value, strict=True))
        else:
            return tuple(_convert(args[0], v, where) for v in value) if args else tuple(value)
    elif origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if isinstance(value, Mapping):
            return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    elif hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif hint is type(None):
        if value is None:
            return None
    elif hint in (Fraction, Path) and isinstance(value, str):
        with contextlib.suppress(ValueError):
            return hint(value)
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    name = getattr(hint, "__name__", None) if origin is None else None
    raise ConfigError(f"{where} is {value!r}; give a {name or str(hint).replace('typing.', '')}")
