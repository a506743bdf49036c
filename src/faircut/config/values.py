"""Choices, one frozen dataclass each; the same object feeds Python, the command line, YAML files and the report."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar

from faircut.config.ranges import MAX_FRAMES, check_range
from faircut.config.reading import short_repr
from faircut.errors import ConfigError, PromptError, VideoError, choices

__all__ = ["SpatialTemporal", "Supplier", "check_clips", "check_types", "convert", "from_dict", "to_dict"]

Supplier = Literal["auto", "live", "memory", "disk"]

T = TypeVar("T")

# Of few digits: Fraction computes 10**exponent for a number such as 1e999999999.
_FRACTION = re.compile(r"[-+]?[0-9]{1,30}(\.[0-9]{1,30}|/0*[1-9][0-9]{0,29})?")


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
                check_range("a frame to attend to", frame, -MAX_FRAMES, MAX_FRAMES, flag="--attend", example="-1")
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


def check_clips(
    path: str | Path, folder: Path, names: Iterable[str], remedy: str = "check their names", *, inside: bool = False
) -> None:
    """Check that the clips that a file names are there.

    A relative name stays in the folder; an absolute one is the user's own word, and is taken as it is.

    Args:
        path: of the file, for the message.
        folder: what the names are relative to.
        names: of the clips.
        remedy: what to do.
        inside: whether absolute names are refused, because others wrote the file.

    Raises:
        VideoError: some are not there, or are names that no clip has.
    """
    missing = set()
    for name in names:
        if not name.strip() or "\0" in name:
            raise VideoError(
                f"{path} names a clip {short_repr(name)}; give the name of a file or of a folder of pictures"
            )
        if Path(name).is_absolute():
            if inside:
                raise VideoError(f"{path} names the clip {name}, which is not in {folder}; give a name inside of it")
        elif os.path.normpath(name).split(os.sep)[0] == os.pardir:
            raise VideoError(
                f"{path} names the clip {name}, which leaves {folder}; put the clip there, or give its absolute name"
            )
        try:
            there = (folder / name).exists()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise VideoError(f"{path} names the clip {short_repr(name)}, which cannot be one: {reason}") from None
        if not there:
            missing.add(name)
    if missing:
        some = sorted(missing)
        more = f" and {len(some) - 3} more" if len(some) > 3 else ""
        raise VideoError(f"{path} names clips that are not in {folder}: {', '.join(some[:3])}{more}; {remedy}")


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build a dataclass from what a file or the command line holds, checked against the types of its fields.

    Numbers that are not finite are refused, but for fields of metadata ``finite: False``, where null is NaN.

    Args:
        cls: the dataclass.
        data: its fields by name; missing ones take their defaults.
        where: what to call it in messages, such as a file's name.

    Raises:
        ConfigError: a key that the dataclass does not have, one that it needs and that is missing, or a value of another
            type or out of its range; it names the key, such as ``tasks[2].prompt``.
    """
    return _build(cls, data, where or cls.__name__, "")


def check_types(cls: type, data: Mapping[str, Any], where: str) -> None:
    """Check what there is of a dataclass's fields as `from_dict` does, without building it: others may follow.

    Raises:
        ConfigError: a key that the dataclass does not have, or a value of another type.
    """
    _fields(cls, data, where, "")


def _build(cls: type[T], data: Any, where: str, key: str) -> T:
    values = _fields(cls, data, where, key)
    for field in dataclasses.fields(typing.cast(Any, cls)):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.init and needed and field.name not in values:
            meaning = _meaning(cls, field.name)
            raise ConfigError(f"{where} lacks {_inside(key, field.name)}{meaning and ': '}{meaning}; add it")
    try:
        return cls(**values)
    except (ConfigError, PromptError) as error:
        raise type(error)(f"{where}: {key and key + ': '}{error}") from None


