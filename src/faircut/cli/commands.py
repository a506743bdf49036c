"""All commands, and how one is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from faircut._version import __version__
from faircut.cli import align, audit, demo, edit, evaluate, invert, plan, sweep
from faircut.cli.atlas import atlas
from faircut.cli.bench import bench
from faircut.cli.console import say
from faircut.cli.pocket import pocket
from faircut.cli.study import study
from faircut.cli.tune import tune
from faircut.cli.typed import read_strictly

__all__ = ["Run", "app"]

app = typer.Typer(
    name="faircut",
    help="Edit videos by text with diffusion models, with no training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where in the code an error comes from.")] = False,
) -> None:
    if version:
        say(f"faircut {__version__}")
        raise typer.Exit


_COMMANDS = (
    edit.edit, evaluate.evaluate, sweep.sweep, invert.invert, align.align, plan.plan, audit.audit, demo.demo,
)  # fmt: skip
for _command in _COMMANDS:
    app.command()(_command)
app.add_typer(atlas, name="atlas")
app.add_typer(bench, name="bench")
app.add_typer(tune, name="tune")
app.add_typer(pocket, name="pocket")
app.add_typer(study, name="study")
for _group in (app, *(part.typer_instance for part in app.registered_groups)):
    for _registered in _group.registered_commands if _group else ():
        if _registered.callback is not None:
            _registered.callback = read_strictly(_registered.callback)


class Run:
    """One use of the command line.

    Args:
        arguments: what was typed after ``faircut``.

    Attributes:
        traceback: whether it was asked for.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments, self.traceback = list(arguments), False

    def __call__(self) -> Any:
        """Parse the arguments and call the command; exceptions come out as they are."""
        # Not typer's own main, which handles some exceptions by itself, and each of them in its own way.
        command = typer.main.get_command(app)
        with command.make_context("faircut", self.arguments) as context:
            self.traceback = bool(context.params.get("traceback"))
            return command.invoke(context)
