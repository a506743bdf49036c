"""Stopping: at once, or in order, so that the step at hand is finished and kept."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stopped", "raise_on_signals", "received", "stop_if_asked", "stop_on_signals"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# People press Ctrl-C twice, and process managers repeat themselves: a signal that follows this soon, in seconds, must not
# break off the clearing up that the first one has begun.
_GRACE = 3.0


class Stopped(KeyboardInterrupt):
    """The process was asked to stop by a signal."""


class _Received:
    """The signal that asked the process to stop, and when; whether it is too late for one."""

    number: int | None = None
    at: float = 0.0
    over: bool = False


def received() -> int | None:
    """Return the number of the signal that asked the process to stop; None if none did."""
    return _Received.number


def stop_if_asked() -> None:
    """Raise `Stopped` again if a signal has come: code of libraries, such as a destructor, may have swallowed the first.

    Raises:
        Stopped: the process was asked to stop.
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
    """The signals that stop a process, but for those that whoever started it wants ignored, as ``nohup`` does."""
    there = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return [number for number in there if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def raise_on_signals(last: bool = False) -> Iterator[None]:
    """Let an interrupt, a termination or a closed terminal raise `Stopped` wherever the process is.

    Outside the main thread, where Python hands out no signals, nothing happens.

    Args:
        last: nothing but the process's end comes afterwards; signals are ignored from then on, for an exception that is
            raised while Python clears up shows as a traceback.
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
    """Give an event that an interrupt or a termination sets; a second one raises `Stopped` at once.

    Outside the main thread, where Python hands out no signals, the event is never set.
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