def _fields(cls: type, data: Any, where: str, key: str) -> dict[str, Any]:
    """Convert the fields that there are."""
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls)) if f.init}
    if data is None or not isinstance(data, Mapping):
        found = "holds nothing" if data is None else f"is {short_repr(data)}"
        raise ConfigError(f"{where}{key and ': '}{key} {found}; give a mapping of {', '.join(fields)}")
    hints = typing.get_type_hints(cls)
    values = {}
    for name, value in data.items():
        if name not in fields:
            place = f"{where}: {key}" if key else where
            raise ConfigError(f"{place} has no setting {short_repr(name)}: {choices(str(name), fields)}")
        finite = fields[name].metadata.get("finite", True)
        values[name] = _convert(hints[name], value, where, _inside(key, name), finite)
    return values


def _meaning(cls: type, name: str) -> str:
    """Return what the docstring of a dataclass says about a field, the first part of it; empty if it says nothing."""
    lines = inspect.cleandoc(cls.__doc__ or "").splitlines()
    found: list[str] = []
    for line in lines:
        start = re.match(r" {4}(\w+): (.*)", line)
        if start and found:
            break
        if start and start[1] == name:
            found.append(start[2])
        elif found and line.startswith(" " * 8):
            found.append(line.strip())
        elif found:
            break
    return re.split(r"[.;] |[.;]$", " ".join(found).replace("`", ""))[0]


def _inside(key: str, name: object) -> str:
    """Name a value inside of another."""
    if isinstance(name, int):
        return f"{key}[{name}]"
    return f"{key}.{name}" if key else str(name)


def convert(hint: Any, value: Any, where: str, *, finite: bool = True) -> Any:
    """Check a value against a type hint; lists become tuples, mappings become dataclasses.

    Args:
        hint: the type.
        value: what was given.
        where: what to call it in messages.
        finite: whether NaN and infinity are refused; else null is NaN.

    Raises:
        ConfigError: it is of another type.
    """
    return _convert(hint, value, where, "", finite)


def _convert(hint: Any, value: Any, where: str, key: str, finite: bool) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        options = [option for option in args if option is not type(None)]
        if value is None and len(options) < len(args):
            return None
        nested = [option for option in options if isinstance(option, type) and dataclasses.is_dataclass(option)]
        if len(options) == 1 or (len(nested) == 1 and isinstance(value, Mapping)):
            # What is wrong with it is worth saying.
            return _convert(options[0] if len(options) == 1 else nested[0], value, where, key, finite)
        for option in options:
            try:
                return _convert(option, value, where, key, finite)
            except ConfigError:
                continue
    elif origin is Literal:
        if any(value == arg and type(value) is type(arg) for arg in args):
            return value
        raise ConfigError(f"{_place(where, key)} is {short_repr(value)}: {choices(str(value), map(str, args))}")
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return _build(hint, value, where, key)
    elif origin is frozenset and isinstance(value, (list, tuple, frozenset)):
        return frozenset(_convert(args[0], v, where, _inside(key, i), finite) for i, v in enumerate(value))
    elif origin in (tuple, Sequence) and isinstance(value, (list, tuple)):
        if origin is tuple and args and args[-1] is not Ellipsis:
            if len(args) == len(value):
                return tuple(
                    _convert(a, v, where, _inside(key, i), finite)
                    for i, (a, v) in enumerate(zip(args, value, strict=True))
                )
        else:
            return (
                tuple(_convert(args[0], v, where, _inside(key, i), finite) for i, v in enumerate(value))
                if args
                else tuple(value)
            )
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            for name in value:
                if not isinstance(name, str):
                    raise ConfigError(f"{_place(where, key)} has the key {short_repr(name)}; give names as keys")
            return {k: _convert(args[1], v, where, _inside(key, k), finite) for k, v in value.items()}
    elif hint is float:
        if value is None and not finite:
            return math.nan
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):
                if math.isfinite(float(value)) or not finite:
                    return float(value)
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif hint is Fraction and isinstance(value, str):
        if _FRACTION.fullmatch(value):
            return Fraction(value)
    elif hint is Path and isinstance(value, str):
        if value and "\0" not in value:
            return Path(value)
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    name = getattr(hint, "__name__", None) if origin is None else None
    wanted = name or re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(hint))
    raise ConfigError(
        f"{_place(where, key)} is {short_repr(value)}; give {'an' if wanted[0] in 'aeio' else 'a'} {wanted}"
    )


def _place(where: str, key: str) -> str:
    return f"{where}: {key}" if key else where
