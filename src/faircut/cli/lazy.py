"""A command's module is imported when the command is called or its help is asked for; help is plain text.

Importing all commands, and rich to show help, takes several times as long as the help of one command.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from faircut.cli.console import show_text
from faircut.cli.typed import read_strictly

__all__ = ["CommandOfMethods", "CommandWithPanels", "Group", "LazyCommands", "LazyGroup"]


class CommandWithPanels(TyperCommand):
    """A command whose help lists flags under the headings that they name."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and flags, each under its heading; flags without one come last."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                flag = getattr(parameter, "rich_help_panel", None) or "Options"
                panels.setdefault("Arguments" if parameter.param_type_name == "argument" else flag, []).append(record)
        panels["Options"] = panels.pop("Options", [])
        for heading, records in panels.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class CommandOfMethods(CommandWithPanels):
    """A command that takes the flags of every method, which are known only once methods are imported.

    Flags that the command itself does not have are handed on as ``--method-flag FLAG=VALUE``, which
    `faircut.cli.options.to_settings` reads.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Set the method's flags apart, and let the command parse the rest."""
        # How many values each of the command's own flags takes.
        taken = {name: 0 if getattr(p, "is_flag", False) else p.nargs for p in self.params for name in p.opts}
        words, rest = list(args), []
        while words:
            word = words.pop(0)
            name, equals, value = word.partition("=")
            if word == "--":
                rest += [word, *words]
                break
            if not word.startswith("--") or name in taken or name == "--help":
                rest.append(word)
                for _ in range(0 if equals else taken.get(name, 0)):
                    rest += words[:1]
                    words = words[1:]
                continue
            if not equals:
                value, words = (words[0], words[1:]) if words else ("", [])
            rest = ["--method-flag", f"{name}={value}", *rest]
        return super().parse_args(ctx, rest)


class LazyCommands(Mapping[str, Any]):
    """Commands by name, each built when it is asked for.

    Args:
        names: in the order in which they are listed; a command is the function or the `typer.Typer` of that name in the
            module of that name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        if name not in self._built:
            self._built[name] = _build(name, getattr(import_module(f"faircut.cli.{name}"), name))
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Group(TyperGroup):
    """A group of commands that shows its help as a result when no command is given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what comes before the command.

        Raises:
            Exit: there is no command; with 2, after its help.
        """
        if not args and self.no_args_is_help:
            show_text(ctx.get_help())
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Any) -> Any:
        """Return ``--help``, whose value is False where it is not given: typer imports pydantic to read None."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with the first sentences of their help."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, (command.help or "").partition("\n")[0]) for name, command in self.commands.items()]
            )


class LazyGroup(Group):
    """A group whose list of commands imports none of them.

    Attributes:
        summaries: the first sentence of each command's help, by name; a subclass says them.
    """

    summaries: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands(self.summaries)  # type: ignore[assignment]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))


def _build(name: str, part: Any) -> Any:
    """Make a command of a function, or a group of commands of a `typer.Typer`."""
    group = part if isinstance(part, typer.Typer) else typer.Typer(add_completion=False)
    if group is not part:
        group.command(name)(part)
    group.rich_markup_mode = None
    for registered in group.registered_commands:
        registered.cls = CommandWithPanels
        if registered.callback is not None:
            registered.callback = read_strictly(registered.callback)
            if "flags" in inspect.signature(registered.callback).parameters:
                registered.cls = CommandOfMethods
    command = get_group(group) if group is part else get_command(group)
    command.name = name
    return command
