"""How the command line speaks: one line for an error, one yellow line for a warning, bars with the time left.

Nothing heavy is imported here, not even rich, so that an error and Ctrl-C find it ready.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from faircut.config.texts import check_text, escape_control, shorten
from faircut.errors import ConfigError, FaircutError, ReconstructionWarning, ran_out_of_memory
from faircut.interrupts import received, stop_if_asked

__all__ = [
    "Bars",
    "Display",
    "ended",
    "fail",
    "quiet_libraries",
    "ready",
    "say",
    "show_json",
    "show_table",
    "show_text",
    "writing",
]

FAULT = 70
_COLOURS = {"bold green": "1;32", "yellow": "33", "red": "31"}
_ENDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed"}


# The process --------------------------------------------------------------------------------------------------------


def ready(arguments: Sequence[str] | None = None) -> list[str]:
    """Make the process ready for a command: streams that take any text, warnings in one line.

    Args:
        arguments: what was typed; None for what the process was given.

    Returns:
        The arguments.

    Raises:
        ConfigError: If an argument is not valid text.
    """
    _open_streams()
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        # Libraries read these as they are, and fail at what is no number, or is too small for a word.
        if not re.fullmatch(r"[0-9]{2,4}", os.environ.get(name, "80")):
            del os.environ[name]
    warnings.showwarning = _show_warning
    if arguments is None:
        # What goes wrong in a library's destructor changes no result; an interrupt there is raised again by `Bars`.
        sys.unraisablehook = lambda unraisable: None
    words = sys.argv[1:] if arguments is None else list(arguments)
    for before, word in zip(["", *words], words, strict=False):
        check_text(word, f"what {before} is given" if before.startswith("-") else "an argument")
    return words


def _open_streams() -> None:
    """Give the process all three streams, and let them take any text."""
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        # A file that is opened later would get the number of a closed stream, and what is printed would end up in it.
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
        for name in ("stdin", "stdout", "stderr"):
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def ended(error: BaseException | None = None, show_traceback: bool = False) -> NoReturn:
    """End a command: say in one line what went wrong, if anything, and leave.

    Args:
        error: what ended it.
        show_traceback: whether to show where it comes from.

    Raises:
        SystemExit: always.
    """
    number = received()
    if isinstance(error, KeyboardInterrupt) or (error is not None and number is not None):
        # Libraries make other errors of an interrupt that comes while they are imported.
        number = number or signal.SIGINT
        said = str(error) if isinstance(error, KeyboardInterrupt) else ""
        end = _ENDS.get(signal.Signals(number).name, "interrupted")
        fail(said or f"{end}; nothing half-written was left behind", 128 + number)
    if error is None:
        _finish()
    elif show_traceback and not isinstance(error, SystemExit):
        _show_traceback(error)
    if isinstance(error, SystemExit):
        _finish(error.code)
    if isinstance(error, FaircutError):
        fail(str(error))
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has left; nobody is there to be told.
        _discard(sys.stdout)
        _finish(1)
    if hasattr(error, "exit_code"):
        # Typer's: a usage error with its one line, or the end of --help and --version.
        message = error.format_message() if hasattr(error, "format_message") else ""
        if message:
            fail(message if message.endswith("?") else f"{message.rstrip('.')}. See faircut --help")
        _finish(error.exit_code)
    if ran_out_of_memory(error):
        fail("out of memory; give fewer frames (--frames) or a smaller --size; `faircut plan` shows what fits")
    if isinstance(error, OSError):
        fail(_said_by_system(error))
    _fault(error)


def _finish(code: Any = 0) -> NoReturn:
    """Leave, once everything that was printed has gone out."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        raise SystemExit(code or 1) from None
    except (OSError, ValueError) as error:
        _discard(sys.stdout)
        fail(f"cannot write to the standard output: {getattr(error, 'strerror', None) or error}", code or 2)
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _discard(sys.stderr)
    raise SystemExit(code)


