"""Commands in processes of their own, forked from the tests' so that nothing is imported again."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from faircut.cli import main
from faircut.files import atomic

__all__ = ["Process", "command"]


class Process:
    """A function in a process of its own.

    Args:
        function: what it does; what it returns, 0 for None, is the exit code, and an exception is 1.
        output: a file for what it prints.
    """

    def __init__(self, function: Callable[[], int | None], output: Path) -> None:
        if not hasattr(os, "fork"):
            pytest.skip("this system cannot fork processes")
        self.output, self.started = output, time.monotonic()
        self.number = os.fork()
        if self.number == 0:
            code = 1
            try:
                file = open(output, "w", buffering=1)  # noqa: SIM115
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                sys.stdout = sys.stderr = file
                atomic._cleared.clear()
                code = function() or 0
            except BaseException:
                traceback.print_exc()
            finally:
                gc.collect()
                sys.stdout.flush()
                os._exit(code)

    def wait(self, seconds: float = 300) -> int:
        """Return the exit code, or minus the number of the signal that ended it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            number, status = os.waitpid(self.number, os.WNOHANG)
            if number:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        self.kill()
        raise AssertionError(f"still running after {seconds} s: {self.said}")

    def kill(self) -> None:
        """End it as kill -9 does; nothing happens if it has ended."""
        os.kill(self.number, signal.SIGKILL)

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.output.read_text(errors="replace")


def command(arguments: list[Any], folder: Path, environment: Mapping[str, str]) -> Process:
    """Run a command line in a folder.

    Args:
        arguments: of ``faircut``.
        folder: the working folder.
        environment: variables that are set.
    """

    def run() -> int:
        import tempfile

        os.chdir(folder)
        os.environ.update(environment)
        tempfile.tempdir = None
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = leaving.code
        return code if isinstance(code, int) else 0

    return Process(run, folder.parent / "said.txt")
