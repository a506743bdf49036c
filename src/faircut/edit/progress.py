"""How a run shows how far it is, and how another thread stops it between two steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from faircut.errors import Cancelled

__all__ = ["Advance", "CancellableProgress", "Progress", "Silent"]

Advance = Callable[[], None]


class Progress(Protocol):
    """Shows how far a run is; it may raise, in `stage` or in what that gives, to end the run between two steps."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Open a stage.

        Args:
            name: what is being done, for people.
            total: its number of steps; None if it is unknown.

        Returns:
            A context manager that gives a function, which is called after each step.
        """


class Silent:
    """Shows nothing."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """See `Progress.stage`."""
        return nullcontext(lambda: None)


class CancellableProgress:
    """Passes progress on until `cancel` is called, then raises `Cancelled` after the step at hand.

    Args:
        progress: shows how far the run is; None shows nothing.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress: Progress = progress or Silent()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask the run to stop; may be called from any thread."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        return self._cancelled.is_set()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """See `Progress.stage`.

        Raises:
            Cancelled: the run was asked to stop.
        """
        self._check()
        with self._progress.stage(name, total) as advance:

            def checked() -> None:
                advance()
                self._check()

            yield checked

    def _check(self) -> None:
        if self.cancelled:
            raise Cancelled("the run was cancelled")
