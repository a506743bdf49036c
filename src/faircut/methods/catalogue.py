"""What there is to know of every method, read off its dataclass: names, papers, options, flags, defaults, meanings."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from faircut.config import docstrings
from faircut.config.values import to_dict
from faircut.methods.base import Method, RegionUse, get_method, method_names

__all__ = ["MethodFacts", "OptionFacts", "facts_of", "list_methods"]


@dataclass(frozen=True)
class OptionFacts:
    """One option of a method.

    Attributes:
        name: as ``--set NAME=VALUE`` and saved runs have it.
        flag: of the command line; None for none.
        type: what it takes, in words.
        default: as JSON can hold it; None where it must be given, too.
        needed: whether it must be given.
        meaning: from the docstring.
    """

    name: str
    flag: str | None
    type: str
    default: Any
    needed: bool
    meaning: str


@dataclass(frozen=True)
class MethodFacts:
    """One method.

    Attributes:
        name: as ``--method NAME`` has it.
        title: what it is called.
        paper: authors, venue and number.
        summary: what it does, in a sentence.
        text: equations, and where it differs from its paper; a text for each paragraph.
        regions: whether it is bound to regions: ``"none"``, ``"optional"``, ``"needed"`` or ``"computed"``.
        needs: what it needs beside a clip and two prompts, in words.
        options: in the order of the dataclass.
        flags: flags that set no option of its own by that name, and what they set.
        package: of the class.
    """

    name: str
    title: str
    paper: str
    summary: str
    text: tuple[str, ...]
    regions: RegionUse
    needs: tuple[str, ...]
    options: tuple[OptionFacts, ...]
    flags: dict[str, str]
    package: str


def list_methods() -> list[MethodFacts]:
    """Return the facts of all methods, by name."""
    return [facts_of(name) for name in method_names()]


def facts_of(name: str) -> MethodFacts:
    """Return the facts of a method.

    Raises:
        ConfigError: If the method does not exist.
    """
    cls: type[Method] = get_method(name)
    flags = cls.flags()
    flag_of = {option: flag for flag, option in flags.items()}
    meanings, hints = docstrings.attributes(cls), typing.get_type_hints(cls)
    options = []
    for field in dataclasses.fields(typing.cast(Any, cls)):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        # What arrays alone can say is for Python.
        kind = type_in_words(hints[field.name]) if field.metadata.get("saved", True) else "arrays, from Python only"
        options.append(
            OptionFacts(
                field.name,
                flag_of.get(field.name),
                kind,
                None if needed else to_dict(default),
                needed,
                meanings.get(field.name, "").replace("`", ""),
            )
        )
    names = {option.name for option in options}
    return MethodFacts(
        name=cls.name,
        title=cls.title or cls.name,
        paper=cls.paper,
        summary=docstrings.summary(cls).replace("`", ""),
        text=tuple(text.replace("`", "") for text in docstrings.body(cls)),
        regions=cls.region_use,
        needs=_needs(cls),
        options=tuple(options),
        flags={flag: option for flag, option in flags.items() if option not in names},
        package=cls.__module__.split(".")[0],
    )


def _needs(cls: type[Method]) -> tuple[str, ...]:
    """Say what a method needs beside a clip and two prompts."""
    needs = []
    if cls.region_use == "needed":
        needs.append("words that say where")
    if cls.null_text:
        needs.append("null-text optimisation; guidance other than 1")
    if cls.temporal is not None:
        needs.append(f"frames that attend to {', '.join(map(str, cls.temporal.frames))}")
    if cls.reference:
        needs.append("one more branch for the source")
    return tuple(needs)


def type_in_words(hint: Any) -> str:
    """Say what a type takes, in words that somebody who types a value understands."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if args == (float, tuple[float, float]):
            return "share of the steps, or [from, to]"
        return " or ".join("none" if arg is type(None) else type_in_words(arg) for arg in args)
    if origin is Literal:
        return ", ".join(map(str, args))
    if origin is tuple:
        if args[-1] is Ellipsis:
            return (
                f"list of ({type_in_words(args[0])})"
                if " " in type_in_words(args[0])
                else f"list of {args[0].__name__}"
            )
        return f"[{', '.join(type_in_words(arg) for arg in args)}]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{{word: {type_in_words(args[1])}}}"
    plain = {float: "number", int: "whole number", bool: "true or false", str: "text", Any: "any"}
    if hint in plain:
        return plain[hint]
    if dataclasses.is_dataclass(hint):
        return f"options of {re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', getattr(hint, '__name__', str(hint))).lower()}"
    return getattr(hint, "__name__", str(hint))
