"""Facts of every method, read from its dataclass: name, paper, options, flags, defaults and meanings."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from faircut.config import docstrings
from faircut.config.values import to_dict
from faircut.methods.base import Method, RegionUse, get_method, method_names

__all__ = ["FlagFacts", "MethodFacts", "OptionFacts", "facts_of", "list_methods"]


@dataclass(frozen=True)
class OptionFacts:
    """One option of a method.

    Attributes:
        name: Name in ``--set NAME=VALUE``, saved runs and Python.
        flag: Flag of the command line, or None.
        set: How the command line sets the option, such as ``"--set threshold=VALUE"`` or ``"--blend SOURCE:TARGET"``;
            None if only Python can.
        takes: Help for what is typed after the flag; empty without a flag.
        type: Type of the value in saved runs and ``--set``, in words.
        default: Default in Python, as JSON holds it; None if there is none.
        cli_default: Default on the command line where it differs, in words; None if it is the same.
        needed: Whether Python must give the option.
        meaning: Meaning, from the docstring.
    """

    name: str
    flag: str | None
    set: str | None
    takes: str
    type: str
    default: Any
    cli_default: str | None
    needed: bool
    meaning: str


@dataclass(frozen=True)
class FlagFacts:
    """A flag of a method that sets a part of an option, or a setting of the run.

    Attributes:
        sets: What the flag sets, such as ``"base.cross_replace_steps"``.
        syntax: How the flag is typed, such as ``"--target VALUE"``.
        takes: Help for what is typed after the flag.
        cli_default: Default on the command line where it differs from Python's, in words; None if it is the same.
    """

    sets: str
    syntax: str
    takes: str
    cli_default: str | None


@dataclass(frozen=True)
class MethodFacts:
    """One method.

    Attributes:
        name: Name in ``--method NAME``.
        title: Title in tables.
        paper: Authors, venue and arXiv number.
        summary: Summary in one sentence.
        text: Equations and differences from the paper, one text for each paragraph.
        regions: Whether edits are bound to regions: ``"none"``, ``"optional"``, ``"needed"`` or ``"computed"``.
        needs: Requirements besides a clip and two prompts, in words.
        options: Options in the order of the dataclass.
        flags: Flags that set no whole option of this method, by flag.
        package: Package of the class.
    """

    name: str
    title: str
    paper: str
    summary: str
    text: tuple[str, ...]
    regions: RegionUse
    needs: tuple[str, ...]
    options: tuple[OptionFacts, ...]
    flags: dict[str, FlagFacts]
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
        # A command line has no arrays.
        python_only = field.metadata.get("python_only") or not field.metadata.get("saved", True)
        flag = flag_of.get(field.name)
        how = f"{flag} {field.metadata.get('syntax', 'VALUE')}" if flag else f"--set {field.name}=VALUE"
        options.append(
            OptionFacts(
                name=field.name,
                flag=flag,
                set=None if python_only else how,
                takes=_typed_after(field) if flag else "",
                type="arrays, from Python only" if python_only else type_in_words(hints[field.name]),
                default=None if needed else to_dict(default),
                cli_default=field.metadata.get("cli_default") or None,
                needed=needed,
                meaning=meanings.get(field.name, "").replace("`", ""),
            )
        )
    names = {option.name for option in options}
    more = {flag: _flag_facts(cls, flag, target) for flag, target in flags.items() if target not in names}
    if cls.reads_people:
        takes = "auto, which is the pocket model's judge, or the name or folder of a CLIP"
        more["--reader"] = FlagFacts("the reader of the people in the source", "--reader auto|CLIP", takes, None)
    return MethodFacts(
        name=cls.name,
        title=cls.title or cls.name,
        paper=cls.paper,
        summary=docstrings.summary(cls).replace("`", ""),
        text=tuple(text.replace("`", "") for text in docstrings.body(cls)),
        regions=cls.region_use,
        needs=_needs(cls, options),
        options=tuple(options),
        flags=more,
        package=cls.__module__.split(".")[0],
    )


def _typed_after(field: dataclasses.Field[Any]) -> str:
    """Return help for what is typed after a field's flag: its own, or its placeholder in words."""
    return str(field.metadata.get("takes") or _either(field.metadata.get("syntax", "").split("|")))


def _either(names: Sequence[str]) -> str:
    """Return names as a choice, such as "auto, replace or refine"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _flag_facts(cls: type, flag: str, target: str) -> FlagFacts:
    """Return the facts of a flag that sets a field of an option, such as ``base.alignment`` or ``people.target``."""
    option, _, name = target.partition(".")
    hint = typing.get_type_hints(cls).get(option)
    parts = (*typing.get_args(hint), hint)
    owner = next((part for part in parts if dataclasses.is_dataclass(part)), None)
    for field in dataclasses.fields(owner) if owner is not None else ():
        if field.name == name:
            syntax, default = field.metadata.get("syntax", "VALUE"), field.metadata.get("cli_default")
            return FlagFacts(target, f"{flag} {syntax}", _typed_after(field), default or None)
    return FlagFacts(target, f"{flag} VALUE", "", None)


def _needs(cls: type[Method], options: Sequence[OptionFacts]) -> tuple[str, ...]:
    """Return what a method needs besides a clip and two prompts, in words."""
    needs = []
    default = next((option.cli_default for option in options if option.flag == "--blend" and option.needed), None)
    if cls.region_use == "needed" and default is None:  # A command line may take the words from the prompts.
        needs.append("words that say where")
    if cls.null_text:
        needs.append("null-text optimisation; guidance other than 1")
    if cls.temporal is not None:
        needs.append(f"frames that attend to {', '.join(map(str, cls.temporal.frames))}")
    if cls.reference:
        needs.append("one more evaluation of the network in each step, for the source")
    return tuple(needs)


_PLURALS: dict[Any, str] = {float: "numbers", int: "whole numbers", str: "texts"}


def type_in_words(hint: Any) -> str:
    """Return the values of a type in words, for those who type one."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if args[:2] == (float, tuple[float, float]):
            return ", or ".join(["share of the steps", "[from, to]", *(["none"] if len(args) > 2 else [])])
        return " or ".join("none" if arg is type(None) else type_in_words(arg) for arg in args)
    if origin is Literal:
        return _either([str(arg) for arg in args])
    if origin is tuple:
        if args[-1] is Ellipsis:
            return f"list of {_PLURALS.get(args[0]) or type_in_words(args[0])}"
        return f"[{', '.join(type_in_words(arg) for arg in args)}]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{{word: {type_in_words(args[1])}}}"
    plain = {float: "number", int: "whole number", bool: "true or false", str: "text", Any: "any value"}
    if hint in plain:
        return plain[hint]
    if isinstance(hint, type) and issubclass(hint, Method):
        return f"options of {hint.name}, {{name: value}}"
    if dataclasses.is_dataclass(hint):
        return f"{{{', '.join(f.name for f in dataclasses.fields(hint) if f.metadata.get('saved', True))}}}"
    return getattr(hint, "__name__", str(hint))
