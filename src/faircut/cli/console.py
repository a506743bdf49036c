"""How the command line speaks: one line for an error, one yellow line for a warning, bars with the time left."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rich.console import Console

from faircut.errors import ConfigError, FaircutError, ReconstructionWarning

__all__ = ["Bars", "Display", "fail", "guarded", "quiet_libraries", "say", "table_console", "writing"]

F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 130


def _stderr() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def table_console() -> Console:
    """Return the console for results."""
    return Console(highlight=False)


def say(text: str, style: str = "") -> None:
    """Print a line of results."""
    Console(highlight=False, soft_wrap=True).print(text, style=style, markup=False)


def fail(message: str, code: int = 2) -> NoReturn:
    """Print one line to stderr and leave."""
    _stderr().print(f"faircut: {' '.join(message.split())}", style="red", markup=False)
    raise SystemExit(code)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say in one line what the file system will not do."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def guarded(command: F) -> F:
    """Turn our own exceptions into one line and exit code 2, and Ctrl-C into one line and 130."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        warnings.showwarning = _show_warning
        try:
            return command(*args, **kwargs)
        except FaircutError as error:
            fail(str(error))
        except BrokenPipeError:
            # Whoever read our output has left; nobody is there to be told.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            # A second Ctrl-C must not stop the clearing up that has just been done from being said.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            fail("interrupted; nothing half-written was left behind", INTERRUPTED)

    return run  # type: ignore[return-value]


def _show_warning(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
    """Show warnings of ours; those of libraries are for us, not for users."""
    if issubclass(category, ReconstructionWarning) or "faircut" in Path(filename).parts:
        _stderr().print(f"warning: {' '.join(str(message).split())}", style="yellow", markup=False)


def quiet_libraries() -> None:
    """Silence the logs and bars of diffusers and transformers; errors still come through."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    logging.getLogger("libav").setLevel(logging.CRITICAL)


class Bars:
    """Shows stages as bars with the time left, on stderr, so that stdout holds results alone.

    Args:
        quiet: show nothing.
        counted: show how many steps of how many, rather than a percentage.
    """

    def __init__(self, quiet: bool = False, counted: bool = True) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.shown = not quiet and sys.stderr.isatty()
        self._shares: dict[str, Any] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]\u2713"),
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn() if counted else TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[figures]}", style="dim"),
            console=Console(stderr=True),
            disable=not self.shown,
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Open a bar of so many steps; None for one that only turns."""
        task = self._progress.add_task(name, total=total, figures="")
        yield lambda: self._progress.advance(task)
        self._progress.update(task, total=total or 1, completed=total or 1)

    def share(self, name: str, done: float | None, figures: str = "") -> None:
        """Set the bar of a stage, opened when it is first named.

        Args:
            name: of the stage.
            done: 0 to 1; None leaves it where it is.
            figures: what to show behind it; empty leaves what is there.
        """
        if name not in self._shares:
            self._shares[name] = self._progress.add_task(name, total=1.0, figures="")
        update: dict[str, Any] = {} if done is None else {"completed": done}
        if figures:
            update["figures"] = figures
        self._progress.update(self._shares[name], **update)


class Display:
    """Shows a training: one bar a stage with its latest figures; plain lines where nobody looks at a terminal.

    Args:
        bars: to show it on.
        quiet: show nothing.
    """

    def __init__(self, bars: Bars, quiet: bool = False) -> None:
        self.bars, self.quiet = bars, quiet

    def __call__(self, stage: str, line: dict[str, Any]) -> None:
        """Show how a stage goes on.

        Args:
            stage: its name.
            line: figures by name, and how much is ``done``, 0 to 1.
        """
        done = line.get("done")
        figures = "  ".join(f"{key} {value:.6g}" for key, value in line.items() if key not in ("done", "step", "lr"))
        if self.bars.shown:
            self.bars.share(stage, done, figures)
        elif figures and not self.quiet:
            print(f"{stage}{'' if done is None else f' {100 * done:.1f} %'}: {figures}", flush=True)
