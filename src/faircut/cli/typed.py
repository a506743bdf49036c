"""What is typed after a flag, read: numbers, sizes, pairs, parts."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from faircut.config.ranges import read_float, read_int
from faircut.config.texts import shorten
from faircut.errors import ConfigError

__all__ = ["commas", "frame", "read_strictly", "shard_of", "size", "value_of"]


_Command = TypeVar("_Command", bound=Callable[..., Any])


def read_strictly(command: _Command) -> _Command:
    """Let a command read its numbers as `faircut.config.ranges` does: typer's own reading takes ``1_000``, ``nan`` and
    more.

    Args:
        command: a function for typer; every flag and argument of it that is an int or a float is covered.
    """
    signature = inspect.signature(command, eval_str=True)
    for name, parameter in signature.parameters.items():
        kinds = [kind for kind in (int, float) if kind in _kinds(parameter.annotation)]
        for info in getattr(parameter.annotation, "__metadata__", ()):
            if kinds:
                # Within Annotated typer keeps the first name as the default.
                names = [n for n in (info.default, *(info.param_decls or ())) if isinstance(n, str)]
                flag = max(names or [name.upper()], key=len)
                info.parser, info.metavar = _parser(kinds[-1], flag), info.metavar or kinds[-1].__name__.upper()
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return command


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the types that a value may have."""
    if typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    return typing.get_args(annotation) or (annotation,)


def _parser(kind: type, flag: str) -> Callable[[Any], Any]:
    """Make a reader of a flag's numbers for typer."""
    read, what = (read_int, "whole number") if kind is int else (read_float, "number")

    def parse(value: Any) -> Any:
        if not isinstance(value, str):
            return value  # A default.
        try:
            return read(value)
        except ValueError:
            from typer import BadParameter

            raise BadParameter(f"{shorten(value)!r} is not a {what}; give one, such as 1", param_hint=flag) from None

    return parse


def value_of(text: str) -> Any:
    """Read an option's value as YAML has it: a number, a word, a list.

    Raises:
        ConfigError: If the text is not one.
    """
    from faircut.config.reading import parse_yaml, short_repr

    try:
        return parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(
            f"{short_repr(text)} cannot be read as the value of an option: {error}; give a number, a word or [a, list]"
        ) from None


def commas(text: str) -> tuple[str, ...]:
    """Read names that are separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def shard_of(text: str) -> tuple[int, int]:
    """Read ``--shard K/N`` as (K - 1, N).

    Raises:
        ConfigError: If the text does not name a part.
    """
    try:
        k, n = map(read_int, text.split("/"))
    except ValueError:
        k, n = 0, 0
    if not 1 <= k <= n:
        raise ConfigError(f"--shard {shorten(text)!r} is not a part; give K/N with K from 1 to N, such as 1/2")
    return k - 1, n


def frame(text: str) -> int | str:
    """Read a frame's number, or a word for one, such as ``first``."""
    try:
        return read_int(text)
    except ValueError:
        return text


def size(text: str) -> int | list[int]:
    """Read ``512`` or ``WIDTHxHEIGHT``; the latter as height and width, as tensors have it.

    Raises:
        ConfigError: If the text has neither form.
    """
    try:
        parts = [read_int(part) for part in text.lower().split("x")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2):
        raise ConfigError(
            f"--size {shorten(text)!r} is not a size; give the shorter side (512) or WIDTHxHEIGHT (640x360)"
        )
    return parts[0] if len(parts) == 1 else [parts[1], parts[0]]
