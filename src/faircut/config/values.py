"""Convert settings between dataclasses and plain data, with type checks.

Each group of settings is one frozen dataclass. Python code, the command line, YAML files and reports all use it.
"""

from __future__ import annotations

import contextlib
import dataclasses
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

from faircut.config.docstrings import attributes, first_clause
from faircut.config.ranges import MAX_FRAMES, check_range
from faircut.config.reading import short_repr
from faircut.errors import ConfigError, PromptError, VideoError, choices

__all__ = ["SpatialTemporal", "Supplier", "check_clips", "check_types", "convert", "from_dict", "to_dict"]

Supplier = Literal["auto", "live", "memory", "disk"]

T = TypeVar("T")

# The number of digits is limited because Fraction computes 10**exponent, which never ends for 1e999999999.
_FRACTION = re.compile(r"[-+]?[0-9]{1,30}(\.[0-9]{1,30}|/0*[1-9][0-9]{0,29})?")


@dataclass(frozen=True)
class SpatialTemporal:
    """Which frames of a clip attend to each other, in the inversion and in the edit alike (FateZero, section 3.4).

    Attributes:
        frames: Frames whose keys and values each query sees, concatenated: relative indices (0 is the frame itself, -1
            the previous one, clamped to the clip), ``"first"``, ``"middle"`` or ``"last"``. The paper uses
            (0, "middle"); its published style and attribute configurations use ("middle",).
        least_channels: Minimum width of a self-attention layer that attends across frames. Narrower layers attend
            within their own frame; 0 excludes no layer.
        clip_norm: Whether group norms of residual blocks take their statistics over the whole clip.
    """

    frames: tuple[int | str, ...] = ("middle",)
    least_channels: int = 0
    clip_norm: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.frames, (str, int)):
            object.__setattr__(self, "frames", (self.frames,))
        object.__setattr__(self, "frames", tuple(self.frames))
        if not self.frames:
            raise ConfigError("frames to attend to is empty; give at least one, such as (0,) for the frame itself")
        for frame in self.frames:
            if isinstance(frame, str) and frame not in ("first", "middle", "last"):
                raise ConfigError(
                    f"cannot attend to frame {frame!r}: {choices(frame, ('first', 'middle', 'last'))}, "
                    "or a whole number relative to the frame itself"
                )
            if not isinstance(frame, str):
                check_range("a frame to attend to", frame, -MAX_FRAMES, MAX_FRAMES, flag="--attend", example="-1")
        check_range("least_channels", self.least_channels, 0, 1_000_000, flag="--least-channels")


TUNED = SpatialTemporal(("first", -1))
"""The attention across frames with which Tune-A-Video tunes a model, and which a tuned model uses by default."""


def to_dict(value: Any) -> Any:
    """Convert a dataclass, with everything in it, to plain data for JSON and YAML.

    Fields whose metadata has ``saved: False`` are left out.
    """
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
    """Check that the clips named in a file exist.

    A relative name must stay in the folder. An absolute name is taken as it is.

    Args:
        path: Path of the file that names the clips, for the error message.
        folder: Folder that relative names refer to.
        names: Names of the clips.
        remedy: What the error message tells the user to do about missing clips.
        inside: Whether absolute names are rejected too, because the file may come from somebody else.

    Raises:
        VideoError: If a clip does not exist, or its name is not valid.
    """
    missing = set()
    for name in names:
        if not name.strip() or "\0" in name:
            raise VideoError(
                f"{path} names a clip {short_repr(name)}; give the name of a file or of a folder of pictures"
            )
        if Path(name).is_absolute():
            if inside:
                raise VideoError(f"{path} names the clip {name}, which is not in {folder}; give a name inside it")
        elif os.path.normpath(name).split(os.sep)[0] == os.pardir:
            raise VideoError(
                f"{path} names the clip {name}, which is outside {folder}; put it there, or give its absolute path"
            )
        try:
            exists = (folder / name).exists()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise VideoError(
                f"{path} names the clip {short_repr(name)}: {reason}; give the name of a file or folder"
            ) from None
        if not exists:
            missing.add(name)
    if missing:
        examples = ", ".join(sorted(missing)[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise VideoError(f"{path} names clips that are not in {folder}: {examples}{more}; {remedy}")


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build a dataclass from plain data of a file or the command line, and check the types of its fields.

    NaN and infinity are rejected, except in fields whose metadata has ``finite: False``; there null is read as NaN.

    Args:
        cls: Dataclass to build.
        data: Values by field name. Missing fields take their defaults.
        where: Name of the data for error messages, such as a file name. The default is the name of the dataclass.

    Raises:
        ConfigError: If a key is not a field, a field without default is missing, or a value has the wrong type or is
            out of its range. The message names the key, such as ``tasks[2].prompt``.
    """
    return _build(cls, data, where or cls.__name__, "")


def check_types(cls: type, data: Mapping[str, Any], where: str) -> None:
    """Check the fields that are present like `from_dict`, without building the dataclass: other fields may be missing.

    Raises:
        ConfigError: If a key is not a field, or a value has the wrong type.
    """
    _fields(cls, data, where, "")


def _build(cls: type[T], data: Any, where: str, key: str) -> T:
    values = _fields(cls, data, where, key)
    for field in dataclasses.fields(typing.cast(Any, cls)):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.init and required and field.name not in values:
            meaning = first_clause(attributes(cls).get(field.name, ""))
            if not meaning[1:2].isupper():  # An abbreviation, such as CLIP, keeps its letters.
                meaning = meaning[:1].lower() + meaning[1:]
            raise ConfigError(f"{where} lacks {_inside(key, field.name)}{meaning and ': '}{meaning}; add it")
    try:
        return cls(**values)
    except (ConfigError, PromptError) as error:
        raise type(error)(f"{where}: {key and key + ': '}{error}") from None


def _fields(cls: type, data: Any, where: str, key: str) -> dict[str, Any]:
    """Return the fields that are present, converted to their types."""
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls)) if f.init}
    if data is None or not isinstance(data, Mapping):
        problem = "is empty" if data is None else f"is {short_repr(data)}"
        raise ConfigError(f"{where}{key and ': '}{key} {problem}; give a mapping of {', '.join(fields)}")
    hints = typing.get_type_hints(cls)
    values = {}
    for name, value in data.items():
        if name not in fields:
            possible = choices(str(name), fields) if fields else "it has no options"
            raise ConfigError(f"{_place(where, key)} has no setting {short_repr(name)}: {possible}")
        finite = fields[name].metadata.get("finite", True)
        values[name] = _convert(hints[name], value, where, _inside(key, name), finite)
    return values


def _inside(key: str, name: object) -> str:
    """Return the name of a value inside another one, such as ``tasks[2].prompt``."""
    if isinstance(name, int):
        return f"{key}[{name}]"
    return f"{key}.{name}" if key else str(name)


def convert(hint: Any, value: Any, where: str, *, finite: bool = True) -> Any:
    """Check a value against a type hint. Lists become tuples, and mappings become dataclasses.

    Args:
        hint: Type that the value must have.
        value: Value to convert.
        where: Name of the value for error messages.
        finite: Whether to reject NaN and infinity. If False, they are accepted and null is read as NaN.

    Raises:
        ConfigError: If the value has another type.
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
            # With a single candidate its own error is more useful than a general one.
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
    expected = name or re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(hint))
    raise ConfigError(
        f"{_place(where, key)} is {short_repr(value)}; give {'an' if expected[0] in 'aeio' else 'a'} {expected}"
    )


def _place(where: str, key: str) -> str:
    return f"{where}: {key}" if key else where
