"""Commands in processes of their own, forked from a server that has imported everything and has run nothing.

A process that has threads must not be forked: a lock that another thread holds at that moment stays locked in the
child, and the child waits for it for ever. The tests' process has had threads (FFmpeg's, for one). The server only
imports.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

# For the server, which imports this module: what commands import, so that they need not do it again.
import faircut.benchmark.audit.run
import faircut.benchmark.edits.run
import faircut.edit.session
import faircut.tune.train  # noqa: F401
from faircut.cli import main
from faircut.cli.commands import app  # noqa: F401

__all__ = ["Process", "command", "start_server"]

ROOT = Path(__file__).parents[2]
torch.set_num_threads(1)


def start_server() -> int:
    """Start the server that processes are forked from, unless it runs, and wait for it; returns its process number."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork processes")
    server, context = forkserver._forkserver, multiprocessing.get_context("forkserver")
    running = server._forkserver_pid
    context.set_forkserver_preload([__name__])
    before = os.environ.get("PYTHONPATH")
    # Python 3.11 does not tell the server where modules are.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src"), *filter(None, [before])])
    try:
        server.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    if server._forkserver_pid != running:
        first = context.Process(target=int)
        first.start()
        first.join()
    return server._forkserver_pid


class Process:
    """A function in a process of its own.

    Args:
        output: a file for what it prints.
        function: what it does, a function of a module; what it returns, 0 for None, is the exit code, and an exception
            is 1.
        arguments: of the function.
    """

    def __init__(self, output: Path, function: Callable[..., int | None], *arguments: Any) -> None:
        start_server()
        self.output = output
        self._process = multiprocessing.get_context("forkserver").Process(
            target=_run, args=(output, function, arguments), daemon=True
        )
        self._process.start()

    def wait(self, seconds: float = 300) -> int:
        """Return the exit code, or minus the number of the signal that ended it."""
        self._process.join(seconds)
        code = self._process.exitcode
        if code is None:
            self.kill()
            raise AssertionError(f"still running after {seconds} s: {self.said}")
        return code

    def kill(self) -> None:
        """End it as kill -9 does; nothing happens if it has ended."""
        self._process.kill()

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.output.read_text(errors="replace")


def _run(output: Path, function: Callable[..., int | None], arguments: tuple[Any, ...]) -> None:
    """Be the process."""
    import huggingface_hub.constants

    huggingface_hub.constants.HF_HUB_OFFLINE = True
    code = 1
    try:
        file = open(output, "w", buffering=1)  # noqa: SIM115
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        code = function(*arguments) or 0
    except BaseException:
        traceback.print_exc()
    finally:
        gc.collect()
        sys.stdout.flush()
        os._exit(code)


def enter(folder: Path, environment: Mapping[str, str]) -> None:
    """Work in a folder, with some variables set."""
    os.chdir(folder)
    os.environ.update(environment)
    tempfile.tempdir = None


def command(arguments: list[Any], folder: Path, environment: Mapping[str, str]) -> Process:
    """Run a command line in a folder.

    Args:
        arguments: of ``faircut``.
        folder: the working folder.
        environment: variables that are set.
    """
    texts = [str(argument) for argument in arguments]
    return Process(folder.parent / "said.txt", _command, texts, folder, dict(environment))


def _command(arguments: list[str], folder: Path, environment: Mapping[str, str]) -> int:
    enter(folder, environment)
    try:
        main(arguments)
    except SystemExit as leaving:
        code = leaving.code
    return code if isinstance(code, int) else 0