def _discard(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere, so that Python does not try again at its end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _said_by_system(error: OSError) -> str:
    """Say in one line what the system will not do, with the file's name."""
    files = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    reason = error.strerror or str(error) or type(error).__name__
    if not files:
        return f"the system says: {reason}"
    return f"cannot use {files}: {reason}"


def _show_traceback(error: BaseException) -> None:
    import traceback

    text = "".join(traceback.format_exception(error))
    with suppress(OSError, ValueError):
        print(escape_control(text, keep="\n"), file=sys.stderr, end="", flush=True)


def _fault(error: BaseException) -> NoReturn:
    """Say that an exception is a fault of ours, and where its details are."""
    place = _write_details(error)
    details = "the details could not be written, --traceback shows them"
    if place is not None:
        details = f"details are in {place}, or --traceback shows them"
    what = f"{type(error).__name__}: {shorten(' '.join(str(error).split()), 300)}"
    fail(f"this is a fault of faircut: {what}; {details}", FAULT)


def _write_details(error: BaseException) -> Path | None:
    """Write a traceback to a file that its owner alone can read, for it may hold prompts; None if there is no place."""
    import platform
    import tempfile
    import time
    import traceback

    from faircut._version import __version__

    versions = f"faircut {__version__}, Python {platform.python_version()}, {platform.platform()}"
    text = f"{versions}\n{shorten(repr(sys.argv[1:]), 10_000)}\n\n{''.join(traceback.format_exception(error))}"
    with suppress(OSError, ValueError, RuntimeError):
        folders = [Path(tempfile.gettempdir()) / f"faircut-faults-{os.getuid() if hasattr(os, 'getuid') else 0}"]
        with suppress(ConfigError):
            from faircut.files.cache import cache_folder

            if (inversions := cache_folder()) is not None:
                folders.insert(0, inversions.parent / "faults")
        for folder in folders:
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
                # It must not be there: another's link of that name is not followed.
                with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                    file.write(text.encode("utf-8", "backslashreplace").decode())
                return path
    return None


# Lines and tables -----------------------------------------------------------------------------------------------------


def _print(text: str, stream: TextIO, style: str = "") -> None:
    """Print a line, in colour where somebody looks at a terminal that has it."""
    colours = os.name != "nt" and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    if style and colours and stream.isatty():
        text = f"\x1b[{_COLOURS[style]}m{text}\x1b[0m"
    print(text, file=stream, flush=True)


def _print_error(text: str, style: str) -> None:
    try:
        _print(text, sys.stderr, style)
    except (OSError, ValueError):
        _discard(sys.stderr)


@contextmanager
def _results() -> Iterator[None]:
    """Say in one line why the standard output takes nothing, unless whoever read it has left."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard(sys.stdout)
        raise ConfigError(f"cannot write to the standard output: {error.strerror or error}") from error


def say(text: str, style: str = "") -> None:
    """Print a line of results."""
    with _results():
        _print(escape_control(text), sys.stdout, style)


def show_text(text: str) -> None:
    """Print results of several lines."""
    with _results():
        _print(escape_control(text.removesuffix("\n"), keep="\n"), sys.stdout)


def show_json(value: Any) -> None:
    """Print a value as JSON, in ASCII, which every terminal and every program reads alike.

    Args:
        value: what JSON can hold; or a string, which is JSON already.
    """
    text = value if isinstance(value, str) else json.dumps(value, indent=2, allow_nan=False)
    # Outside of strings JSON is ASCII.
    text = re.sub(r"[^\x00-\x7e]", lambda found: json.dumps(found.group())[1:-1].replace("\x7f", "\\u007f"), text)
    with _results():
        _print(text, sys.stdout)


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    sides: str,
    styles: Sequence[str] = (),
    title: str | None = None,
) -> None:
    """Print a table of results.

    Args:
        columns: their names.
        rows: a text for every column.
        sides: where the texts of each column stand: a letter each, l for left and r for right, such as ``"lrr"``.
        styles: of the rows, one for each; none are plain.
        title: above it.
    """
    from rich.console import Console
    from rich.table import Table

    heading = None if title is None else escape_control(title)
    table = Table(box=None, pad_edge=False, header_style="bold", title=heading, title_justify="left")
    for name, side in zip(columns, sides, strict=True):
        table.add_column(escape_control(name), justify="right" if side == "r" else "left")
    for number, row in enumerate(rows):
        table.add_row(*map(escape_control, row), style=styles[number] if styles else "")
    # Neither brackets nor colons in a name are markup.
    with _results():
        Console(highlight=False, markup=False, emoji=False).print(table)


def fail(message: str, code: int = 2) -> NoReturn:
    """Print one line to stderr and leave."""
    _print_error(f"faircut: {escape_control(' '.join(message.split()))}", "red")
    _finish(code)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say in one line what the file system will not do."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def _show_warning(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
    """Show warnings of ours; those of libraries are for us, not for users."""
    if issubclass(category, ReconstructionWarning) or "faircut" in Path(filename).parts:
        _print_error(f"warning: {escape_control(' '.join(str(message).split()))}", "yellow")


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
        from rich.console import Console
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
        plain = not (sys.stderr.encoding or "").lower().startswith("utf")
        self._shares: dict[str, Any] = {}
        self._progress = Progress(
            SpinnerColumn("line" if plain else "dots", finished_text="*" if plain else "[green]\u2713"),
            TextColumn("{task.description:<18}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn() if counted else TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[figures]}", style="dim", markup=False),
            console=Console(stderr=True, emoji=False),
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
        stop_if_asked()
        task = self._progress.add_task(escape_control(name), total=total, figures="")

        def advance() -> None:
            stop_if_asked()
            self._progress.advance(task)

        yield advance
        stop_if_asked()
        self._progress.update(task, total=total or 1, completed=total or 1)

    def share(self, name: str, done: float | None, figures: str = "") -> None:
        """Set the bar of a stage, opened when it is first named.

        Args:
            name: of the stage.
            done: 0 to 1; None leaves it where it is.
            figures: what to show behind it; empty leaves what is there.
        """
        if name not in self._shares:
            self._shares[name] = self._progress.add_task(escape_control(name), total=1.0, figures="")
        update: dict[str, Any] = {} if done is None else {"completed": done}
        if figures:
            update["figures"] = escape_control(figures)
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
            say(f"{stage}{'' if done is None else f' {100 * done:.1f} %'}: {figures}")
