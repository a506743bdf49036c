"""The command line: parse, call, show. Commands are imported when one is run, and torch and diffusers inside of
them."""

from __future__ import annotations

from typing import Any, NoReturn

from faircut.interrupts import Stopped, raise_on_signals

# Nothing else is imported here: until `main` has begun, Ctrl-C shows a traceback.

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    """Import the commands only when they are asked for, so that Ctrl-C meets `main` and not an import."""
    if name == "app":
        from faircut.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; whatever happens in it ends as one line and an exit code.

    Args:
        arguments: in place of those of the process.

    Raises:
        SystemExit: always; 0 for success, 2 for bad input, 70 for a fault of faircut, 128 + N for a stop by signal N.
    """
    run: Any = None
    with raise_on_signals(last=arguments is None):
        try:
            from faircut.cli.console import ended, ready

            try:
                words = ready(arguments)
                from faircut.cli.commands import Run

                run = Run(words)
                run()
            except BaseException as error:
                ended(error, show_traceback=run is not None and run.traceback)
            ended()
        except Stopped as error:
            # It came before the command, or while its end was being told.
            from faircut.cli.console import ended

            ended(error)
