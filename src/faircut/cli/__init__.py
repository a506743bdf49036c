"""The command line: parse, call, show. Torch and diffusers are imported inside commands, so that help is quick."""

from __future__ import annotations

import signal
import sys
from typing import Annotated, Any, NoReturn

import typer

from faircut._version import __version__
from faircut.cli import align, audit, demo, edit, evaluate, invert, plan, sweep
from faircut.cli.atlas import atlas
from faircut.cli.bench import bench
from faircut.cli.console import INTERRUPTED, fail, guarded
from faircut.cli.pocket import pocket
from faircut.cli.study import study
from faircut.cli.tune import tune

__all__ = ["app", "main"]

app = typer.Typer(
    name="faircut",
    help="Edit videos by text with diffusion models, with no training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"faircut {__version__}")
        raise typer.Exit


_COMMANDS = (
    edit.edit, evaluate.evaluate, sweep.sweep, invert.invert, align.align, plan.plan, audit.audit, demo.demo,
)  # fmt: skip
for _command in _COMMANDS:
    app.command()(guarded(_command))
app.add_typer(atlas, name="atlas")
app.add_typer(bench, name="bench")
app.add_typer(tune, name="tune")
app.add_typer(pocket, name="pocket")
app.add_typer(study, name="study")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: in place of those of the process.
    """

    def terminate(number: int, frame: Any) -> NoReturn:
        # An orderly exit, so that temporary files go.
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, terminate)
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="faircut", standalone_mode=False)
    except Exception as error:
        # Usage errors of typer know their exit code and their one line; Ctrl-C outside a command is an "Abort".
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            message = error.format_message()
            if not message:
                sys.exit(error.exit_code)
            fail(message if message.endswith("?") else f"{message.rstrip('.')}. See faircut --help", 2)
        if type(error).__name__ == "Abort":
            fail("interrupted", INTERRUPTED)
        raise
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
