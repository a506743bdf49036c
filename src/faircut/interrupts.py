"""Handle interrupt signals: stop at once, or finish and save the current step first."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stopped", "raise_on_signals", "received", "stop_if_asked", "stop_on_signals"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# People press Ctrl-C twice, and process managers repeat their signals. A signal within this many seconds after the
# first one is ignored, so that it does not abort the cleanup.
_GRACE = 3.0


class Stopped(KeyboardInterrupt):
    """Raised when a signal asks the process to stop."""


class _Received:
    """State of the process: the signal that asked it to stop, when that was, and whether signals are ignored by now."""

    number: int | None = None
    at: float = 0.0
    over: bool = False


def received() -> int | None:
    """Return the number of the signal that asked the process to stop, or None."""
    return _Received.number


def stop_if_asked() -> None:
    """Raise `Stopped` again if a signal has arrived: library code, such as a destructor, may have swallowed the first.

    Raises:
        Stopped: If the process was asked to stop.
    """
    if _Received.number is not None:
        raise Stopped


def _note(number: int) -> None:
    _Received.number, _Received.at = number, time.monotonic()


def _stop(number: int, frame: Any) -> None:
    soon = _Received.number is not None and time.monotonic() - _Received.at < _GRACE
    if soon or _Received.over:
        return
    _note(number)
    raise Stopped


def _signals() -> list[int]:
    """Return the signals to handle, except those that are ignored already, as under ``nohup``."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def raise_on_signals(last: bool = False) -> Iterator[None]:
    """Raise `Stopped` in the current code on an interrupt, a termination request or a closed terminal.

    Outside the main thread this does nothing, because Python delivers signals to the main thread only.

    Args:
        last: Whether the process ends after this block. Signals are then ignored from its end on, because an exception
            during Python's shutdown would print a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Received.number, _Received.over = None, False
    before = {number: signal.signal(number, _stop) for number in _signals()}
    try:
        yield
    finally:
        _Received.over = last
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if last else handler)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that the first interrupt or termination request sets; a second one raises `Stopped` at once.

    Outside the main thread the event is never set, because Python delivers signals to the main thread only.
    """
    stop = threading.Event()
    before = {}

    def handle(number: int, frame: Any) -> None:
        _note(number)
        if stop.is_set():
            raise Stopped
        stop.set()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in _signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
