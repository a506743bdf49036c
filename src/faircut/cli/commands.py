"""All commands, and how one is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import typer
from typer.main import get_command

from faircut._version import __version__
from faircut.cli.console import say
from faircut.cli.lazy import LazyGroup

__all__ = ["Run", "app"]

_WIDTH = 120
"""Most columns that help takes on a wide terminal."""


class _Commands(LazyGroup):
    """Every command beside the first sentence of its docstring, so that listing them imports none."""

    summaries: ClassVar[Mapping[str, str]] = {
        "edit": "Edit a clip by text; writes the video, a side-by-side, a report and the run's settings.",
        "evaluate": (
            "Measure an edit made with any tool: agreement with the prompt, consistency, preservation of the source."
        ),
        "sweep": (
            "Edit a clip with many option values, and find the best trade-offs between consistency and agreement."
        ),
        "invert": "Invert a clip once, for many edits: faircut edit --inversion FOLDER.",
        "align": "Show how a method aligns the words of two prompts, and which of them say where the edit happens.",
        "plan": "Predict time and memory of an edit, for each place that the source's attention can come from.",
        "methods": ("List the editing methods; with a name, show its paper, what it does, and every option and flag."),
        "audit": "Measure how fair edits of people are: methods x policies over a benchmark, or over your own clips.",
        "demo": "Draw clips, edit them, measure the edits, and show them beside their sources.",
        "atlas": "Edit a clip through a layered atlas: one picture for all frames.",
        "bench": "Compare editing methods over a list of edits.",
        "tune": "Tune a model to one clip (Tune-A-Video), or convert a published checkpoint.",
        "pocket": "Train and measure the model that comes with faircut.",
        "study": "Run a blind user study of which edits people prefer.",
    }


app = typer.Typer(
    name="faircut",
    cls=_Commands,
    help="Edit videos by text with diffusion models, with no training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where in the code an error comes from.")] = False,
) -> None:
    if version:
        say(f"faircut {__version__}")
        raise typer.Exit


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
        command = get_command(app)
        with command.make_context("faircut", self.arguments, max_content_width=_WIDTH) as context:
            self.traceback = bool(context.params.get("traceback"))
            return command.invoke(context)
